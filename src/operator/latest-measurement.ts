/**
 * Which of the API server's clocks to go by: several API servers behind one address are several clocks, and their answers come in
 * any order. It is the one that is furthest ahead, for as long as it answers: with the last answer, the time would go back and
 * forth with every request, and each fall of the time makes the queues reconcile everything. See docs/adr/0019.
 */
import type { ClockMeasurement } from '../kubernetes/client/clock-skew.ts';

/** An earlier clock is gone by once the later one was not seen for so long: it was set, or its API server is away. */
const LATEST_FOR_MS = 60_000;
/** The local wall clock was set: what was measured before says nothing of a server's clock that was set with it. Slewing is less. */
const SET_MS = 1_000;
/** The `Date` header has whole seconds. */
const WAVER_MS = 1_000;

interface Seen {
  readonly measurement: ClockMeasurement;
  /** On the monotonic clock. */
  readonly at: number;
}

export class LatestMeasurement {
  #last: ClockMeasurement | undefined;
  #latest: Seen | undefined;
  /** The latest of those since `#latest`: what takes its place. */
  #next: ClockMeasurement | undefined;

  /**
   * @param measured with the last answer; the same object until the next one
   * @param now on the monotonic clock
   */
  of(measured: ClockMeasurement, now: number): ClockMeasurement {
    const latest = this.#latest;
    if (measured === this.#last && latest !== undefined) return latest.measurement;
    this.#last = measured;
    if (latest === undefined || wasSet(latest.measurement, measured)) return this.#goBy(measured, now);
    if (serverTime(measured) >= serverTime(latest.measurement) - WAVER_MS) return this.#goBy(measured, now);
    if (this.#next === undefined || serverTime(measured) >= serverTime(this.#next)) this.#next = measured;
    return now - latest.at < LATEST_FOR_MS ? latest.measurement : this.#goBy(this.#next, now);
  }

  #goBy(measurement: ClockMeasurement, now: number): ClockMeasurement {
    this.#latest = { measurement, at: now };
    this.#next = undefined;
    return measurement;
  }
}

/** By the server's clock, less the monotonic one: does not change while both go right. */
function serverTime({ offsetMs, skewMs }: ClockMeasurement): number {
  return offsetMs - skewMs;
}

function wasSet(before: ClockMeasurement, after: ClockMeasurement): boolean {
  return Math.abs(after.offsetMs - before.offsetMs) > SET_MS;
}
