/**
 * Keeps a store equal to what the API server has, and reports what changed. It lists, watches from where the list ended, resumes
 * from the last version that it saw whenever the watch ends, and lists again when the server has forgotten that version, or has
 * never seen it because its etcd was restored. Nothing but its signal ends it.
 *
 *     list --complete--> watch --ended, cut, silent--> (back-off) --version known--> watch
 *       ^                  '--410, older bookmark--.                '--not reached yet--.
 *       '------------------(back-off)--------------+------------------------------------'
 */

import { ApiError, isApiError } from '../api-error.ts';
import type { ApiClient } from '../client/api-client.ts';
import { isExpired } from '../client/status-error.ts';
import { type Clock, delay } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { KubernetesObject, WatchEvent } from '../objects.ts';
import type { ResourceType } from '../resource-type.ts';
import { compareResourceVersions } from './resource-version.ts';
import { listPages, Snapshot, type Versioned } from './snapshot.ts';
import { type Indexers, Store } from './store.ts';
import { WatchPacer } from './watch-pacer.ts';

export interface Change<T> {
  /** Absent: it is new. */
  readonly previous?: T;
  /** Absent: it is gone. */
  readonly current?: T;
}

/**
 * `list`: a list was complete. `watch`: the server has accepted one. `failure`: either failed. `handler-error`: onChange or transform
 * threw. After a failure a watch goes on where it was, without a list.
 */
export type ReflectorEvent =
  | {
      readonly kind: 'list';
      /** When it began, on the monotonic clock. */
      readonly sinceMs: number;
      readonly reason?: never;
    }
  | {
      readonly kind: 'watch' | 'failure' | 'handler-error';
      /** Of an ApiError. */
      readonly reason?: string;
    };

export interface ReflectorOptions<T> {
  readonly client: ApiClient;
  readonly type: ResourceType;
  /** Omitted: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly metadataOnly?: boolean;
  /** Keeps only what is needed: what it returns is what the store holds. An object that it throws on is skipped. */
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
  /** The longest silence of a healthy watch. 75 to 90 s. */
  readonly quietMs?: number;
}

/** A watch ends by itself after 5 to 10 minutes, so that watches spread over all API servers (as client-go's do). */
const WATCH_SECONDS = 300;
/** Failures in a row that are everyday life: a connection that is cut, a server that restarts. */
const QUIET_FAILURES = 3;

export class Reflector<T> {
  readonly store: Store<T>;
  /** Resolves when the first list is complete and all its objects were reported; stays pending when `run` ends before. */
  readonly synced: Promise<void>;
  readonly #options: ReflectorOptions<T>;
  readonly #pacer: WatchPacer;
  readonly #markSynced: () => void;
  /** Of each object in the store. */
  readonly #versions = new Map<string, string>();
  #hasSynced = false;
  #resourceVersion = '';
  /** The highest version of a history that is gone, because etcd was restored to an older one. */
  #lostVersion = '';
  #mustList = true;
  /** When the list in progress began, on the monotonic clock. */
  #listSince = 0;
  /** Since when a watch follows the server, on the monotonic clock; undefined while none does. */
  #followingSince: number | undefined;
  /** Whether the server can start a watch with a list, as far as is known, and whether the next list is one. */
  #canStream = true;
  #streaming = true;
  #running = false;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.store = new Store(options.keyOf, options.indexes);
    this.#pacer = new WatchPacer(options.random);
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

  /**
   * Whether the store shows a write that was answered with this version. Also true for every version up to the highest of a history
   * that is gone: such a write may be lost, and waiting for it would never end. A write that is planned too early in consequence names
   * the version it is based on, and is refused.
   */
  isAtLeast(resourceVersion: string): boolean {
    if (!this.#hasSynced) return false;
    const seen = compareResourceVersions(this.#resourceVersion, resourceVersion) ?? -1;
    return seen >= 0 || (compareResourceVersions(this.#lostVersion, resourceVersion) ?? -1) >= 0;
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
    const listing = this.#mustList;
    const from = listing ? undefined : this.#resourceVersion;
    this.#followingSince = undefined;
    if (listing) this.#listSince = this.#options.clock.monotonic();
    try {
      if (listing && !this.#streaming) {
        await this.#listPages(signal);
        return 0;
      }
      if (!listing) await this.#checkVersion(signal);
      await this.#follow(listing, signal);
      return this.#delayAfter(undefined, from);
    } catch (error) {
      if (signal.aborted) return 0;
      return this.#onFailure(error, from);
    }
  }

  /** @param from the version that a watch began at, unless it began with a list */
  #delayAfter(error: unknown, from: string | undefined): number {
    const since = this.#followingSince;
    const livedMs = since === undefined ? 0 : this.#options.clock.monotonic() - since;
    const advanced = from !== undefined && (compareResourceVersions(this.#resourceVersion, from) ?? 0) > 0;
    return this.#pacer.delayAfter(error, { livedMs, advanced });
  }

  #onFailure(error: unknown, from: string | undefined): number {
    const { log, type, observe } = this.#options;
    const { plural } = type;
    const reason = isApiError(error) ? error.reason : 'Unknown';
    observe?.({ kind: 'failure', reason });
    if (this.#mustList && this.#streaming && cannotStream(error)) {
      log.debug({ plural, reason }, 'the server does not stream lists, listing page by page');
      this.#streaming = false;
      this.#canStream = reason === 'Timeout';
      return 0;
    }
    const ms = this.#delayAfter(error, from);
    const retryInMs = Math.round(ms);
    if (isExpired(error)) {
      this.#mustList = true;
      log.info({ plural, err: error, retryInMs }, 'watch expired, listing again');
      return ms;
    }
    // A cut connection is everyday life; what the server refuses is for a person to fix.
    const isUsual = (reason === 'Network' || reason === 'Timeout') && this.#pacer.failures <= QUIET_FAILURES;
    log[isUsual ? 'debug' : 'warn']({ plural, reason, err: error, retryInMs }, 'list or watch failed, retrying');
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

  /**
   * A watch from a version that the server has not reached yet, because its etcd was restored, is not refused: it stays silent until
   * that version is reached, and skips all that comes before. A list of one object, which costs next to nothing, has the current one.
   */
  async #checkVersion(signal: AbortSignal): Promise<void> {
    const { client, type } = this.#options;
    const selection = { ...this.#selection(), metadataOnly: true, limit: 1 };
    const { metadata } = await client.list(type, selection, { signal, anyItems: true });
    this.#expectReached(metadata.resourceVersion);
  }

  /** @throws ApiError (Expired) when the server is at an older version than the store */
  #expectReached(version: string | undefined): void {
    if (version === undefined || (compareResourceVersions(version, this.#resourceVersion) ?? 0) >= 0) return;
    throw new ApiError(
      `watch ${this.#options.type.plural}: the API server is at version ${version}, before ${this.#resourceVersion}: its data was restored`,
      { status: 410, reason: 'Expired' },
    );
  }

  /** Watches until the watch ends: from a list that it starts with, or from the last version. */
  async #follow(listing: boolean, signal: AbortSignal): Promise<void> {
    const { client, clock, type, random, quietMs } = this.#options;
    const timeoutSeconds = Math.round(WATCH_SECONDS * (1 + random()));
    const from = listing ? { sendInitialEvents: true } : { resourceVersion: this.#resourceVersion };
    const events = client.watch<KubernetesObject>(
      type,
      { ...this.#selection(), ...from, timeoutSeconds },
      { signal, onAccepted: () => this.#onAccepted(listing), ...(quietMs === undefined ? {} : { quietMs }) },
    );
    // Until it is complete, a streaming list touches nothing: cut in the middle, it is as if it had not been.
    let snapshot = listing ? new Snapshot(this.#keep) : undefined;
    for await (const event of events) {
      if (snapshot === undefined) this.#apply(event);
      else if (snapshot.take(event)) {
        this.#takeOver(snapshot);
        this.#followingSince = clock.monotonic();
        snapshot = undefined;
      }
    }
    if (snapshot === undefined) return;
    throw new ApiError(`watch ${type.plural}: ended before its initial list was complete`, {
      status: 0,
      reason: 'InvalidResponse',
    });
  }

  #onAccepted(listing: boolean): void {
    if (!listing) this.#followingSince = this.#options.clock.monotonic();
    this.#options.observe?.({ kind: 'watch' });
  }

  /** The list is the truth, also where a version in it is older: etcd may have been restored from a backup. */
  #takeOver(snapshot: Snapshot<T>): void {
    // In another history, the same version may be another object's state.
    const restored = (compareResourceVersions(snapshot.resourceVersion, this.#resourceVersion) ?? 0) < 0;
    if (restored) this.#lostVersion = this.#resourceVersion;
    const changes: Change<T>[] = [];
    for (const key of this.store.keys()) {
      if (!snapshot.objects.has(key)) changes.push(this.#remove(key));
    }
    for (const kept of snapshot.objects.values()) {
      if (restored || this.#versions.get(kept.key) !== kept.version) changes.push(this.#put(kept));
    }
    this.#resourceVersion = snapshot.resourceVersion;
    this.#mustList = false;
    this.#streaming = this.#canStream;
    this.#options.observe?.({ kind: 'list', sinceMs: this.#listSince });
    for (const change of changes) this.#report(change);
    this.#hasSynced = true;
    this.#markSynced();
  }

  #apply(event: WatchEvent<KubernetesObject>): void {
    if (event.type === 'BOOKMARK') {
      this.#expectReached(event.object.metadata.resourceVersion);
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
    const previous = this.store.set(object, key);
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
      log.error({ plural: type.plural, err: error }, 'failed to handle a change');
    }
  }

  readonly #keep = (raw: KubernetesObject): Versioned<T> | undefined => {
    const { transform, keyOf, log, type, observe } = this.#options;
    try {
      const object = transform(raw);
      return { key: keyOf(object), object, version: raw.metadata.resourceVersion ?? '' };
    } catch (error) {
      observe?.({ kind: 'handler-error' });
      const { namespace, name } = isObject(raw) && isObject(raw.metadata) ? raw.metadata : {};
      log.error({ plural: type.plural, namespace, name, err: error }, 'skipping undecodable object');
      return undefined;
    }
  };
}

/** An item of a list is whatever the server sent. */
function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/**
 * Refused as invalid (before 1.32, or switched off), or ignored, so that the bookmark that ends the list never comes: then the watch falls
 * silent, or it goes on until its time is over. What cannot be read in a stream is read from pages, too.
 */
function cannotStream(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  if (error.status === 0) return error.reason === 'Timeout' || error.reason === 'InvalidResponse';
  return error.status === 400 || error.status === 422;
}
