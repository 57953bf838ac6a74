/** What a list held, whole: gathered from pages or from a watch that begins with a list, and of no use before it is complete. */

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
    if (kept !== undefined) this.objects.set(kept.key, kept);
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
 * A consistent list, page by page. Pages expire after etcd's compaction (5 minutes); then it is asked for in one piece.
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
    return await collect(client, type, { ...selection, limit: PAGE_SIZE }, keep, signal);
  } catch (error) {
    if (!isExpired(error)) throw error;
    return await collect(client, type, selection, keep, signal);
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
  let page = selection;
  for (;;) {
    const { items, metadata } = await client.list(type, page, { signal });
    for (const item of items) snapshot.add(item);
    if (!metadata.continue) {
      snapshot.resourceVersion = metadata.resourceVersion ?? '';
      return snapshot;
    }
    page = { ...selection, continue: metadata.continue };
  }
}
