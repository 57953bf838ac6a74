/** The system's clock, which a test can step (the wall clock alone) or move ahead by hours (timers too). */
import { type Clock, systemClock, type TimerHandle } from '../../src/kubernetes/clock.ts';

interface Timer {
  readonly dueMs: number;
  readonly callback: () => void;
  readonly handle: TimerHandle;
}

export class SteppedClock implements Clock {
  #wallOffsetMs = 0;
  #passedMs = 0;
  readonly #timers = new Set<Timer>();

  /** How far the wall clock is ahead of the machine's. */
  get offsetMs(): number {
    return this.#wallOffsetMs;
  }

  /** Sets the wall clock alone, as NTP or an administrator does: no timer moves. */
  step(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  /** Time passes for the timers and the wall clock: what is due by then happens now, in order. */
  pass(ms: number): void {
    this.#passedMs += ms;
    this.#wallOffsetMs += ms;
    const due = [...this.#timers].filter(({ dueMs }) => dueMs <= this.monotonic());
    for (const timer of due.sort((a, b) => a.dueMs - b.dueMs)) {
      timer.handle.cancel();
      if (this.#timers.delete(timer)) timer.callback();
    }
  }

  now(): number {
    return Date.now() + this.#wallOffsetMs;
  }

  monotonic(): number {
    return systemClock.monotonic() + this.#passedMs;
  }

  setTimeout(callback: () => void, ms: number): TimerHandle {
    const timer: Timer = {
      dueMs: this.monotonic() + ms,
      callback,
      handle: systemClock.setTimeout(() => {
        this.#timers.delete(timer);
        callback();
      }, ms),
    };
    this.#timers.add(timer);
    return {
      cancel: () => {
        this.#timers.delete(timer);
        timer.handle.cancel();
      },
    };
  }
}
