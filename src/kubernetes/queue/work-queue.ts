/**
 * A queue of keys with the semantics of client-go's: a key is in it once however often it is added; it is with one worker at a
 * time; added while a worker has it, it comes again after `done`. What a key means is looked up when it is processed, so that a
 * thousand changes cost one reconcile. Unlike client-go's, taking a key drops the later time that it waited for: a reconcile looks
 * at everything, and says when the next is due. So nothing is left of a key that is gone, and no time that is out of date.
 *
 *     addAt, addAfter, retry -> delayed -> (its time) -\
 *     add ------------------------------------------> ready -> take -> processing -> done -> (added meanwhile?) ready
 */

import { backoffMs } from '../backoff.ts';
import type { Clock, TimerHandle } from '../clock.ts';
import { EarlyRetries } from './early-retries.ts';
import { KeyHeap } from './key-heap.ts';
import { KeyLanes, type Lane } from './key-lanes.ts';

export type { Lane } from './key-lanes.ts';

export interface WorkQueueEvent {
  readonly kind: 'add' | 'take' | 'done' | 'retry';
  readonly lane: Lane;
  /** `take`: how long the key was ready; `done`: how long it was processed; `retry`: how long it will wait. */
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

interface Processing {
  readonly lane: Lane;
  readonly since: number;
}

interface Again {
  readonly lane: Lane;
  readonly rank: number | undefined;
}

export interface RetryOptions {
  /** Shortens the longest delay. */
  readonly maxDelayMs?: number | undefined;
  /** The server's Retry-After: never earlier than this, whatever the longest delay is. */
  readonly minDelayMs?: number | undefined;
  /** The server could not be reached, or could not serve: the wait may end early. */
  readonly unavailable?: boolean;
}

/** The lanes as the heap of delayed keys stores them. */
const LANES = ['urgent', 'background'] as const satisfies Lane[];

const DEFAULT_BASE_DELAY_MS = 1000;
const DEFAULT_MAX_DELAY_MS = 300_000;
/** Delayed keys wait for the wall clock, which may be set at any moment: it is checked at least this often. */
const MAX_SLEEP_MS = 1_000;
/** NTP slews by less than this between two checks; a step is more. */
const STEP_TOLERANCE_MS = 500;
/** What a key waits for a cache or another's write, at most. */
const LONGEST_DELAY_MS = 10_000;
/** Of a retry. Those that failed together stay close together, but do not come back in one burst. */
const RETRY_JITTER = 0.2;

export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #ready = new KeyLanes();
  /** When each ready key became so. */
  readonly #readySince = new Map<string, number>();
  readonly #processing = new Map<string, Processing>();
  /** Added while processing. */
  readonly #again = new Map<string, Again>();
  readonly #delayed = new KeyHeap();
  readonly #failures = new Map<string, number>();
  readonly #early: EarlyRetries;
  readonly #takers = new Set<() => void>();
  #timer: TimerHandle | undefined;
  /** On the monotonic clock: until then no background key is taken. */
  #restsUntil = Number.NEGATIVE_INFINITY;
  #restTimer: TimerHandle | undefined;
  #wakeAt = Number.POSITIVE_INFINITY;
  /** Wall minus monotonic clock at the last check: falls when the wall clock is set back. */
  #offset: number;
  #shutDown = false;
  /** On the monotonic clock: when `retryUnavailable` was called last. */
  #reachableSince = Number.NEGATIVE_INFINITY;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    const add = (key: string): void => this.#addDelayed(key);
    this.#early = new EarlyRetries({ clock: options.clock, add });
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

  /** Keys that workers have now. */
  get taken(): number {
    return this.#processing.size;
  }

  /** How long each of the keys that workers have now has been processed, in seconds. */
  get processing(): readonly number[] {
    return Array.from(this.#processing.values(), ({ since }) => this.#secondsSince(since));
  }

  /**
   * Urgent keys are taken first, in the order in which they were added; then the background, lowest rank first. A key that waits
   * in the background moves when it is added again as urgent or with another rank. After `shutDown` nothing is added any more.
   * @param rank of a background key, for instance the time at which a credential expires; keys without one come before the others
   */
  add(key: string, lane: Lane = 'urgent', rank?: number): void {
    if (this.#shutDown) return;
    if (this.#processing.has(key)) {
      const again = this.#again.get(key);
      if (again?.lane !== 'urgent') this.#again.set(key, { lane, rank: rank ?? again?.rank });
      return;
    }
    this.#makeReady(key, lane, rank);
  }

  /**
   * Adds the key when its time has come, unless it is taken before.
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
    const tag = Math.min(LANES.indexOf(lane), known?.tag ?? LANES.length);
    this.#delayed.set(key, Math.min(timeMs, known?.order ?? timeMs), tag);
    this.#arm();
  }

  addAfter(key: string, ms: number, lane: Lane = 'urgent'): void {
    this.addAt(key, this.#options.clock.now() + ms, lane);
  }

  /**
   * Adds the key after a delay that doubles with every failure since `forget`, up to a fifth shorter by chance. In the lane that it
   * was taken from.
   * @returns the milliseconds chosen
   */
  retry(key: string, { maxDelayMs, minDelayMs = 0, unavailable = false }: RetryOptions = {}): number {
    const { random, baseDelayMs = DEFAULT_BASE_DELAY_MS, observe } = this.#options;
    const longest = this.#options.maxDelayMs ?? DEFAULT_MAX_DELAY_MS;
    const failures = this.failures(key) + 1;
    this.#failures.set(key, failures);
    const processing = this.#processing.get(key);
    // A call that began before the server came back failed late: what it says is out of date.
    const isLate = unavailable && processing !== undefined && processing.since < this.#reachableSince;
    const maxMs = isLate ? baseDelayMs : Math.min(longest, maxDelayMs ?? longest);
    const backoff = backoffMs(failures, { baseMs: baseDelayMs, maxMs, random, jitter: RETRY_JITTER });
    // Later by chance than the server asked, never earlier: keys that were turned away together do not come back together.
    const ms = minDelayMs > backoff ? minDelayMs * (1 + RETRY_JITTER * random()) : backoff;
    const lane = processing?.lane ?? 'urgent';
    this.addAfter(key, ms, lane);
    if (!unavailable || this.#delayed.get(key) === undefined) this.#early.failedAlone(key);
    else this.#early.failed(key, { isFirst: failures === 1, askedMs: minDelayMs });
    observe?.({ kind: 'retry', lane, seconds: ms / 1000 });
    return ms;
  }

  /**
   * The server can be reached again: what waits for that is added now, unless it was asked to wait. Its next failure still doubles its
   * delay.
   * @returns how many keys
   */
  retryUnavailable(): number {
    this.#reachableSince = this.#options.clock.monotonic();
    const keys = this.#early.release();
    for (const key of keys) this.#addDelayed(key);
    return keys.length;
  }

  #addDelayed(key: string): void {
    this.add(key, LANES[this.#delayed.get(key)?.tag ?? 0]);
  }

  /** How often in a row it was retried. */
  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** The key succeeded, or is gone for good: its next failure is its first. */
  forget(key: string): void {
    this.#failures.delete(key);
    this.#early.succeeded(key);
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
    const processed = this.#processing.get(key);
    if (processed === undefined) throw new TypeError(`expected a key that was taken, found ${JSON.stringify(key)}`);
    this.#processing.delete(key);
    this.#options.observe?.({ kind: 'done', lane: processed.lane, seconds: this.#secondsSince(processed.since) });
    const again = this.#again.get(key);
    if (again === undefined) return;
    this.#again.delete(key);
    this.#makeReady(key, again.lane, again.rank);
  }

  /** Background keys wait for so long from now, in their order; urgent ones do not. A later call replaces an earlier one. */
  restBackground(ms: number): void {
    const { clock } = this.#options;
    this.#restTimer?.cancel();
    this.#restTimer = undefined;
    if (this.#shutDown) return;
    this.#restsUntil = clock.monotonic() + ms;
    this.#restTimer = clock.setTimeout(() => {
      this.#restTimer = undefined;
      this.#restsUntil = Number.NEGATIVE_INFINITY;
      for (const wake of this.#takers) wake();
    }, ms);
  }

  /** What is ready will still be taken; what is delayed is dropped. */
  shutDown(): void {
    this.#shutDown = true;
    this.#delayed.clear();
    this.#early.clear();
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#restTimer?.cancel();
    this.#restsUntil = Number.NEGATIVE_INFINITY;
    for (const wake of this.#takers) wake();
  }

  #makeReady(key: string, lane: Lane, rank?: number): void {
    this.#ready.push(key, lane, rank);
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
    const next = this.#ready.shift(this.#options.clock.monotonic() < this.#restsUntil);
    if (next === undefined) return undefined;
    const { key, lane } = next;
    const { clock, observe } = this.#options;
    const since = this.#readySince.get(key) ?? clock.monotonic();
    this.#readySince.delete(key);
    this.#delayed.delete(key);
    this.#early.taken(key);
    this.#processing.set(key, { lane, since: clock.monotonic() });
    observe?.({ kind: 'take', lane, seconds: this.#secondsSince(since) });
    return key;
  }

  #secondsSince(monotonic: number): number {
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

  /** One timer for all delayed keys, set again only when it would be too late. */
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
    // A wall clock that was set back would delay every key by as much again, perhaps past the expiry that it was to prevent.
    const setBack = clock.now() - clock.monotonic() < this.#offset - STEP_TOLERANCE_MS;
    // The time that it would be without the step.
    const unset = clock.monotonic() + this.#offset;
    const due = setBack ? Number.POSITIVE_INFINITY : clock.now();
    for (let next = this.#delayed.popUntil(due); next !== undefined; next = this.#delayed.popUntil(due)) {
      // What was not due has no claim to overtake others. What waits for a delay and not for a time keeps its lane: a retry, or a few seconds.
      const isEarly = next.order - unset > LONGEST_DELAY_MS && this.failures(next.key) === 0;
      if (isEarly) this.add(next.key, 'background', next.order);
      else this.add(next.key, LANES[next.tag]);
    }
    this.#arm();
  };
}
