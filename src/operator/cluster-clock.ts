/**
 * The time that the operator issues and renews by. Where the local clock is behind the API server's, it is the API server's: a
 * credential that was issued an hour ago by the clock would be expired on arrival, and one that is good would look as if it lived
 * too long. A clock that is ahead is left as it is: renewals come early, which harms nobody, and RFC 9345's seven days have an hour
 * of room for it.
 *
 * Between two answers of the API server the monotonic clock counts, so that a step of the wall clock shows at once. Each answer
 * is a measurement of its own, also where it shows the same difference as the one before: on one machine, and after a suspended
 * one resumes, both clocks are set together. Of several API servers, the one whose clock is furthest ahead counts.
 */
import { CLOCK_SKEW_SECONDS } from '../credential/lifetime.ts';
import type { ClockMeasurement } from '../kubernetes/client/clock-skew.ts';
import type { Clock, TimerHandle } from '../kubernetes/clock.ts';
import type { Logger } from '../kubernetes/log.ts';
import { LatestMeasurement } from './latest-measurement.ts';

/** Between two checks of whether the clocks differ. One reads two clocks, and people wait for what it says. */
const CHECK_MS = 1_000;
/** Less is not worth a correction: the `Date` header has whole seconds, and requests take their time. */
const TOLERANCE_MS = 30_000;
/** The reserve that lifetimes leave. A difference beyond it is not a clock to go by. */
const MAX_CORRECTION_MS = CLOCK_SKEW_SECONDS * 1000;
/** A measurement wavers by up to a second with every answer: neither the correction nor what people are told of it does. */
const STEADY_MS = 5_000;

export class ClusterClock implements Clock {
  readonly #base: Clock;
  readonly #measured: () => ClockMeasurement | undefined;
  readonly #latest = new LatestMeasurement();
  #correctionMs = 0;
  #isSkewed = false;

  /** @param measured by the same clock, with the last answer of the API server; undefined before the first */
  constructor(base: Clock, measured: () => ClockMeasurement | undefined) {
    this.#base = base;
    this.#measured = measured;
  }

  now(): number {
    const target = this.#target();
    if (Math.abs(target - this.#correctionMs) > STEADY_MS) this.#correctionMs = target;
    return this.#base.now() + this.#correctionMs;
  }

  monotonic(): number {
    return this.#base.monotonic();
  }

  setTimeout(callback: () => void, ms: number): TimerHandle {
    return this.#base.setTimeout(callback, ms);
  }

  /** Whether the two differ enough to tell people; with a margin, so that this does not waver. */
  get isSkewed(): boolean {
    this.#isSkewed = isBeyond(Math.abs(this.skewMs ?? 0), this.#isSkewed);
    return this.#isSkewed;
  }

  /** Local minus server time now, as far as is known. */
  get skewMs(): number | undefined {
    const measured = this.#measured();
    if (measured === undefined) return undefined;
    const now = this.#base.monotonic();
    const { offsetMs, skewMs } = this.#latest.of(measured, now);
    const setByMs = this.#base.now() - now - offsetMs;
    return skewMs + setByMs;
  }

  #target(): number {
    const behindMs = -(this.skewMs ?? 0);
    return isBeyond(behindMs, this.#correctionMs > 0) ? Math.min(behindMs, MAX_CORRECTION_MS) : 0;
  }
}

function isBeyond(differenceMs: number, wasBeyond: boolean): boolean {
  return differenceMs > (wasBeyond ? TOLERANCE_MS - STEADY_MS : TOLERANCE_MS);
}

/** Logs when the clocks begin to differ and when they agree again, and reports it: every resource says so. */
export function watchSkew(clock: ClusterClock, log: Logger, onChange: () => void): TimerHandle {
  let known = clock.isSkewed;
  const look = (): void => {
    timer = clock.setTimeout(look, CHECK_MS);
    if (clock.isSkewed === known) return;
    known = !known;
    log.warn({ skewMs: Math.round(clock.skewMs ?? 0) }, known ? 'clock skew' : 'clocks agree again');
    onChange();
  };
  let timer = clock.setTimeout(look, 0);
  return { cancel: () => timer.cancel() };
}
