/** Whole lists, page by page. */

import type { KubernetesObject } from '../objects.ts';
import type { ResourceType } from '../resource-type.ts';
import type { ApiClient } from './api-client.ts';
import type { ListSelection } from './api-types.ts';

/** So that an answer of the API server stays within a few megabytes, whatever the objects. */
const PAGE_SIZE = 500;

type Selection = Omit<ListSelection, 'limit' | 'continue'>;

/** Every object that is selected. Throws ApiError. */
export function listAll<T extends KubernetesObject = KubernetesObject>(
  client: Pick<ApiClient, 'list'>,
  type: ResourceType,
  selection: Selection,
  signal: AbortSignal,
): Promise<readonly T[]> {
  return listKept<T, T>(client, type, selection, (object) => object, signal);
}

/**
 * What `keep` makes of every object, but for those that it answers with undefined: a page at a time is in memory, and what was kept.
 * Throws ApiError.
 */
export async function listKept<Kept, T extends KubernetesObject = KubernetesObject>(
  client: Pick<ApiClient, 'list'>,
  type: ResourceType,
  selection: Selection,
  keep: (object: T) => Kept | undefined,
  signal: AbortSignal,
): Promise<readonly Kept[]> {
  const kept: Kept[] = [];
  let token: string | undefined;
  do {
    const page = await client.list<T>(
      type,
      { ...selection, limit: PAGE_SIZE, ...(token === undefined ? {} : { continue: token }) },
      { signal },
    );
    for (const object of page.items) {
      const one = keep(object);
      if (one !== undefined) kept.push(one);
    }
    token = page.metadata.continue;
  } while (token !== undefined && token !== '');
  return kept;
}
