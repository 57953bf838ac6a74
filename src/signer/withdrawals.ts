/**
 * Whether a use of a certificate is withdrawn, for clients that delete what they issued by a grant that says so. Not granted as far as is known
 * proves nothing: this signer may have started a moment ago, be another one than the one that signed, or have lost its view of the grants. It is
 * proved by a signer that holds the certificate, for a client that has had its leaf, by grants that were read after the question.
 */
import { ApiError } from '../kubernetes/api-error.ts';
import type { CertificateSource } from './certificate-source.ts';
import type { GrantWatch } from './grant-watch.ts';
import { covers, type Grant } from './policy.ts';
import type { GrantedUse } from './protocol.ts';
import type { SignerClientIdentity } from './signing-service.ts';

/** Nothing can be said now: answered with 503. */
export class GrantsUnreadableError extends Error {
  override readonly name = 'GrantsUnreadableError';
  readonly code = 'GrantsUnreadable';
}

export interface WithdrawalsOptions {
  readonly certificates: Pick<CertificateSource, 'hasUsed'>;
  /** Of the configuration. */
  readonly grants: readonly Grant[];
  /** Undefined: those of the configuration are all. */
  readonly watch: Pick<GrantWatch, 'isCoveredNow'> | undefined;
}

export class Withdrawals {
  readonly #options: WithdrawalsOptions;

  constructor(options: WithdrawalsOptions) {
    this.#options = options;
  }

  /** For each use, in the same order. Throws GrantsUnreadableError. */
  async confirm(
    client: SignerClientIdentity,
    uses: readonly GrantedUse[],
    signal: AbortSignal,
  ): Promise<readonly boolean[]> {
    const withdrawn: boolean[] = [];
    // One after the other: there are few, and none is in a hurry.
    for (const use of uses) withdrawn.push(await this.#isWithdrawn(client, use, signal));
    return withdrawn;
  }

  async #isWithdrawn(
    { cluster }: SignerClientIdentity,
    { leafSha256, ...use }: GrantedUse,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { certificates, grants, watch } = this.#options;
    if (!certificates.hasUsed(use.certificate, leafSha256)) return false;
    const question = { ...use, cluster };
    if (grants.some((grant) => covers(grant, question))) return false;
    if (watch === undefined) return true;
    try {
      return !(await watch.isCoveredNow(question, signal));
    } catch (cause) {
      if (!(cause instanceof ApiError)) throw cause;
      throw new GrantsUnreadableError('the grants cannot be read now: try again', { cause });
    }
  }
}
