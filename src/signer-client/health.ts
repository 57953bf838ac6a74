/** Whether the signer answers. A failure counts once it has lasted: one call that is cut is nobody's concern. */
import type { Clock } from '../kubernetes/clock.ts';
import type { SignerUnavailableError } from './errors.ts';

/** Calls that sign, and the one that follows certificates: each may fail while the other is answered. */
type CallKind = 'sign' | 'follow';

export interface SignerHealthOptions {
  readonly clock: Clock;
  readonly onChange: (problem: string | undefined) => void;
}

const LASTS_MS = 5_000;

export class SignerHealth {
  readonly #options: SignerHealthOptions;
  readonly #failing = new Map<CallKind, { readonly since: number; message: string }>();
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
    this.#update();
  }

  failed(kind: CallKind, { message }: SignerUnavailableError): void {
    const known = this.#failing.get(kind);
    if (known === undefined) this.#failing.set(kind, { since: this.#options.clock.monotonic(), message });
    else known.message = message;
    this.#update();
  }

  #update(): void {
    const now = this.#options.clock.monotonic();
    const lasting = [...this.#failing.values()].find(({ since }) => now - since >= LASTS_MS);
    // While it lasts, the first sentence stands: who reads it twice should not wonder what changed.
    const problem = lasting === undefined ? undefined : (this.#problem ?? lasting.message);
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#options.onChange(problem);
  }
}
