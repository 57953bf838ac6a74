/** What may be signed for whom: the grants of the configuration, and the DelegationGrants of the signer's own cluster. */
import { ApiError } from '../kubernetes/api-error.ts';
import type { GrantWatch } from './grant-watch.ts';
import { type GrantQuestion, grantCovers, mayRead, type SignerGrant } from './policy.ts';
import { isRefusal } from './refusals.ts';

/** Nothing can be said of a certificate now. */
export class GrantsUnreadableError extends Error {
  override readonly name = 'GrantsUnreadableError';
  readonly code = 'GrantsUnreadable';
  /** The API server refuses to show these grants, and may show others; false: it does not answer. */
  readonly refused: boolean;

  /** @param cause undefined: refused since the start */
  constructor(cause?: ApiError) {
    super('the grants cannot be read now: try again', { cause });
    this.refused = cause === undefined || isRefusal(cause);
  }
}

export interface GrantedUsesOptions {
  /** Of the configuration. */
  readonly configured: readonly SignerGrant[];
  /** Undefined: those of the configuration are all. */
  readonly watch: Pick<GrantWatch, 'covering' | 'isRecent' | 'mayRead' | 'refresh' | 'wasCovered'> | undefined;
}

export class GrantedUses {
  readonly #options: GrantedUsesOptions;

  constructor(options: GrantedUsesOptions) {
    this.#options = options;
  }

  /** Those that may cover the question, as far as is known; undefined: it is not known. */
  known(question: GrantQuestion): readonly SignerGrant[] | undefined {
    const { configured, watch } = this.#options;
    if (watch === undefined) return configured;
    const covering = watch.covering(question);
    return covering && [...configured, ...covering];
  }

  /**
   * Those that may cover the question, for a signature: of what the API server had a moment ago. At once, for most.
   * @throws GrantsUnreadableError where that cannot be read
   */
  current(question: GrantQuestion, signal: AbortSignal): readonly SignerGrant[] | Promise<readonly SignerGrant[]> {
    const { watch } = this.#options;
    return watch === undefined || watch.isRecent(question)
      ? this.#decided(question)
      : this.#refreshed(watch, question, signal);
  }

  /**
   * Whether any covered the question at that time or later.
   * @param sinceMs on the monotonic clock
   * @throws GrantsUnreadableError
   */
  async wasCovered(question: GrantQuestion, sinceMs: number, signal: AbortSignal): Promise<boolean> {
    const { watch } = this.#options;
    if (this.#isConfigured(question)) return true;
    if (watch === undefined) return false;
    return await watch.wasCovered(question, sinceMs, signal).catch(unreadable);
  }

  /**
   * Whether any gives the cluster's clients the public certificate.
   * @throws GrantsUnreadableError
   */
  mayRead(certificate: string, cluster: string): boolean {
    const { configured, watch } = this.#options;
    if (mayRead(configured, certificate, cluster)) return true;
    if (watch === undefined) return false;
    const found = watch.mayRead(certificate, cluster);
    if (found === undefined) throw new GrantsUnreadableError();
    return found;
  }

  #decided(question: GrantQuestion): readonly SignerGrant[] {
    const known = this.known(question);
    if (known !== undefined) return known;
    if (this.#isConfigured(question)) return this.#options.configured;
    throw new GrantsUnreadableError();
  }

  /** What the configuration grants needs no API server. */
  #isConfigured(question: GrantQuestion): boolean {
    return this.#options.configured.some((grant) => grantCovers(grant, question));
  }

  async #refreshed(
    watch: Pick<GrantWatch, 'refresh'>,
    question: GrantQuestion,
    signal: AbortSignal,
  ): Promise<readonly SignerGrant[]> {
    try {
      await watch.refresh(question, signal);
    } catch (error) {
      if (error instanceof ApiError && this.#isConfigured(question)) return this.#options.configured;
      return unreadable(error);
    }
    return this.#decided(question);
  }
}

function unreadable(error: unknown): never {
  throw error instanceof ApiError ? new GrantsUnreadableError(error) : error;
}
