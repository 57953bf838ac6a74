import fc from 'fast-check';
import { isRecord } from '../../src/text/is-record.ts';

export interface Mutation {
  /** Path of what was replaced, removed or added; empty: the whole value. */
  readonly path: readonly (string | number)[];
  readonly value: unknown;
}

/** Copies of a JSON value with one change: a value of any kind in another's place, one removed, or an unknown field. */
export function mutationsOf(valid: unknown): fc.Arbitrary<Mutation> {
  const change = fc.oneof(
    fc.jsonValue().map((value) => ({ value })),
    fc
      .constantFrom<unknown>(Number.NaN, -1, 0.5, 1e300, '', 'A B', 'x'.repeat(10_000), '\u202e', [], {}, null)
      .map((value) => ({ value })),
    fc.constant(undefined),
  );
  const added = fc.string({ minLength: 1, maxLength: 2_000, unit: 'binary' }).filter((key) => key !== '__proto__');
  return fc.oneof(
    fc
      .tuple(fc.constantFrom(...pathsOf(valid)), change)
      .map(([path, to]) => ({ path, value: replaced(valid, path, to) })),
    fc
      .tuple(fc.constantFrom(...pathsOf(valid).filter((path) => isRecord(at(valid, path)))), added)
      .map(([path, key]) => ({
        path: [...path, key],
        value: replaced(valid, [...path, key], { value: 1 }),
      })),
  );
}

/** The paths of the value itself and of everything in it. */
export function pathsOf(
  value: unknown,
  path: readonly (string | number)[] = [],
): readonly (readonly (string | number)[])[] {
  const inside = Array.isArray(value)
    ? value.flatMap((item, index) => pathsOf(item, [...path, index]))
    : isRecord(value)
      ? Object.entries(value).flatMap(([key, item]) => pathsOf(item, [...path, key]))
      : [];
  return [path, ...inside];
}

export function at(value: unknown, path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>((inner, key) => Reflect.get(inner as object, key), value);
}

/** @param to undefined: the value at the path is removed */
export function replaced(
  valid: unknown,
  path: readonly (string | number)[],
  to: { readonly value: unknown } | undefined,
): unknown {
  const [last, ...parents] = path.toReversed();
  if (last === undefined) return to?.value;
  const copy = structuredClone(valid);
  const parent = at(copy, parents.toReversed()) as object;
  if (to !== undefined) Reflect.set(parent, last, to.value);
  else if (Array.isArray(parent)) parent.splice(Number(last), 1);
  else Reflect.deleteProperty(parent, last);
  return copy;
}
