/**
 * Keeps a store equal to what the API server has, and says what changed. It lists, watches from where the list ended, resumes
 * from the last version that it saw whenever the watch ends, and lists anew when the server has forgotten that version. Nothing
 * but its signal ends it.
 *
 *     list --complete--> watch --ended, cut, silent--> (back-off) watch --410--> list
 *       ^---failed: back-off---|
 */

import { ApiError, isApiError } from '../api-error.ts';
import { Backoff } from '../backoff.ts';
import type { ApiClient } from '../client/api-client.ts';
import { isExpired } from '../client/status-error.ts';
import { type Clock, delay } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { KubernetesObject, WatchEvent } from '../objects.ts';
import type { ResourceType } from '../resource-type.ts';
import { compareResourceVersions } from './resource-version.ts';
import { listPages, Snapshot, type Versioned } from './snapshot.ts';
import { type Indexers, Store } from './store.ts';

export interface Change<T> {
  /** Absent: it is new. */
  readonly previous?: T;
  /** Absent: it is gone. */
  readonly current?: T;
}

export interface ReflectorEvent {
  /** `list`: a whole list was taken over. `watch`: one begins. `failure`: one ended badly. `handler-error`: onChange threw. */
  readonly kind: 'list' | 'watch' | 'failure' | 'handler-error';
  /** Of an ApiError. */
  readonly reason?: string;
}

export interface ReflectorOptions<T> {
  readonly client: ApiClient;
  readonly type: ResourceType;
  /** Omitted: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly metadataOnly?: boolean;
  /** Keeps only what is needed: what it returns is what the store holds. An object that it throws on is left out. */
  readonly transform: (raw: KubernetesObject) => T;
  readonly keyOf: (object: T) => string;
  readonly indexes?: Indexers<T>;
  /** Called after the store was changed. What it throws is logged. */
  readonly onChange: (change: Change<T>) => void;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  readonly observe?: (event: ReflectorEvent) => void;
  /** The longest silence of a watch that is believed. 150 s. */
  readonly quietMs?: number;
}

const BASE_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 30_000;
/** A watch ends by itself after 5 to 10 minutes, so that watches spread over the API servers there are (client-go does the same). */
const WATCH_SECONDS = 300;
/** A watch that ends earlier than this, having said nothing, counts as failed. */
const SHORT_WATCH_MS = 1_000;
/** One that held this long was a success, whatever ended it. */
const LONG_WATCH_MS = 60_000;

export class Reflector<T> {
  readonly store: Store<T>;
  /** Resolves when the first list was taken over and all its objects reported; stays pending when `run` ends before. */
  readonly synced: Promise<void>;
  readonly #options: ReflectorOptions<T>;
  readonly #backoff: Backoff;
  readonly #markSynced: () => void;
  /** Of each object in the store. */
  readonly #versions = new Map<string, string>();
  #hasSynced = false;
  #resourceVersion = '';
  #mustList = true;
  /** Whether the server can begin a watch with a list, as far as we know, and whether the next list is to be one. */
  #canStream = true;
  #streaming = true;
  #running = false;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.store = new Store(options.keyOf, options.indexes);
    this.#backoff = new Backoff({ baseMs: BASE_BACKOFF_MS, maxMs: MAX_BACKOFF_MS, random: options.random });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.synced = promise;
    this.#markSynced = resolve;
  }

  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** Of the last list, event or bookmark; empty before the first list. */
  get resourceVersion(): string {
    return this.#resourceVersion;
  }

  /** Whether the store shows a write that was answered with this version. */
  isAtLeast(resourceVersion: string): boolean {
    if (!this.#hasSynced) return false;
    return (compareResourceVersions(this.#resourceVersion, resourceVersion) ?? -1) >= 0;
  }

  /** Ends when the signal aborts, never rejects for anything else than being run twice. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#running) throw new TypeError('expected a reflector to be run once');
    this.#running = true;
    while (!signal.aborted) {
      const ms = await this.#round(signal);
      if (ms > 0) await delay(this.#options.clock, ms, signal);
    }
  }

  /** One list, one watch, or both in one; returns how long to wait before the next. */
  async #round(signal: AbortSignal): Promise<number> {
    const { clock } = this.#options;
    const started = clock.monotonic();
    const listing = this.#mustList;
    try {
      if (listing && !this.#streaming) {
        await this.#listPages(signal);
        return 0;
      }
      const events = await this.#follow(listing, signal);
      if (events > 0 || clock.monotonic() - started >= SHORT_WATCH_MS) this.#backoff.reset();
      else return this.#backoff.next();
      return 0;
    } catch (error) {
      if (signal.aborted) return 0;
      if (clock.monotonic() - started >= LONG_WATCH_MS) this.#backoff.reset();
      return this.#onFailure(error);
    }
  }

  #onFailure(error: unknown): number {
    const { log, type, observe } = this.#options;
    const reason = isApiError(error) ? error.reason : 'Unknown';
    observe?.({ kind: 'failure', reason });
    if (isExpired(error)) {
      log.info({ resource: type.plural }, 'the watch has expired, listing anew');
      this.#mustList = true;
      const first = this.#backoff.failures === 0;
      const ms = this.#backoff.next();
      return first ? 0 : ms;
    }
    if (this.#mustList && this.#streaming && cannotStream(error)) {
      log.debug({ resource: type.plural, reason }, 'no streaming list, listing page by page');
      this.#streaming = false;
      this.#canStream = reason === 'Timeout';
      return 0;
    }
    // A cut connection is everyday life; what the server refuses is for someone to put right.
    const level = reason === 'Network' || reason === 'Timeout' ? 'debug' : 'warn';
    const ms = this.#backoff.next();
    const fields = { resource: type.plural, reason, err: error, retryInMs: Math.round(ms) };
    log[this.#backoff.failures > 3 ? 'warn' : level](fields, 'list or watch failed');
    return ms;
  }

  #selection() {
    const { namespace, labelSelector, fieldSelector, metadataOnly } = this.#options;
    return { namespace, labelSelector, fieldSelector, metadataOnly };
  }

  async #listPages(signal: AbortSignal): Promise<void> {
    const { client, type } = this.#options;
    this.#takeOver(await listPages(client, type, this.#selection(), this.#keep, signal));
  }

  /** Watches until the watch ends, from the beginning or from the last version; returns the number of events. */
  async #follow(listing: boolean, signal: AbortSignal): Promise<number> {
    const { client, type, random, observe, quietMs } = this.#options;
    const timeoutSeconds = Math.round(WATCH_SECONDS * (1 + random()));
    const from = listing ? { sendInitialEvents: true } : { resourceVersion: this.#resourceVersion };
    const events = client.watch<KubernetesObject>(
      type,
      { ...this.#selection(), ...from, timeoutSeconds },
      quietMs === undefined ? { signal } : { signal, quietMs },
    );
    observe?.({ kind: 'watch' });
    // Until it is complete, a streaming list touches nothing: cut in the middle, it is as if it had not been.
    let snapshot = listing ? new Snapshot(this.#keep) : undefined;
    let count = 0;
    for await (const event of events) {
      count += 1;
      if (snapshot === undefined) {
        this.#apply(event);
        this.#backoff.reset();
      } else if (snapshot.take(event)) {
        this.#takeOver(snapshot);
        snapshot = undefined;
      }
    }
    if (snapshot === undefined) return count;
    throw new ApiError(`watch ${type.plural}: ended before its initial list did`, { status: 0, reason: 'Network' });
  }

  /** The list is the truth, also where a version in it is older: etcd may have been restored from a backup. */
  #takeOver(snapshot: Snapshot<T>): void {
    const changes: Change<T>[] = [];
    for (const key of this.store.keys()) {
      if (!snapshot.objects.has(key)) changes.push(this.#remove(key));
    }
    for (const kept of snapshot.objects.values()) {
      if (this.#versions.get(kept.key) !== kept.version) changes.push(this.#put(kept));
    }
    this.#resourceVersion = snapshot.resourceVersion;
    this.#mustList = false;
    this.#streaming = this.#canStream;
    this.#backoff.reset();
    this.#options.observe?.({ kind: 'list' });
    for (const change of changes) this.#report(change);
    this.#hasSynced = true;
    this.#markSynced();
  }

  #apply(event: WatchEvent<KubernetesObject>): void {
    if (event.type === 'BOOKMARK') {
      this.#advance(event.object.metadata.resourceVersion);
      return;
    }
    const kept = this.#keep(event.object);
    this.#advance(event.object.metadata.resourceVersion);
    if (kept === undefined) return;
    const stored = this.#versions.get(kept.key);
    const order = stored === undefined ? 1 : (compareResourceVersions(kept.version, stored) ?? 1);
    if (event.type === 'DELETED') {
      if (stored !== undefined && order >= 0) this.#report(this.#remove(kept.key));
      return;
    }
    if (order > 0) this.#report(this.#put(kept));
  }

  #advance(version: string | undefined): void {
    if (version === undefined) return;
    if ((compareResourceVersions(version, this.#resourceVersion) ?? 1) > 0) this.#resourceVersion = version;
  }

  #put({ key, object, version }: Versioned<T>): Change<T> {
    this.#versions.set(key, version);
    const previous = this.store.set(object);
    return previous === undefined ? { current: object } : { previous, current: object };
  }

  #remove(key: string): Change<T> {
    this.#versions.delete(key);
    const previous = this.store.delete(key);
    return previous === undefined ? {} : { previous };
  }

  #report(change: Change<T>): void {
    const { onChange, log, type, observe } = this.#options;
    try {
      onChange(change);
    } catch (error) {
      observe?.({ kind: 'handler-error' });
      log.error({ resource: type.plural, err: error }, 'a change could not be handled');
    }
  }

  readonly #keep = (raw: KubernetesObject): Versioned<T> | undefined => {
    const { transform, keyOf, log, type, observe } = this.#options;
    try {
      const object = transform(raw);
      return { key: keyOf(object), object, version: raw.metadata.resourceVersion ?? '' };
    } catch (error) {
      observe?.({ kind: 'handler-error' });
      const { namespace, name } = raw.metadata;
      log.error({ resource: type.plural, namespace, name, err: error }, 'an object could not be read, it is left out');
      return undefined;
    }
  };
}

/** Refused as invalid (before 1.32, or switched off), or ignored, so that the bookmark that ends the list never comes. */
function cannotStream(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  return error.status === 400 || error.status === 422 || (error.status === 0 && error.reason === 'Timeout');
}
