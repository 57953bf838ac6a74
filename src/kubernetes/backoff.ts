/** Delays that double with every failure, spread by chance, until something goes well. */

export interface BackoffOptions {
  readonly baseMs: number;
  readonly maxMs: number;
  /** In [0, 1). */
  readonly random: () => number;
}

export class Backoff {
  readonly #options: BackoffOptions;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** Failures since the last reset. */
  get failures(): number {
    return this.#failures;
  }

  /** The next delay, between half of its full length and all of it. */
  next(): number {
    const { baseMs, maxMs, random } = this.#options;
    const full = Math.min(maxMs, baseMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return full * (0.5 + random() / 2);
  }

  reset(): void {
    this.#failures = 0;
  }
}
