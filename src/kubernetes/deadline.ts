/**
 * Ends when its parent signal aborts or when its time has passed, and knows which it was. Every request has one, so what is cheap comes
 * first: an AbortSignal of its own is made only for those who need one (4 us each, with its listeners).
 */

import type { Clock, TimerHandle } from './clock.ts';

export class Deadline implements Disposable {
  readonly #parent: AbortSignal;
  readonly #clock: Clock;
  #controller: AbortController | undefined;
  #timer: TimerHandle | undefined;
  #expired = false;
  #onEnd: (() => void) | undefined;

  constructor(parent: AbortSignal, clock: Clock, ms: number) {
    this.#parent = parent;
    this.#clock = clock;
    if (parent.aborted) return;
    parent.addEventListener('abort', this.#end, { once: true });
    this.extend(ms);
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.ended) this.#abort(this.#controller);
    }
    return this.#controller.signal;
  }

  /** The time has passed, or the parent aborted. */
  get ended(): boolean {
    return this.#expired || this.#parent.aborted;
  }

  /** The time has passed; false when the parent aborted. */
  get expired(): boolean {
    return this.#expired;
  }

  /** As the signal's; undefined before the end. */
  get reason(): unknown {
    return this.ended ? this.signal.reason : undefined;
  }

  /** Called once, at the end; not where that has passed. One at a time: it takes the place of the one before. */
  set onEnd(callback: (() => void) | undefined) {
    this.#onEnd = callback;
  }

  /** Starts the time again. */
  extend(ms: number): void {
    this.#timer?.cancel();
    if (this.ended) return;
    this.#timer = this.#clock.setTimeout(() => {
      if (this.ended) return;
      this.#expired = true;
      this.#end();
    }, ms);
  }

  /** Stops the time until it is extended again. */
  hold(): void {
    this.#timer?.cancel();
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#parent.removeEventListener('abort', this.#end);
  }

  readonly #end = (): void => {
    if (this.#controller !== undefined) this.#abort(this.#controller);
    this.#onEnd?.();
    this.#onEnd = undefined;
  };

  #abort(controller: AbortController): void {
    if (this.#expired) controller.abort();
    else controller.abort(this.#parent.reason);
  }
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
