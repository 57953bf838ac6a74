/**
 * A queue of keys with the semantics of client-go's: a key is in it once however often it is added; it is with one worker at a
 * time; added while a worker has it, it comes again after `done`. What a key means is looked up when it is worked on, so that a
 * thousand changes cost one look.
 *
 *     addAt, addAfter, retry -> delayed -> (its time) -\
 *     add ------------------------------------------> ready -> take -> processing -> done -> (added meanwhile?) ready
 */

import type { Clock, TimerHandle } from '../clock.ts';
import { DeadlineHeap } from './deadline-heap.ts';
import { KeyLanes, type Lane } from './key-lanes.ts';

export type { Lane } from './key-lanes.ts';

export interface WorkQueueEvent {
  readonly kind: 'add' | 'take' | 'done' | 'retry';
  readonly lane: Lane;
  /** `take`: how long the key was ready; `done`: how long it was worked on; `retry`: how long it will wait. */
  readonly seconds?: number;
}

export interface WorkQueueOptions {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  /** After the first failure. 1 s. */
  readonly baseDelayMs?: number;
  /** 5 minutes. */
  readonly maxDelayMs?: number;
  readonly observe?: (event: WorkQueueEvent) => void;
}

interface Held {
  readonly lane: Lane;
  readonly since: number;
}

const DEFAULT_BASE_DELAY_MS = 1000;
const DEFAULT_MAX_DELAY_MS = 300_000;
/** The delayed wait for the wall clock, which may be set at any moment: so often it is looked at. */
const MAX_SLEEP_MS = 10_000;
/** NTP slews by less than this between two looks; a step is more. */
const STEP_TOLERANCE_MS = 500;

export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #ready = new KeyLanes();
  /** When each ready key became so. */
  readonly #readySince = new Map<string, number>();
  readonly #processing = new Map<string, Held>();
  /** Added while processing. */
  readonly #again = new Map<string, Lane>();
  readonly #delayed = new DeadlineHeap<Lane>();
  readonly #failures = new Map<string, number>();
  readonly #takers = new Set<() => void>();
  #timer: TimerHandle | undefined;
  #wakeAt = Number.POSITIVE_INFINITY;
  /** Wall minus monotonic clock when it was looked at last: falls when the wall clock is set back. */
  #offset: number;
  #shutDown = false;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#offset = options.clock.now() - options.clock.monotonic();
  }

  /** Keys that are ready to be taken. */
  get length(): number {
    return this.#ready.size;
  }

  /** Keys that wait for their time. */
  get delayed(): number {
    return this.#delayed.size;
  }

  /** Keys that workers have. */
  get processing(): number {
    return this.#processing.size;
  }

  /** A key that waits in the background moves when it is added as urgent. After `shutDown` nothing is added any more. */
  add(key: string, lane: Lane = 'urgent'): void {
    if (this.#shutDown) return;
    if (this.#processing.has(key)) {
      if (this.#again.get(key) !== 'urgent') this.#again.set(key, lane);
      return;
    }
    this.#makeReady(key, lane);
  }

  /**
   * @param timeMs wall clock; of two times for one key the earlier holds
   * @throws TypeError for NaN
   */
  addAt(key: string, timeMs: number, lane: Lane = 'urgent'): void {
    if (Number.isNaN(timeMs)) throw new TypeError(`expected a time for ${JSON.stringify(key)}, found NaN`);
    if (this.#shutDown) return;
    const { clock } = this.#options;
    if (timeMs <= clock.now()) {
      this.add(key, lane);
      return;
    }
    const known = this.#delayed.get(key);
    const either = known?.value === 'urgent' ? 'urgent' : lane;
    this.#delayed.set(key, Math.min(timeMs, known?.timeMs ?? timeMs), either);
    this.#arm();
  }

  addAfter(key: string, ms: number, lane: Lane = 'urgent'): void {
    this.addAt(key, this.#options.clock.now() + ms, lane);
  }

  /**
   * Adds the key after a time that doubles with every failure since `forget`, up to a fifth shorter by chance so that those
   * that failed together do not come back together. In the lane that it was taken from.
   * @returns the milliseconds chosen
   */
  retry(key: string, options: { readonly maxDelayMs?: number } = {}): number {
    const { random, baseDelayMs = DEFAULT_BASE_DELAY_MS, maxDelayMs = DEFAULT_MAX_DELAY_MS, observe } = this.#options;
    const failures = this.failures(key) + 1;
    this.#failures.set(key, failures);
    const longest = Math.min(maxDelayMs, options.maxDelayMs ?? maxDelayMs);
    const ms = Math.min(longest, baseDelayMs * 2 ** Math.min(failures - 1, 50)) * (1 - 0.2 * random());
    const lane = this.#processing.get(key)?.lane ?? 'urgent';
    this.addAfter(key, ms, lane);
    observe?.({ kind: 'retry', lane, seconds: ms / 1000 });
    return ms;
  }

  /** How often in a row it was retried. */
  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** The key went well, or is gone for good: its next failure is its first. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** The next key, for which `done` must be called; undefined once shut down and empty, or when the signal aborts. */
  async take(signal: AbortSignal): Promise<string | undefined> {
    for (;;) {
      if (signal.aborted) {
        // It may have been woken for a key that it does not take any more.
        if (this.#ready.size > 0) this.#wakeTaker();
        return undefined;
      }
      const key = this.#takeReady();
      if (key !== undefined || this.#shutDown) return key;
      await this.#added(signal);
    }
  }

  /** @throws TypeError when nobody has the key */
  done(key: string): void {
    const held = this.#processing.get(key);
    if (held === undefined) throw new TypeError(`expected a key that was taken, found ${JSON.stringify(key)}`);
    this.#processing.delete(key);
    this.#options.observe?.({ kind: 'done', lane: held.lane, seconds: this.#since(held.since) });
    const again = this.#again.get(key);
    if (again === undefined) return;
    this.#again.delete(key);
    this.#makeReady(key, again);
  }

  /** What is ready will still be taken; what is delayed is dropped. */
  shutDown(): void {
    this.#shutDown = true;
    this.#delayed.clear();
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const wake of this.#takers) wake();
  }

  #makeReady(key: string, lane: Lane): void {
    this.#ready.push(key, lane);
    if (!this.#readySince.has(key)) {
      this.#readySince.set(key, this.#options.clock.monotonic());
      this.#options.observe?.({ kind: 'add', lane });
    }
    this.#wakeTaker();
  }

  #wakeTaker(): void {
    const [wake] = this.#takers;
    wake?.();
  }

  #takeReady(): string | undefined {
    const next = this.#ready.shift();
    if (next === undefined) return undefined;
    const { key, lane } = next;
    const { clock, observe } = this.#options;
    const since = this.#readySince.get(key) ?? clock.monotonic();
    this.#readySince.delete(key);
    this.#processing.set(key, { lane, since: clock.monotonic() });
    observe?.({ kind: 'take', lane, seconds: this.#since(since) });
    return key;
  }

  #since(monotonic: number): number {
    return (this.#options.clock.monotonic() - monotonic) / 1000;
  }

  #added(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#takers.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#takers.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }

  /** One timer for all that is delayed, set anew only when it would be too late. */
  #arm(): void {
    const next = this.#delayed.next;
    if (next === undefined) return;
    const { clock } = this.#options;
    const offset = clock.now() - clock.monotonic();
    this.#offset = this.#timer === undefined ? offset : Math.max(offset, this.#offset);
    const sleep = Math.min(MAX_SLEEP_MS, Math.max(0, next - clock.now()));
    const wakeAt = clock.monotonic() + sleep;
    if (this.#timer !== undefined && this.#wakeAt <= wakeAt) return;
    this.#timer?.cancel();
    this.#wakeAt = wakeAt;
    this.#timer = clock.setTimeout(this.#onTimer, sleep);
  }

  readonly #onTimer = (): void => {
    const { clock } = this.#options;
    this.#timer = undefined;
    // Set back, the wall clock would keep all that is delayed waiting by as much again, perhaps beyond what it was to prevent.
    const setBack = clock.now() - clock.monotonic() < this.#offset - STEP_TOLERANCE_MS;
    const due = setBack ? Number.POSITIVE_INFINITY : clock.now();
    for (let next = this.#delayed.popDue(due); next !== undefined; next = this.#delayed.popDue(due)) {
      this.add(next.key, next.value);
    }
    this.#arm();
  };
}
