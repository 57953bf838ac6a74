/** Every field of a schema, and wrong and extreme values for each. */

export type Path = readonly (string | number)[];
export interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly enum?: readonly string[];
}

const STRINGS = [
  '',
  ' ',
  'a',
  'A',
  '-a',
  'a-',
  '.a',
  'a.',
  'a..b',
  'a/b',
  'a//b',
  '/a',
  'a/',
  'a_b',
  'a b',
  'a\n',
  '\u00e4',
  '\u202ea',
  '\u0000',
  'true',
  'null',
  '0',
  '__proto__',
  'constructor',
  'a'.repeat(40),
  'a'.repeat(63),
  'a'.repeat(64),
  'a'.repeat(253),
  'a'.repeat(254),
  'a'.repeat(317),
  'a'.repeat(318),
  'a'.repeat(4096),
  'a'.repeat(4097),
  `${'a'.repeat(254)}/b`,
  `${'d.'.repeat(130)}d/b`,
  'a.b/C_d',
  'dcred.dev/inject',
  'x.dcred.dev/inject',
  'app.kubernetes.io/managed-by',
  'kubernetes.io/x',
  'a,b',
  'a=b',
  '\u{1f512}',
  `b${'.c'.repeat(126)}`,
];
const NUMBERS = [
  0,
  1,
  -1,
  59,
  60,
  61,
  601_199,
  601_200,
  601_201,
  604_800,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 53,
  -(2 ** 31),
  1.5,
  1e300,
];
const OTHERS = [null, true, false, [], {}, [null], { a: null }, [[]]];

export function* fields(schema: Schema, path: Path): Generator<readonly [Path, Schema]> {
  yield [path, schema];
  for (const [name, child] of Object.entries(schema.properties ?? {})) yield* fields(child, [...path, name]);
  if (schema.items !== undefined) yield* fields(schema.items, [...path, 0]);
}

/** Values for a field: every wrong type, and for a map wrong keys and wrong values and too many of them. */
export function values({ additionalProperties, items, enum: words = [] }: Schema): readonly unknown[] {
  const map =
    additionalProperties === undefined
      ? []
      : [...STRINGS.map((key) => ({ [key]: 'x' })), ...STRINGS.map((text) => ({ a: text }))];
  const many = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, 'v'.repeat(63)]));
  const maps = additionalProperties === undefined ? [] : [many(32), many(33), ...NUMBERS.map((a) => ({ a }))];
  const lists = items === undefined ? [] : [...STRINGS.map((text) => [text]), Array.from({ length: 33 }, () => 'a')];
  const near = words.flatMap((word) => [word.toLowerCase(), `${word} `, word.slice(1)]);
  return [undefined, ...STRINGS, ...NUMBERS, ...OTHERS, ...words, ...near, ...map, ...maps, ...lists];
}

export function withValue(spec: unknown, [head, ...rest]: Path, value: unknown): unknown {
  if (head === undefined) return value;
  const copy = structuredClone(spec) as Record<string | number, unknown>;
  const next = withValue(copy[head], rest, value);
  if (next === undefined) delete copy[head];
  else copy[head] = next;
  return copy;
}

/** Of `spec`, in a CRD with one version. */
export function specSchemaOf(crd: object): Schema {
  const { spec } = crd as { spec: { versions: [{ schema: { openAPIV3Schema: Schema } }] } };
  const found = spec.versions[0].schema.openAPIV3Schema.properties?.['spec'];
  if (found === undefined) throw new Error('the CRD has no spec');
  return found;
}

/** `spec.from[].namespace` */
export function describePath(path: Path): string {
  return `spec${path.map((part) => (typeof part === 'number' ? '[]' : `.${part}`)).join('')}`;
}

export function valueAt(spec: unknown, path: Path): unknown {
  return path.reduce<unknown>((at, part) => (at as Record<string | number, unknown>)[part], spec);
}
