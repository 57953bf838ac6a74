/** A signal that aborts when its parent does or when its time has passed, and knows which it was. */

import type { Clock, TimerHandle } from './clock.ts';

export class Deadline implements Disposable {
  readonly #controller = new AbortController();
  readonly #parent: AbortSignal;
  readonly #clock: Clock;
  #timer: TimerHandle | undefined;
  #expired = false;

  constructor(parent: AbortSignal, clock: Clock, ms: number) {
    this.#parent = parent;
    this.#clock = clock;
    if (parent.aborted) {
      this.#controller.abort(parent.reason);
      return;
    }
    parent.addEventListener('abort', this.#onAbort, { once: true });
    this.extend(ms);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The time has passed; false when the parent aborted. */
  get expired(): boolean {
    return this.#expired;
  }

  /** Starts the time again. */
  extend(ms: number): void {
    this.#timer?.cancel();
    if (this.signal.aborted) return;
    this.#timer = this.#clock.setTimeout(() => {
      this.#expired = true;
      this.#controller.abort();
    }, ms);
  }

  /** Stops the time until it is extended again. */
  hold(): void {
    this.#timer?.cancel();
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#parent.removeEventListener('abort', this.#onAbort);
  }

  readonly #onAbort = (): void => {
    this.#controller.abort(this.#parent.reason);
  };
}

/** What the promise settles to, or the signal's reason as soon as that aborts: for what takes no signal, and may never settle. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
