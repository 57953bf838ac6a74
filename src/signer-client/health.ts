/** Whether the signer answers. A failure counts once another confirms that it lasts: one call that is cut is nobody's concern. */
import type { Clock } from '../kubernetes/clock.ts';
import type { SignerUnavailableError } from './errors.ts';

/** Calls that sign, and the one that follows certificates: each may fail while the other is answered. */
type CallKind = 'sign' | 'follow';

export interface SignerHealthOptions {
  readonly clock: Clock;
  readonly onChange: (problem: string | undefined) => void;
}

interface Failing {
  /** Of the first failure and of the last, by the monotonic clock. Time in which nothing was tried proves nothing. */
  readonly since: number;
  readonly last: number;
  readonly message: string;
}

const LASTS_MS = 5_000;
/** A pod that cannot be issued to is tried again within 5 minutes. After twice as long, nobody needs the signature that failed. */
const UNCONFIRMED_MS = 600_000;

export class SignerHealth {
  readonly #options: SignerHealthOptions;
  readonly #failing = new Map<CallKind, Failing>();
  #problem: string | undefined;

  constructor(options: SignerHealthOptions) {
    this.#options = options;
  }

  /** Why no credentials can be had from it now, as a sentence; undefined: they can. */
  get problem(): string | undefined {
    return this.#problem;
  }

  answered(kind: CallKind): void {
    this.#failing.delete(kind);
    // Following goes on for as long as anything is followed; signing may not be tried for hours.
    const sign = this.#failing.get('sign');
    const isOld = sign !== undefined && this.#options.clock.monotonic() - sign.last >= UNCONFIRMED_MS;
    if (isOld) this.#failing.delete('sign');
    this.#update();
  }

  failed(kind: CallKind, { message }: SignerUnavailableError): void {
    const now = this.#options.clock.monotonic();
    this.#failing.set(kind, { since: this.#failing.get(kind)?.since ?? now, last: now, message });
    this.#update();
  }

  /** Nothing is followed any more, so nothing is to be signed: no call will tell that the signer is back. */
  unused(): void {
    this.#failing.clear();
    this.#update();
  }

  #update(): void {
    const lasting = [...this.#failing.values()].find(({ last, since }) => last - since >= LASTS_MS);
    // While it lasts, the first sentence stands: who reads it twice should not wonder what changed.
    const problem = lasting === undefined ? undefined : (this.#problem ?? lasting.message);
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#options.onChange(problem);
  }
}
