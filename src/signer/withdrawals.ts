/**
 * Whether a use of a certificate is withdrawn, for clients that delete what they issued by a grant that says so. Not granted as far as is known
 * proves nothing: this signer may have started a moment ago, be another one than the one that signed, or have lost its view of the grants. It is
 * proved by a signer that holds the certificate, for a client that has had its leaf, by grants that were read after the question.
 */
import type { Clock } from '../kubernetes/clock.ts';
import type { CertificateSource } from './certificate-source.ts';
import { type GrantedUses, GrantsUnreadableError } from './granted-uses.ts';
import type { GrantQuestion } from './policy.ts';
import type { GrantedUse } from './protocol.ts';
import type { SignerClientIdentity } from './signing-service.ts';

export interface WithdrawalsOptions {
  readonly certificates: Pick<CertificateSource, 'hasUsed'>;
  readonly grants: Pick<GrantedUses, 'wasCovered'>;
  readonly clock: Pick<Clock, 'monotonic'>;
}

export class Withdrawals {
  readonly #options: WithdrawalsOptions;

  constructor(options: WithdrawalsOptions) {
    this.#options = options;
  }

  /** For each use, in the same order. Throws GrantsUnreadableError where the API server does not answer. */
  async confirm(
    { cluster }: SignerClientIdentity,
    uses: readonly GrantedUse[],
    signal: AbortSignal,
  ): Promise<readonly boolean[]> {
    const { certificates, clock } = this.#options;
    const askedMs = clock.monotonic();
    const withdrawn: boolean[] = [];
    // One after the other: a reading that began after the call serves all of them.
    for (const { leafSha256, ...use } of uses) {
      const isKnown = certificates.hasUsed(use.certificate, leafSha256);
      withdrawn.push(isKnown && (await this.#isUncovered({ ...use, cluster }, askedMs, signal)));
    }
    return withdrawn;
  }

  async #isUncovered(question: GrantQuestion, sinceMs: number, signal: AbortSignal): Promise<boolean> {
    try {
      return !(await this.#options.grants.wasCovered(question, sinceMs, signal));
    } catch (error) {
      // It proves nothing, and those of other certificates can be read. The question is repeated.
      if (error instanceof GrantsUnreadableError && error.refused) return false;
      throw error;
    }
  }
}
