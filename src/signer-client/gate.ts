/**
 * Keeps callers from waiting on a signer that does not answer: after a failure calls fail at once, until its delay has passed; then one
 * call at a time finds out whether the signer is back.
 *
 *   open --failure--> shut (1 s, doubling to 5 s, never before Retry-After) --time--> one call --success--> open
 */
import { retryAfterMs } from '../kubernetes/api-error.ts';
import { Backoff } from '../kubernetes/backoff.ts';
import type { Clock } from '../kubernetes/clock.ts';

const BASE_MS = 1_000;
/** One call at a time is no load, and the shortest lives are renewed half a minute before they expire. */
const MAX_MS = 5_000;

export class CallGate {
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  #failure: Error | undefined;
  #shutUntil = 0;

  constructor({ clock, random }: { readonly clock: Clock; readonly random: () => number }) {
    this.#clock = clock;
    this.#backoff = new Backoff({ baseMs: BASE_MS, maxMs: MAX_MS, random });
  }

  /** The failure that keeps calls from being made now; undefined: they may be. */
  get shut(): Error | undefined {
    return this.#clock.monotonic() < this.#shutUntil ? this.#failure : undefined;
  }

  /** The last call failed: one at a time. */
  get probing(): boolean {
    return this.#failure !== undefined;
  }

  /** Calls that were made together fail together: that is one failure. */
  failed(error: Error): void {
    if (this.shut !== undefined) return;
    this.#failure = error;
    this.#shutUntil = this.#clock.monotonic() + Math.max(this.#backoff.next(), retryAfterMs(error) ?? 0);
  }

  succeeded(): void {
    this.#failure = undefined;
    this.#shutUntil = 0;
    this.#backoff.reset();
  }
}
