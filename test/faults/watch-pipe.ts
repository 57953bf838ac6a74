/**
 * One watch on its way through the proxy, event by event:
 *
 *     flowing <--hold, release--> held --expire--> ended (410, what was held is never seen)
 *        |--freeze--> frozen: the connection stays open, nothing comes through any more (half-open)
 */
import type { ServerResponse } from 'node:http';
import type { Exchange } from './exchange.ts';

export interface WatchFaults {
  /** Every event is sent twice. */
  readonly duplicate?: boolean;
  /** The connection is cut in the middle of this event, counted from 1. */
  readonly cutInside?: number;
  /** This event is sent after the one that follows it, or a second late, counted from 1. */
  readonly postpone?: number;
  /** Frozen after this many events; 0: from the start. */
  readonly freezeAfter?: number;
  /** How long each event waits. */
  readonly delayMs?: number;
  /** Before this event, counted from 1, the API server has forgotten the version: 410. */
  readonly expireAt?: number;
}

const EXPIRED = {
  kind: 'Status',
  apiVersion: 'v1',
  status: 'Failure',
  code: 410,
  reason: 'Expired',
  message: 'too old resource version: injected by the test',
};

/** A limit, because the next event may be a bookmark a minute later: that would be a hidden event, which is another fault. */
const POSTPONED_FOR_MS = 1_000;

export class WatchPipe {
  readonly exchange: Exchange;
  readonly #response: ServerResponse;
  readonly #faults: WatchFaults;
  #rest = '';
  #count = 0;
  #state: 'flowing' | 'held' | 'frozen' | 'ended' = 'flowing';
  #waiting: string[] = [];
  #hasEnded = false;
  #postponed: string | undefined;
  #sending: Promise<void> = Promise.resolve();

  constructor(exchange: Exchange, response: ServerResponse, faults: WatchFaults = {}) {
    this.exchange = exchange;
    this.#response = response;
    this.#faults = faults;
    if (faults.freezeAfter === 0) this.#state = 'frozen';
  }

  get isOpen(): boolean {
    return this.#state !== 'ended' && !this.#response.destroyed;
  }

  /** How many events have come from the API server, bookmarks too. */
  get count(): number {
    return this.#count;
  }

  push(chunk: string): void {
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#take(line);
  }

  /** Holds back what comes from now on, in order. */
  hold(): void {
    if (this.#state === 'flowing') this.#state = 'held';
  }

  release(): void {
    if (this.#state !== 'held') return;
    this.#state = 'flowing';
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const line of waiting) this.#send(line);
    if (this.#hasEnded) this.end();
  }

  freeze(): void {
    if (this.#state !== 'ended') this.#state = 'frozen';
  }

  /** As if the API server had forgotten the version: what was held is lost, and the client has to list again. */
  expire(): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#response.end(`${JSON.stringify({ type: 'ERROR', object: EXPIRED })}\n`);
  }

  cut(): void {
    this.#state = 'ended';
    this.#response.destroy();
  }

  /** The API server has ended the watch. While it is held or frozen, the client does not see that either. */
  end(): void {
    this.#hasEnded = true;
    if (this.#state !== 'flowing') return;
    this.#state = 'ended';
    void this.#sending.then(() => this.#response.end());
  }

  #take(line: string): void {
    this.#count += 1;
    const { cutInside, expireAt, freezeAfter, postpone } = this.#faults;
    if (this.#count === expireAt) {
      this.expire();
      return;
    }
    if (this.#count === cutInside) {
      const half = this.#state === 'flowing' ? line.slice(0, line.length / 2) : '';
      this.#state = 'ended';
      this.#response.write(half, () => this.cut());
      return;
    }
    if (this.#count === postpone) {
      this.#postponed = line;
      setTimeout(() => this.#sendPostponed(), POSTPONED_FOR_MS).unref();
      return;
    }
    this.#send(line);
    this.#sendPostponed();
    if (freezeAfter !== undefined && this.#count >= freezeAfter) this.freeze();
  }

  #sendPostponed(): void {
    const late = this.#postponed;
    this.#postponed = undefined;
    if (late !== undefined) this.#send(late);
  }

  #send(line: string): void {
    if (this.#state === 'held') this.#waiting.push(line);
    if (this.#state !== 'flowing') return;
    const text = `${line}\n`.repeat(this.#faults.duplicate === true ? 2 : 1);
    const { delayMs } = this.#faults;
    if (delayMs === undefined) {
      this.#response.write(text);
      return;
    }
    this.#sending = this.#sending
      .then(() => new Promise((resolve) => setTimeout(resolve, delayMs)))
      .then(() => void (this.#state === 'flowing' && this.#response.write(text)));
  }
}
