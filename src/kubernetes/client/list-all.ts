import type { KubernetesObject } from '../objects.ts';
import type { ResourceType } from '../resource-type.ts';
import type { ApiClient } from './api-client.ts';
import type { ListSelection } from './api-types.ts';

/** So that an answer of the API server stays within a few megabytes, whatever the objects. */
const PAGE_SIZE = 500;

/** Every object that is selected, page by page. Throws ApiError. */
export async function listAll<T extends KubernetesObject = KubernetesObject>(
  client: Pick<ApiClient, 'list'>,
  type: ResourceType,
  selection: Omit<ListSelection, 'limit' | 'continue'>,
  signal: AbortSignal,
): Promise<readonly T[]> {
  const items: T[] = [];
  let token: string | undefined;
  do {
    const page = await client.list<T>(
      type,
      { ...selection, limit: PAGE_SIZE, ...(token === undefined ? {} : { continue: token }) },
      { signal },
    );
    items.push(...page.items);
    token = page.metadata.continue;
  } while (token !== undefined && token !== '');
  return items;
}
