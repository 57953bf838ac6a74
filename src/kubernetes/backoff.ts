/** Exponential back-off with jitter: the one implementation that the client, the reflectors and the queue share. Pure but for `random`. */

export interface BackoffOptions {
  /** After the first failure. */
  readonly baseMs: number;
  readonly maxMs: number;
  /** In [0, 1). */
  readonly random: () => number;
  /** How much of a delay is left to chance: a delay is shortened by up to this part of itself. One half. */
  readonly jitter?: number;
}

const DEFAULT_JITTER = 0.5;
/** Beyond 2^50 every maximum has been reached, and the result stays a finite number. */
const MAX_DOUBLINGS = 50;

/**
 * The delay after so many failures in a row: `baseMs` after the first, doubled by each further one up to `maxMs`, then shortened
 * by chance so that those that failed together do not come back together.
 * @param failures 1 or more
 */
export function backoffMs(
  failures: number,
  { baseMs, maxMs, random, jitter = DEFAULT_JITTER }: BackoffOptions,
): number {
  const full = Math.min(maxMs, baseMs * 2 ** Math.min(failures - 1, MAX_DOUBLINGS));
  return full * (1 - jitter * random());
}

/** Counts the failures of one thing. */
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

  /** Counts a failure and returns the delay until the next try. */
  next(): number {
    this.#failures += 1;
    return backoffMs(this.#failures, this.#options);
  }

  reset(): void {
    this.#failures = 0;
  }
}
