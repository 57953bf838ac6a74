/**
 * Records Events asynchronously: aggregated, rate-limited, best-effort. They are dropped, and counted, before they take memory or
 * slow anything down.
 */

import { formatRfc3339Micro } from '../../text/rfc3339.ts';
import { isApiError } from '../api-error.ts';
import type { ApiClient } from '../client/api-client.ts';
import { type Clock, delay, type TimerHandle } from '../clock.ts';
import type { Logger } from '../log.ts';
import { EVENTS } from '../resource-type.ts';
import { boundedInput, type EventInput, type EventSource, eventKey, newEvent } from './event.ts';
import { TokenBucket } from './token-bucket.ts';

export type { EventInput, EventSubject } from './event.ts';

export interface EventRecorderOptions {
  readonly client: ApiClient;
  /** `reportingController`, as in `example.dev/operator`. */
  readonly controller: string;
  /** `reportingInstance`: the pod's or the host's name. */
  readonly instance: string;
  /** Where events about cluster-wide objects go; the API server takes `default` and `kube-system`. */
  readonly namespace: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Events written a second, in the long run. 10. */
  readonly perSecond?: number;
  /** Events written at once after a quiet time. 100. */
  readonly burst?: number;
  /** Called for every Event that is not written. Must not throw. */
  readonly onDropped?: (reason: EventDropReason) => void;
}

/** `overflow`: too many waited. `failed`: refused by the API server, or no answer after several tries. */
export const EVENT_DROP_REASONS = ['overflow', 'failed'] as const;
export type EventDropReason = (typeof EVENT_DROP_REASONS)[number];

/** One event and its repetitions. */
interface Series {
  readonly input: EventInput;
  /** As created; undefined before. */
  ref?: { readonly namespace: string; readonly name: string };
  count: number;
  firstSeen: number;
  lastSeen: number;
  /** The count that was written last, and when, on the monotonic clock. */
  written: number;
  writtenAt: number;
}

/** What is remembered so that repetitions are known as such. */
const MAX_SERIES = 2_000;
/** Events that wait to be written. */
const MAX_WAITING = 1_000;
/** A repetition after this long is a new event (client-go: 6 minutes). */
const SERIES_END_MS = 360_000;
/** The first repetition is written at once, further ones this far apart. */
const SERIES_INTERVAL_MS = 10_000;

export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #source: EventSource;
  readonly #bucket: TokenBucket;
  /** In the order in which they were last recorded. */
  readonly #series = new Map<string, Series>();
  readonly #waiting = new Set<Series>();
  readonly #stop = new AbortController();
  #sending: Promise<void> | undefined;
  #sweep: TimerHandle | undefined;
  #sequence = 0;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    const { controller, instance, namespace, clock, burst = 100, perSecond = 10 } = options;
    this.#source = { controller, instance, namespace };
    this.#bucket = new TokenBucket({ clock, burst, perSecond });
  }

  /** Enqueues the Event and returns: never throws, never waits. */
  record(given: EventInput): void {
    if (this.#stop.signal.aborted) return;
    const { clock } = this.#options;
    const input = boundedInput(given);
    const key = eventKey(input);
    const known = this.#series.get(key);
    this.#series.delete(key);
    const series =
      known !== undefined && clock.now() - known.lastSeen < SERIES_END_MS
        ? known
        : { input, count: 0, firstSeen: clock.now(), lastSeen: 0, written: 0, writtenAt: 0 };
    series.count += 1;
    series.lastSeen = clock.now();
    this.#series.set(key, series);
    const [oldest] = this.#series.keys();
    if (this.#series.size > MAX_SERIES && oldest !== undefined) this.#series.delete(oldest);
    if (series.written <= 1 || clock.monotonic() - series.writtenAt >= SERIES_INTERVAL_MS) this.#enqueue(series);
    else this.#sweepLater();
  }

  /** Writes what is waiting, counts included, until all is written or the signal aborts; afterwards nothing is recorded any more. */
  async flush(signal: AbortSignal): Promise<void> {
    this.#sweep?.cancel();
    this.#enqueueUnwritten();
    const stop = (): void => this.#stop.abort();
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    try {
      await this.#sending;
    } finally {
      signal.removeEventListener('abort', stop);
      stop();
      this.#sweep?.cancel();
    }
  }

  #enqueue(series: Series): void {
    if (this.#waiting.size >= MAX_WAITING && !this.#waiting.has(series)) {
      this.#options.onDropped?.('overflow');
      return;
    }
    this.#waiting.add(series);
    this.#sending ??= this.#send();
  }

  #enqueueUnwritten(): void {
    for (const series of this.#series.values()) if (series.written < series.count) this.#enqueue(series);
  }

  #sweepLater(): void {
    this.#sweep ??= this.#options.clock.setTimeout(() => {
      this.#sweep = undefined;
      this.#enqueueUnwritten();
    }, SERIES_INTERVAL_MS);
  }

  async #send(): Promise<void> {
    const { signal } = this.#stop;
    for (const series of this.#waiting) {
      for (let ms = this.#bucket.take(); ms > 0 && !signal.aborted; ms = this.#bucket.take()) {
        await delay(this.#options.clock, ms, signal);
      }
      if (signal.aborted) break;
      this.#waiting.delete(series);
      await this.#write(series, signal);
    }
    // In one step with the end of the loop: an Event that is added from here on starts another loop.
    this.#sending = undefined;
  }

  async #write(series: Series, signal: AbortSignal): Promise<void> {
    const { clock, log, onDropped } = this.#options;
    const { count, input } = series;
    if (count === series.written) return;
    try {
      if (series.ref === undefined || !(await this.#patch(series, signal))) await this.#create(series, signal);
      series.written = count;
      series.writtenAt = clock.monotonic();
    } catch (error) {
      if (signal.aborted) return;
      const { kind, namespace, name } = input.regarding;
      log.debug({ kind, namespace, name, reason: input.reason, err: error }, 'failed to write an Event, dropping it');
      onDropped?.('failed');
      // As if written: an Event that was refused is not tried again until it happens again.
      series.written = count;
      series.writtenAt = clock.monotonic();
    }
  }

  async #create(series: Series, signal: AbortSignal): Promise<void> {
    const { client } = this.#options;
    this.#sequence += 1;
    const suffix = `${series.firstSeen.toString(16)}${process.pid.toString(16)}${this.#sequence.toString(16)}`;
    const event = newEvent(series.input, this.#source, suffix, series.firstSeen);
    const { name = '', namespace = '' } = event.metadata;
    const body = series.count > 1 ? { ...event, series: seriesOf(series) } : event;
    await client.create(EVENTS, body, { signal, metadataOnly: true });
    series.ref = { namespace, name };
  }

  /** False when the event has expired: the API server keeps events for an hour. */
  async #patch(series: Series, signal: AbortSignal): Promise<boolean> {
    if (series.ref === undefined) return false;
    try {
      await this.#options.client.mergePatch(
        EVENTS,
        series.ref,
        { series: seriesOf(series) },
        { signal, metadataOnly: true },
      );
      return true;
    } catch (error) {
      if (isApiError(error, 'NotFound')) return false;
      throw error;
    }
  }
}

function seriesOf({ count, lastSeen }: Series) {
  return { count, lastObservedTime: formatRfc3339Micro(lastSeen) };
}
