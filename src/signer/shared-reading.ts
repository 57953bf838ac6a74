/**
 * Reads something once for all who want it, and never gives anybody a reading that began before they may use it. One at a time: who
 * comes while one is under way, and may not use it, shares the next with all others who wait.
 */
import { ApiError } from '../kubernetes/api-error.ts';
import type { Clock } from '../kubernetes/clock.ts';
import { Deadline, untilAborted } from '../kubernetes/deadline.ts';

export interface Reading<T> {
  readonly value: T;
  /** When it began, on the monotonic clock: what it shows is no older. */
  readonly sinceMs: number;
}

interface Running<T> {
  readonly sinceMs: number;
  readonly ended: Promise<T>;
}

/** An API server that is silent for longer is away: callers get their 503 while they still wait. */
const READ_MS = 3_000;
/** Meanwhile all get the same error: those who come one after the other must not wait for a silent server one after the other. */
const FAILED_MS = 2_000;
const NEVER = new AbortController().signal;

export class SharedReading<T> {
  readonly #read: (signal: AbortSignal) => Promise<T>;
  readonly #clock: Clock;
  #running: Running<T> | undefined;
  #latest: Reading<T> | undefined;
  /** A reading that began before that is not kept. */
  #keptSinceMs = Number.NEGATIVE_INFINITY;
  #failure: { readonly error: unknown; readonly atMs: number } | undefined;

  constructor(clock: Clock, read: (signal: AbortSignal) => Promise<T>) {
    this.#clock = clock;
    this.#read = read;
  }

  get latest(): Reading<T> | undefined {
    return this.#latest;
  }

  /**
   * Keeps no reading that began before that time, not even one in progress.
   * @param ms on the monotonic clock
   */
  forgetBefore(ms: number): void {
    this.#keptSinceMs = Math.max(ms, this.#keptSinceMs);
    if (this.#latest !== undefined && this.#latest.sinceMs < ms) this.#latest = undefined;
  }

  /**
   * What was read at that time or later.
   * @param sinceMs on the monotonic clock, not in the future
   * @throws what reading throws; ApiError (Timeout) where it takes too long; the signal's reason
   */
  async since(sinceMs: number, signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#latest !== undefined && this.#latest.sinceMs >= sinceMs) return this.#latest.value;
      if (this.#running === undefined && this.#failure !== undefined) {
        if (this.#clock.monotonic() - this.#failure.atMs < FAILED_MS) throw this.#failure.error;
        this.#failure = undefined;
      }
      this.#running ??= this.#begin();
      const { ended, sinceMs: beganMs } = this.#running;
      if (beganMs >= sinceMs) return await untilAborted(ended, signal);
      await untilAborted(
        ended.then(
          () => undefined,
          () => undefined,
        ),
        signal,
      );
    }
  }

  #begin(): Running<T> {
    const sinceMs = this.#clock.monotonic();
    const ended = this.#bounded().then(
      (value) => {
        this.#running = undefined;
        if (sinceMs >= this.#keptSinceMs) this.#latest = { value, sinceMs };
        return value;
      },
      (error: unknown) => {
        this.#running = undefined;
        this.#failure = { error, atMs: this.#clock.monotonic() };
        throw error;
      },
    );
    // All who wait may have gone.
    ended.catch(() => {});
    return { sinceMs, ended };
  }

  async #bounded(): Promise<T> {
    using deadline = new Deadline(NEVER, this.#clock, READ_MS);
    try {
      return await untilAborted(this.#read(deadline.signal), deadline.signal);
    } catch (error) {
      if (!deadline.expired) throw error;
      const message = `no answer of the API server within ${READ_MS / 1000} s`;
      throw new ApiError(message, { status: 0, reason: 'Timeout', cause: error });
    }
  }
}
