/**
 * When a reflector lists or watches again. Success counts once a watch has lived: a list that succeeds, followed by a watch that is
 * refused at once, is a failure, and each round of it waits longer. Pure but for `random`.
 */

import { isApiError, retryAfterMs } from '../api-error.ts';
import { Backoff } from '../backoff.ts';
import { isExpired } from '../client/status-error.ts';

const BASE_MS = 500;
/** While the server cannot be reached: short, because trying costs nothing and every second counts once it is back. */
const UNREACHABLE_MAX_MS = 1_500;
/** While it refuses, and for whole lists, which cost it the most. */
const REFUSED_MAX_MS = 30_000;
/**
 * Refusals in a row that are tried again as soon as an unreachable server is: 10 s in all. An API server that starts refuses everybody
 * (ADR 72), and a refusal costs it next to nothing.
 */
const MAY_BE_STARTING = 8;
const DENIED: ReadonlySet<number> = new Set([401, 403, 404]);
/** A watch that lived this long was a success, whatever ended it. */
const SETTLED_MS = 1_000;
/** One that lived this long shows that lists are worth their cost: the next that expires is listed again at once. */
const LONG_LIVED_MS = 60_000;
/** Of a Retry-After: those who were turned away together do not come back together. */
const RETRY_AFTER_SPREAD = 0.2;

export interface WatchEnd {
  /** How long a watch followed the server since the last complete list or the resumption; 0: none did. */
  readonly livedMs: number;
  /** Whether it brought something new: one that is cut again and again, and does, is worth its next connection. */
  readonly advanced?: boolean;
}

export class WatchPacer {
  readonly #random: () => number;
  readonly #unreachable: Backoff;
  readonly #refused: Backoff;
  readonly #relist: Backoff;

  constructor(random: () => number) {
    this.#random = random;
    this.#unreachable = new Backoff({ baseMs: BASE_MS, maxMs: UNREACHABLE_MAX_MS, random });
    this.#refused = new Backoff({ baseMs: BASE_MS, maxMs: REFUSED_MAX_MS, random });
    this.#relist = new Backoff({ baseMs: BASE_MS, maxMs: REFUSED_MAX_MS, random });
  }

  /** Failures in a row, whatever their kind. */
  get failures(): number {
    return this.#unreachable.failures + this.#refused.failures + this.#relist.failures;
  }

  /**
   * @param error what ended the round; undefined: the server ended the watch
   * @returns milliseconds to wait before the next round
   */
  delayAfter(error: unknown, { advanced = false, livedMs }: WatchEnd): number {
    if (livedMs >= SETTLED_MS || advanced) this.#unreachable.reset();
    if (livedMs >= SETTLED_MS) this.#refused.reset();
    if (livedMs >= LONG_LIVED_MS) this.#relist.reset();
    if (error === undefined) return livedMs >= SETTLED_MS ? 0 : this.#unreachable.next();
    if (isExpired(error)) {
      const first = this.#relist.failures === 0;
      const ms = this.#relist.next();
      return first ? 0 : ms;
    }
    const ms = isUnreachable(error) ? this.#unreachable.next() : this.#afterRefusal(error);
    const asked = retryAfterMs(error) ?? 0;
    return Math.max(ms, asked * (1 + RETRY_AFTER_SPREAD * this.#random()));
  }

  #afterRefusal(error: unknown): number {
    const ms = this.#refused.next();
    const isEarly = this.#refused.failures <= MAY_BE_STARTING && isApiError(error) && DENIED.has(error.status);
    return isEarly ? Math.min(ms, UNREACHABLE_MAX_MS) : ms;
  }
}

/** No answer, or one that says that the server, or what stands before it, is not there at the moment. */
function isUnreachable(error: unknown): boolean {
  return isApiError(error) && (error.reason === 'Network' || error.reason === 'Timeout' || error.status >= 500);
}
