/** A whole list: gathered from pages or from a watch that starts with a list, and of no use before it is complete. */

import { ApiError, isApiError } from '../api-error.ts';
import type { ApiClient } from '../client/api-client.ts';
import type { ListSelection } from '../client/api-types.ts';
import { isExpired } from '../client/status-error.ts';
import type { KubernetesObject, WatchEvent } from '../objects.ts';
import type { ResourceType } from '../resource-type.ts';

/** An object as it is kept, where, and in which version. */
export interface Versioned<T> {
  readonly key: string;
  readonly object: T;
  readonly version: string;
}

/** Makes of an object from the server what is kept of it; undefined when it cannot. */
export type Keep<T> = (raw: KubernetesObject) => Versioned<T> | undefined;

const PAGE_SIZE = 500;
/** An API server with more has other problems; one that never ends a list is stopped here, before it takes all memory. */
const MAX_OBJECTS = 1_000_000;
/** KEP-3157: the bookmark that ends the initial events carries it. */
const INITIAL_EVENTS_END = 'k8s.io/initial-events-end';

export class Snapshot<T> {
  readonly #keep: Keep<T>;
  readonly objects = new Map<string, Versioned<T>>();
  resourceVersion = '';

  constructor(keep: Keep<T>) {
    this.#keep = keep;
  }

  add(raw: KubernetesObject): void {
    const kept = this.#keep(raw);
    if (kept === undefined) return;
    this.objects.set(kept.key, kept);
    if (this.objects.size > MAX_OBJECTS) throw endless(`more than ${MAX_OBJECTS} objects`);
  }

  /** Takes an event of a streaming list; true when it was the last one and the snapshot is complete. */
  take(event: WatchEvent<KubernetesObject>): boolean {
    switch (event.type) {
      case 'ADDED':
      case 'MODIFIED':
        this.add(event.object);
        return false;
      case 'DELETED': {
        const kept = this.#keep(event.object);
        if (kept !== undefined) this.objects.delete(kept.key);
        return false;
      }
      case 'BOOKMARK': {
        const { annotations, resourceVersion = '' } = event.object.metadata;
        if (annotations?.[INITIAL_EVENTS_END] !== 'true') return false;
        this.resourceVersion = resourceVersion;
        return true;
      }
    }
  }
}

/**
 * A consistent list, page by page. Pages expire after etcd's compaction (5 minutes); then it is requested in one piece. A page that
 * is too large to read, because somebody filled its objects with annotations, is requested again in smaller ones.
 * @throws ApiError
 */
export async function listPages<T>(
  client: ApiClient,
  type: ResourceType,
  selection: ListSelection,
  keep: Keep<T>,
  signal: AbortSignal,
): Promise<Snapshot<T>> {
  try {
    return await collect(client, type, selection, keep, signal);
  } catch (error) {
    if (!isExpired(error)) throw error;
    const snapshot = new Snapshot(keep);
    const { items, metadata } = await client.list(type, selection, { signal });
    for (const item of items) snapshot.add(item);
    return complete(snapshot, metadata.resourceVersion);
  }
}

async function collect<T>(
  client: ApiClient,
  type: ResourceType,
  selection: ListSelection,
  keep: Keep<T>,
  signal: AbortSignal,
): Promise<Snapshot<T>> {
  const snapshot = new Snapshot(keep);
  let limit = PAGE_SIZE;
  let token: string | undefined;
  for (;;) {
    const page = token === undefined ? { ...selection, limit } : { ...selection, limit, continue: token };
    try {
      const { items, metadata } = await client.list(type, page, { signal });
      for (const item of items) snapshot.add(item);
      if (!metadata.continue) return complete(snapshot, metadata.resourceVersion);
      // A page with a token that leads to itself, or with nothing in it, would be requested for ever.
      if (metadata.continue === token || items.length === 0) throw endless('an empty page, or one that repeats itself');
      token = metadata.continue;
      limit = Math.min(PAGE_SIZE, limit * 2);
    } catch (error) {
      if (limit === 1 || !isApiError(error, 'ResponseTooLarge')) throw error;
      limit = Math.max(1, limit >> 2);
    }
  }
}

function complete<T>(snapshot: Snapshot<T>, resourceVersion = ''): Snapshot<T> {
  snapshot.resourceVersion = resourceVersion;
  return snapshot;
}

function endless(found: string): ApiError {
  return new ApiError(`expected a finite list, found ${found}`, { status: 0, reason: 'InvalidResponse' });
}
