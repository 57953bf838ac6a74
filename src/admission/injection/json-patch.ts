/** The JSON Patch operations (RFC 6902) that an admission response needs. */
import { isDeepStrictEqual } from 'node:util';

type JsonPatchOperation =
  | { readonly op: 'add'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

export type JsonPatch = readonly JsonPatchOperation[];

/** A JSON Pointer (RFC 6901): `~` and `/` within a name are escaped. */
export function pointer(...names: readonly (string | number)[]): string {
  return names.map((name) => `/${String(name).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/** Sets entries of a map that may be absent. Empty when all are set already. */
export function setEntries(
  path: string,
  map: Readonly<Record<string, string>> | null | undefined,
  entries: Readonly<Record<string, string>>,
): JsonPatch {
  const missing = Object.entries(entries).filter(
    ([key, value]) => !map || !Object.hasOwn(map, key) || map[key] !== value,
  );
  if (missing.length === 0) return [];
  if (!map) return [{ op: 'add', path, value: Object.fromEntries(missing) }];
  return missing.map(([key, value]) => ({ op: 'add', path: path + pointer(key), value }));
}

/**
 * Replaces the items of a list for which `isOld` holds by `wanted`. Empty when they are equal already, so that applying it twice
 * changes nothing.
 */
export function replaceItems<T>(
  path: string,
  list: readonly T[] | null | undefined,
  isOld: (item: T) => boolean,
  wanted: readonly T[],
): JsonPatch {
  const present = list ?? [];
  const old = present.flatMap((item, index) => (isOld(item) ? [{ item, index }] : []));
  if (
    isDeepStrictEqual(
      old.map(({ item }) => item),
      wanted,
    )
  )
    return [];
  if (!list) return [{ op: 'add', path, value: wanted }];
  return [
    // From the end, because a removal shifts the items after it.
    ...old.reverse().map(({ index }) => ({ op: 'remove', path: path + pointer(index) }) as const),
    ...wanted.map((value) => ({ op: 'add', path: `${path}/-`, value }) as const),
  ];
}
