/** JSON Patch (RFC 6902), as far as an admission response needs it. */
import { isDeepStrictEqual } from 'node:util';

type JsonPatchOperation =
  | { readonly op: 'add'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

export type JsonPatch = readonly JsonPatchOperation[];

/** A JSON Pointer (RFC 6901): `~` and `/` within a name are escaped. */
export function pointer(...names: readonly (string | number)[]): string {
  return names.map((name) => `/${String(name).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/** Sets entries of a map that may not be there yet. Nothing where they are there with these values. */
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
 * Puts `wanted` in the place of those items of a list that `isOld` names. Nothing where these are the wanted ones already, so
 * that doing it twice changes nothing.
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
    // From the end, for every removal moves what stands behind it.
    ...old.reverse().map(({ index }) => ({ op: 'remove', path: path + pointer(index) }) as const),
    ...wanted.map((value) => ({ op: 'add', path: `${path}/-`, value }) as const),
  ];
}
