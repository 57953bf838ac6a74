/** Time as a value that is passed in, so that tests own it. */

export interface TimerHandle {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since the epoch: the wall clock. It may jump, in both directions. */
  now(): number;
  /** Milliseconds since some fixed moment: never goes back, says nothing about the date. */
  monotonic(): number;
  /** Calls back once after `ms` of monotonic time; the process may end before. */
  setTimeout(callback: () => void, ms: number): TimerHandle;
}

/** Node's timers take a signed 32-bit delay and fire at once on anything longer. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = Object.freeze({
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (callback: () => void, ms: number) => {
    const timer = setTimeout(callback, Math.min(Math.max(0, ms), LONGEST_TIMER_MS));
    return { cancel: () => clearTimeout(timer) };
  },
});

/** Resolves after `ms`, or as soon as the signal aborts: never rejects, so check the signal afterwards. */
export function delay(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = (): void => {
      timer.cancel();
      signal.removeEventListener('abort', finish);
      resolve();
    };
    const timer = clock.setTimeout(finish, ms);
    signal.addEventListener('abort', finish, { once: true });
  });
}
