/**
 * Grants and namespaces as the API server has them, for decisions that must not rest on a watch alone: a half-open connection keeps a
 * watch silent for a minute and more. Read when needed, and shared: a wave of decisions costs a list in a while, an idle signer none.
 */
import { isReadableGrant, readDelegationGrant, type UnreadableGrant } from '../api/read-grant.ts';
import { DELEGATION_GRANTS } from '../api/resource-types.ts';
import type { Grant } from '../grant/decide.ts';
import { compareResourceVersions } from '../kubernetes/cache/resource-version.ts';
import { listPages } from '../kubernetes/cache/snapshot.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { ListSelection } from '../kubernetes/client/api-types.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { NAMESPACES, type ResourceType } from '../kubernetes/resource-type.ts';
import type { Refusals } from './refusals.ts';
import { SharedReading } from './shared-reading.ts';

/** A grant that cannot be read permits nothing, and it is no proof that nothing is permitted. */
export interface Watched {
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  readonly grant: Grant | undefined;
  readonly unreadable?: UnreadableGrant;
}

export interface WatchedNamespace {
  readonly name: string;
  readonly version: string;
  readonly uid: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
}

/** By name; all that there was when the server was at this version. */
interface Listed<T> {
  readonly version: string;
  readonly objects: ReadonlyMap<string, T>;
}

interface Versioned {
  readonly name: string;
  readonly version: string;
}

/** Which lists count as having read: those that were made for a decision, or also those that the watches began with. */
export type CountedLists = 'own' | 'all';

const NEVER = Number.NEGATIVE_INFINITY;
/** More than a cluster has namespaces; any name may be in a call. */
const MAX_KEPT = 16_384;

export interface LiveGrantsOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  /** Of grants, by namespace. */
  readonly refusedGrants: Refusals;
  /** Of namespaces, under ALL: they are no objects of a namespace. */
  readonly refusedNamespaces: Refusals;
}

/** Stands for all namespaces. */
export const ALL = '';

export class LiveGrants {
  readonly #options: LiveGrantsOptions;
  readonly #grants = new Map<string, SharedReading<Listed<Watched>>>();
  readonly #namespaces = new Map<string, SharedReading<Listed<WatchedNamespace>>>();
  /** When the watches' last lists began: of the grants by namespace, and of all namespaces. */
  readonly #watchListedGrants = new Map<string, number>();
  #watchListedNamespaces = NEVER;

  constructor(options: LiveGrantsOptions) {
    this.#options = options;
  }

  /** The grants of a namespace, as they were at that time or later. Throws ApiError. */
  async grants(namespace: string, sinceMs: number, signal: AbortSignal): Promise<readonly Watched[]> {
    const reading = this.#reading(this.#grants, namespace, (stop) => this.#listGrants(namespace, stop));
    return [...(await reading.since(sinceMs, signal)).objects.values()];
  }

  /** Undefined: there is none of that name. Throws ApiError. */
  async namespace(name: string, sinceMs: number, signal: AbortSignal): Promise<WatchedNamespace | undefined> {
    const reading = this.#reading(this.#namespaces, name, (stop) => this.#listNamespace(name, stop));
    return (await reading.since(sinceMs, signal)).objects.get(name);
  }

  hasGrantsSince(namespace: string, sinceMs: number, lists: CountedLists): boolean {
    const own = this.#grants.get(namespace)?.latest?.sinceMs ?? NEVER;
    const watch = lists === 'all' ? (this.#watchListedGrants.get(namespace) ?? NEVER) : NEVER;
    return Math.max(own, watch) >= sinceMs;
  }

  hasNamespaceSince(name: string, sinceMs: number, lists: CountedLists): boolean {
    const own = this.#namespaces.get(name)?.latest?.sinceMs ?? NEVER;
    const watch = lists === 'all' ? this.#watchListedNamespaces : NEVER;
    return Math.max(own, watch) >= sinceMs;
  }

  /**
   * A watch has listed these grants: that list is a reading, too, and later than all that began before it. Those no longer count: by
   * their versions they may look later, where etcd was restored from a backup.
   * @param sinceMs when that list began, on the monotonic clock
   */
  watchListedGrants(namespace: string, sinceMs: number): void {
    this.#watchListedGrants.set(namespace, sinceMs);
    this.#grants.get(namespace)?.forgetBefore(sinceMs);
  }

  /** The same for all namespaces. */
  watchListedNamespaces(sinceMs: number): void {
    this.#watchListedNamespaces = sinceMs;
    for (const reading of this.#namespaces.values()) reading.forgetBefore(sinceMs);
  }

  /** What a watch shows of a grant, or the later state that was read; undefined where it was gone by then. */
  laterGrant(watched: Watched): Watched | undefined {
    return later(watched, this.#grants.get(watched.namespace)?.latest?.value);
  }

  laterNamespace(watched: WatchedNamespace): WatchedNamespace | undefined {
    return later(watched, this.#namespaces.get(watched.name)?.latest?.value);
  }

  #reading<T>(
    readings: Map<string, SharedReading<T>>,
    key: string,
    read: (signal: AbortSignal) => Promise<T>,
  ): SharedReading<T> {
    const known = readings.get(key);
    if (known !== undefined) return known;
    const [oldest] = readings.keys();
    if (readings.size >= MAX_KEPT && oldest !== undefined) readings.delete(oldest);
    const reading = new SharedReading(this.#options.clock, read);
    readings.set(key, reading);
    return reading;
  }

  async #listGrants(namespace: string, signal: AbortSignal): Promise<Listed<Watched>> {
    const list = this.#list(DELEGATION_GRANTS, { namespace }, readGrant, signal);
    return await this.#options.refusedGrants.ofList(namespace, list);
  }

  /** By a list, which the watch needs too: the account needs no further permission. */
  async #listNamespace(name: string, signal: AbortSignal): Promise<Listed<WatchedNamespace>> {
    const selection = { fieldSelector: `metadata.name=${name}`, metadataOnly: true };
    const list = this.#list(NAMESPACES, selection, readNamespace, signal);
    return await this.#options.refusedNamespaces.ofList(ALL, list);
  }

  async #list<T extends Versioned>(
    type: ResourceType,
    selection: ListSelection,
    transform: (raw: KubernetesObject) => T,
    signal: AbortSignal,
  ): Promise<Listed<T>> {
    const keep = (raw: KubernetesObject) => {
      const object = transform(raw);
      return { key: object.name, object, version: object.version };
    };
    const { objects, resourceVersion } = await listPages(this.#options.client, type, selection, keep, signal);
    return {
      version: resourceVersion,
      objects: new Map([...objects].map(([name, { object }]) => [name, object])),
    };
  }
}

/** Where versions cannot be compared, a list counts as the later one: a decision needs it to be recent. */
function later<T extends Versioned>(watched: T, listed: Listed<T> | undefined): T | undefined {
  if (listed === undefined || (compareResourceVersions(watched.version, listed.version) ?? 0) > 0) return watched;
  return listed.objects.get(watched.name);
}

export function readGrant(raw: KubernetesObject): Watched {
  const read = readDelegationGrant(raw);
  const { name, namespace, resourceVersion: version } = read.metadata;
  if (isReadableGrant(read)) return { name, namespace, version, grant: read };
  return { name, namespace, version, grant: undefined, unreadable: read };
}

export function readNamespace({ metadata }: KubernetesObject): WatchedNamespace {
  const { labels = {}, name = '', resourceVersion: version = '', uid } = metadata;
  return { name, version, uid, labels: { ...labels } };
}
