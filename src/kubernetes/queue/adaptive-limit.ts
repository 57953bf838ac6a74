/**
 * How many requests may be in flight: as many as the server answers without letting them wait, and no more. Additive increase,
 * multiplicative decrease, once a window: a refusal (429) halves the limit, answers that take much longer than they do when hardly any
 * are in flight lower it by a tenth, and a window in which the limit was reached and answers stayed fast raises it by one. So a wave
 * takes the capacity that is idle, and gives way when others need it. Pure: the time comes with each answer.
 *
 *     learning (MIN in flight, a few answers) --how fast the server is--> adapting --every half minute--> learning
 */

export interface AdaptiveLimitOptions {
  /** At most so many at once. */
  readonly max: number;
}

export interface TimedAnswer {
  /** Monotonic, when it came. */
  readonly atMs: number;
  readonly tookMs: number;
  /** 429: Priority and Fairness refused it. */
  readonly refused: boolean;
  /** In flight when it came, itself included. */
  readonly inFlight: number;
}

const START = 8;
/** Never less: a wave must make progress however busy the server is. */
const MIN = 2;
/** Answers wait in the server when they take longer than twice what they take alone, and this much. */
const SLOWDOWN = 2;
const TOLERANCE_MS = 5;
/** And at least as many answers as may be in flight: those that were sent under the last limit. */
const WINDOW_MS = 100;
const REFUSED_FACTOR = 0.5;
const SLOW_FACTOR = 0.9;
/** Without learning again, a limit that has grown too far would pass for how the server is. */
const LEARN_EVERY_MS = 30_000;
const LEARN_ANSWERS = 4;

interface Window {
  readonly startMs: number;
  answers: number;
  totalMs: number;
  refused: boolean;
  reached: boolean;
}

export class AdaptiveLimit {
  readonly #max: number;
  /** Once it is learned how fast the server is. */
  #limit: number;
  /** What an answer takes that does not wait behind our own other requests. */
  #aloneMs = Number.POSITIVE_INFINITY;
  #learnedAt = 0;
  #learning = true;
  #window: Window | undefined;

  constructor({ max }: AdaptiveLimitOptions) {
    this.#max = max;
    this.#limit = Math.min(max, START);
  }

  get limit(): number {
    return this.#learning ? Math.min(MIN, this.#max) : Math.floor(this.#limit);
  }

  /** True when the limit may be another one now. */
  answered({ atMs, inFlight, refused, tookMs }: TimedAnswer): boolean {
    // Sent before: they wait behind each other.
    if (this.#learning && !refused && inFlight > this.limit) return false;
    this.#window ??= {
      startMs: atMs - tookMs,
      answers: 0,
      totalMs: 0,
      refused: false,
      reached: false,
    };
    const window = this.#window;
    window.reached ||= inFlight >= this.limit;
    if (!refused) {
      window.answers += 1;
      window.totalMs += tookMs;
    }
    if (refused) this.#refused(atMs, window);
    else if (this.#learning) this.#learn(atMs, window);
    else if (atMs - window.startMs >= WINDOW_MS && window.answers >= this.limit) this.#adapt(atMs, window);
    return this.#window === undefined;
  }

  /** Those that were sent together are refused together: once a window. */
  #refused(atMs: number, window: Window): void {
    if (!window.refused) this.#set(this.#limit * REFUSED_FACTOR);
    window.refused = true;
    if (atMs - window.startMs >= WINDOW_MS) this.#window = undefined;
  }

  #learn(atMs: number, { answers, totalMs }: Window): void {
    if (answers < LEARN_ANSWERS) return;
    this.#aloneMs = totalMs / answers;
    this.#learnedAt = atMs;
    this.#learning = false;
    this.#window = undefined;
  }

  #adapt(atMs: number, { answers, reached, refused, totalMs }: Window): void {
    this.#window = undefined;
    if (refused) return;
    if (totalMs / answers > this.#aloneMs * SLOWDOWN + TOLERANCE_MS) this.#set(this.#limit * SLOW_FACTOR);
    else if (reached) this.#set(this.#limit + 1);
    this.#learning = atMs - this.#learnedAt >= LEARN_EVERY_MS;
  }

  #set(limit: number): void {
    this.#limit = Math.max(Math.min(MIN, this.#max), Math.min(this.#max, limit));
  }
}
