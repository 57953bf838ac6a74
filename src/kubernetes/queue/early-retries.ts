/**
 * Which of the keys that wait because the server failed them are tried before their time. A key that failed four times in a row waits
 * for eight seconds, however well the server is by then, and a server that fails a third of its calls is never so far gone that its
 * recovery shows in a single answer. So one key at a time is tried early: every second at first, later every tenth of the time since a
 * key failed for the first time, at most every half minute. Each that succeeds brings two more. Where one thing fails for ever, that is
 * all that it costs, however many keys wait for it.
 */
import type { Clock, TimerHandle } from '../clock.ts';

const MIN_INTERVAL_MS = 1_000;
const MAX_INTERVAL_MS = 30_000;
const SHARE_OF_FAILING = 0.1;
/** Of a key, since it failed. */
const MIN_WAIT_MS = 1_000;
const BROUGHT_BY_SUCCESS = 2;
/** Those that were asked to wait longer are passed over, not waited for. */
const MAX_PASSED_OVER = 100;

interface Waiting {
  /** On the monotonic clock. */
  readonly notBefore: number;
  /** By the server, for so long. */
  readonly asked: boolean;
}

export interface EarlyRetriesOptions {
  readonly clock: Clock;
  /** Makes a key ready that waits. */
  readonly add: (key: string) => void;
}

export class EarlyRetries {
  readonly #options: EarlyRetriesOptions;
  /** In the order in which they failed. */
  readonly #waiting = new Map<string, Waiting>();
  /** Tried again, early or not, and not settled yet. */
  readonly #trials = new Set<string>();
  /** On the monotonic clock. */
  #failingSince = 0;
  #timer: TimerHandle | undefined;

  constructor(options: EarlyRetriesOptions) {
    this.#options = options;
  }

  /** @param askedMs the server's Retry-After */
  failed(key: string, { isFirst, askedMs }: { readonly isFirst: boolean; readonly askedMs: number }): void {
    const now = this.#options.clock.monotonic();
    this.#trials.delete(key);
    this.#waiting.delete(key);
    this.#waiting.set(key, { notBefore: now + Math.max(MIN_WAIT_MS, askedMs), asked: askedMs > 0 });
    if (isFirst) this.#failingSince = now;
    this.#arm();
  }

  /** The key is tried. */
  taken(key: string): void {
    if (this.#waiting.delete(key)) this.#trials.add(key);
  }

  /** The key failed for a reason of its own. */
  failedAlone(key: string): void {
    this.#waiting.delete(key);
    this.#trials.delete(key);
    this.#arm();
  }

  succeeded(key: string): void {
    if (!this.#trials.delete(key)) return;
    this.#failingSince = this.#options.clock.monotonic();
    for (let brought = 0; brought < BROUGHT_BY_SUCCESS; brought += 1) this.#tryNext();
    this.#arm();
  }

  /** All that wait for the server, and were not asked to, wait no more. */
  release(): readonly string[] {
    const keys = [...this.#waiting].flatMap(([key, { asked }]) => (asked ? [] : [key]));
    for (const key of keys) this.#waiting.delete(key);
    return keys;
  }

  clear(): void {
    this.#waiting.clear();
    this.#trials.clear();
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #tryNext(): void {
    const now = this.#options.clock.monotonic();
    let passedOver = 0;
    for (const [key, { notBefore }] of this.#waiting) {
      if (notBefore <= now) {
        this.taken(key);
        this.#options.add(key);
        return;
      }
      passedOver += 1;
      if (passedOver === MAX_PASSED_OVER) return;
    }
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#waiting.size === 0 || this.#trials.size > 0) return;
    const { clock } = this.#options;
    const failingMs = clock.monotonic() - this.#failingSince;
    const interval = Math.min(MAX_INTERVAL_MS, Math.max(MIN_INTERVAL_MS, failingMs * SHARE_OF_FAILING));
    this.#timer = clock.setTimeout(() => {
      this.#timer = undefined;
      if (this.#trials.size === 0) this.#tryNext();
      this.#arm();
    }, interval);
  }
}
