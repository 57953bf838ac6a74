/** Whole lists, page by page. */

import { ApiError, isApiError } from '../api-error.ts';
import type { KubernetesObject } from '../objects.ts';
import type { ResourceType } from '../resource-type.ts';
import type { ApiClient } from './api-client.ts';
import type { ListOptions, ListSelection } from './api-types.ts';
import { isExpired } from './status-error.ts';

type Lister = Pick<ApiClient, 'list'>;
export type WholeSelection = Omit<ListSelection, 'limit' | 'continue'>;

/** What a list is gathered in. */
export interface ListSink<T> {
  add(object: T): void;
}

/** So that an answer of the API server stays within a few megabytes, whatever the objects. */
const PAGE_SIZE = 500;
/** An API server with more has other problems; one that never ends a list is stopped here, before it takes all memory. */
export const MAX_LISTED_OBJECTS = 1_000_000;
const MAX_EMPTY_PAGES = 1_000;

/** Every object that is selected. Throws ApiError. */
export function listAll<T extends KubernetesObject = KubernetesObject>(
  client: Lister,
  type: ResourceType,
  selection: WholeSelection,
  signal: AbortSignal,
): Promise<readonly T[]> {
  return listKept<T, T>(client, type, selection, (object) => object, signal);
}

/**
 * What `keep` makes of every object, but for those that it answers with undefined: a page at a time is in memory, and what was kept.
 * Throws ApiError.
 */
export async function listKept<Kept, T extends KubernetesObject = KubernetesObject>(
  client: Lister,
  type: ResourceType,
  selection: WholeSelection,
  keep: (object: T) => Kept | undefined,
  signal: AbortSignal,
): Promise<readonly Kept[]> {
  const begin = () => {
    const kept: Kept[] = [];
    const add = (object: T) => {
      const one = keep(object);
      if (one !== undefined) kept.push(one);
    };
    return { kept, add };
  };
  return (await listInto(client, type, selection, begin, { signal })).sink.kept;
}

/**
 * Every object of a consistent list, page by page, in what `begin` makes. Pages expire after etcd's compaction (5 minutes); then `begin`
 * is called again, and the list is requested in one piece. A page that is too large to read, because somebody filled its objects with
 * annotations, is requested again in smaller ones.
 * @throws ApiError
 */
export async function listInto<T extends KubernetesObject, Sink extends ListSink<T>>(
  client: Lister,
  type: ResourceType,
  selection: WholeSelection,
  begin: () => Sink,
  options: ListOptions,
): Promise<{ readonly sink: Sink; readonly resourceVersion: string }> {
  const pages = begin();
  try {
    return { sink: pages, resourceVersion: await readPages(client, type, selection, pages, options, PAGE_SIZE) };
  } catch (error) {
    if (!isExpired(error)) throw error;
  }
  const sink = begin();
  return { sink, resourceVersion: await readPages(client, type, selection, sink, options, undefined) };
}

/**
 * The version of the list.
 * @param pageSize undefined: in one piece, as far as the server allows. One that has a limit of its own says so by a token, as for a page.
 */
async function readPages<T extends KubernetesObject>(
  client: Lister,
  type: ResourceType,
  selection: WholeSelection,
  sink: ListSink<T>,
  options: ListOptions,
  pageSize: number | undefined,
): Promise<string> {
  const bound = new Bound();
  let limit = pageSize;
  let token: string | undefined;
  for (;;) {
    const page = {
      ...selection,
      ...(limit !== undefined && { limit }),
      ...(token !== undefined && { continue: token }),
    };
    try {
      const { items, metadata } = await client.list<T>(type, page, options);
      for (const item of items) sink.add(item);
      if (!metadata.continue) return metadata.resourceVersion ?? '';
      if (metadata.continue === token) throw endlessList('a page that leads to itself');
      bound.add(items.length);
      token = metadata.continue;
      if (limit !== undefined) limit = Math.min(PAGE_SIZE, limit * 2);
    } catch (error) {
      if (limit === undefined || limit === 1 || !isApiError(error, 'ResponseTooLarge')) throw error;
      limit = Math.max(1, limit >> 2);
    }
  }
}

/** Stops what would be requested for ever. */
class Bound {
  #objects = 0;
  #emptyPages = 0;

  /** Throws ApiError. A page that has nothing in it is allowed: all in it may have been filtered out. */
  add(count: number): void {
    this.#objects += count;
    this.#emptyPages = count === 0 ? this.#emptyPages + 1 : 0;
    if (this.#objects > MAX_LISTED_OBJECTS) throw endlessList(`more than ${MAX_LISTED_OBJECTS} objects`);
    if (this.#emptyPages > MAX_EMPTY_PAGES) throw endlessList(`${this.#emptyPages} empty pages in a row`);
  }
}

export function endlessList(found: string): ApiError {
  return new ApiError(`expected a finite list, found ${found}`, { status: 0, reason: 'InvalidResponse' });
}
