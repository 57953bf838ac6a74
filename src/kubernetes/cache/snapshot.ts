/** A whole list: gathered from pages or from a watch that starts with a list, and of no use before it is complete. */

import type { ApiClient } from '../client/api-client.ts';
import { endlessList, listInto, MAX_LISTED_OBJECTS, type WholeSelection } from '../client/list-all.ts';
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
    if (this.objects.size > MAX_LISTED_OBJECTS) throw endlessList(`more than ${MAX_LISTED_OBJECTS} objects`);
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

/** A consistent list. Throws ApiError. */
export async function listPages<T>(
  client: ApiClient,
  type: ResourceType,
  selection: WholeSelection,
  keep: Keep<T>,
  signal: AbortSignal,
): Promise<Snapshot<T>> {
  const options = { signal, anyItems: true };
  const { resourceVersion, sink } = await listInto(client, type, selection, () => new Snapshot(keep), options);
  sink.resourceVersion = resourceVersion;
  return sink;
}
