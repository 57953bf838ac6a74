/**
 * What a zod schema refused of foreign input, as a message of dcred's own: the field's path, what was expected, what was found. zod's
 * words never pass but those that a schema gave it: of a `refine` the message, of a `regex` what it expects. Pure.
 */
import type { $ZodIssue, $ZodType, $ZodTypes } from 'zod/v4/core';
import { nearest } from './nearest.ts';
import { firstItems, printable } from './printable.ts';

export interface SchemaProblemOptions {
  readonly schema: $ZodType;
  /** What the schema refused. */
  readonly value: unknown;
  /** Name of the whole: `spec`. Default: it is a file, and paths begin with its first field. */
  readonly root?: string;
  /** False: nothing of the value is in the message. Default: true. */
  readonly quotes?: boolean;
}

const MAX_PROBLEMS = 3;
const MAX_PATH = 256;
const MAX_QUOTED = 64;
const MAX_EXPECTED = 512;

/** In one line of at most about 3,000 characters. */
export function describeSchemaProblems(issues: readonly $ZodIssue[], options: SchemaProblemOptions): string {
  const { omitted, shown } = firstItems(onePerField(issues), MAX_PROBLEMS);
  const texts = shown.map((issue) => describe(issue, options));
  return [...texts, ...(omitted === 0 ? [] : [`and ${omitted} more`])].join('; ');
}

/** Of what is wrong with one field the last: a number beyond what is exact is also beyond its own bound. */
function onePerField(issues: readonly $ZodIssue[]): readonly $ZodIssue[] {
  return issues.filter(({ path }, position) => {
    const next = issues[position + 1]?.path;
    return next?.length !== path.length || path.some((key, index) => key !== next[index]);
  });
}

function describe(issue: $ZodIssue, options: SchemaProblemOptions): string {
  if (issue.code === 'unrecognized_keys') return unknownField(issue.path, issue.keys, options);
  const path = formatPath(issue.path, options.root);
  if (issue.code === 'custom') return `${path}: ${printable(issue.message, MAX_EXPECTED)}`;
  const expected = expectedBy(issue, () => fieldsAt(options.schema, issue.path));
  const found = options.quotes === false ? '' : `, found ${describeFound(valueAt(options.value, issue.path), issue)}`;
  return `${path}: expected ${printable(expected, MAX_EXPECTED)}${found}${remedyOf(issue, options)}`;
}

function unknownField(
  path: readonly PropertyKey[],
  keys: readonly string[],
  { quotes = true, root, schema }: SchemaProblemOptions,
): string {
  const fields = fieldsAt(schema, path);
  const expected = `expected ${printable(alternatives(fields), MAX_EXPECTED)}`;
  const [key = ''] = keys;
  if (!quotes) return `${formatPath(path, root)}: unknown field; ${expected}`;
  const likely = nearest(key, fields);
  const remedy = likely === undefined ? 'remove it' : `did you mean ${likely}?`;
  return `${formatPath([...path, key], root)}: unknown field, ${expected}: ${remedy}`;
}

/** What an accepted value is: completes "expected ...". */
function expectedBy(
  issue: Exclude<$ZodIssue, { code: 'custom' | 'unrecognized_keys' }>,
  fields: () => readonly string[],
) {
  switch (issue.code) {
    case 'invalid_type':
      return issue.expected === 'object'
        ? `a map with ${list(fields(), 'and')}`
        : (KINDS[issue.expected] ?? 'another value');
    case 'too_small':
      return `at least ${quantity(issue.minimum, issue.origin)}`;
    case 'too_big':
      return `at most ${quantity(issue.maximum, issue.origin)}`;
    case 'invalid_format':
      return issue.format === 'regex' ? issue.message : `a ${issue.format}`;
    case 'invalid_value':
      return alternatives(issue.values.map(String));
    case 'not_multiple_of':
      return `a multiple of ${issue.divisor}`;
    case 'invalid_key':
      return 'another key';
    case 'invalid_element':
    case 'invalid_union':
      return 'another value';
  }
}

const KINDS: Readonly<Record<string, string>> = {
  array: 'a list',
  boolean: 'true or false',
  int: 'a whole number',
  number: 'a number',
  record: 'a map',
  string: 'text',
};

function quantity(count: number | bigint, origin: string): string {
  if (origin === 'string') return `${count} ${count === 1 ? 'character' : 'characters'}`;
  return origin === 'array' || origin === 'set' ? `${count} ${count === 1 ? 'entry' : 'entries'}` : String(count);
}

/** Text is quoted only where its letters are what is wrong: other text may be anything. */
function describeFound(value: unknown, { code }: $ZodIssue): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : `a list of ${value.length}`;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'string') return 'a map';
  if (value === '') return 'empty text';
  const isLetters = code === 'invalid_format' || code === 'invalid_value';
  if (isLetters) return `"${printable(value, MAX_QUOTED)}"`;
  return code === 'invalid_type' ? 'text' : `${value.length}`;
}

/** What to do, where what was expected does not say it. */
function remedyOf(issue: $ZodIssue, { quotes = true, value }: SchemaProblemOptions): string {
  const found = valueAt(value, issue.path);
  if (quotes && issue.path.length > 0 && (found === undefined || found === null)) return ': add it';
  if (!quotes || issue.code !== 'invalid_value' || typeof found !== 'string') return '';
  const likely = nearest(found, issue.values.map(String));
  return likely === undefined ? '' : `; did you mean ${likely}?`;
}

/** As kubectl writes it: `clients[0].name`. Escaped and shortened: foreign keys are in it. */
export function formatPath(path: readonly PropertyKey[], root = ''): string {
  const text = path.reduce<string>((before, key) => {
    if (typeof key === 'number') return `${before}[${key}]`;
    return before === '' ? String(key) : `${before}.${String(key)}`;
  }, root);
  return text === '' ? 'the file' : printable(text, MAX_PATH);
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) =>
      typeof inner === 'object' && inner !== null && Object.hasOwn(inner, key) ? Reflect.get(inner, key) : undefined,
    value,
  );
}

/** The fields of the object that the schema has at a path. */
function fieldsAt(schema: $ZodType, path: readonly PropertyKey[]): readonly string[] {
  const { def } = (schema as $ZodTypes)._zod;
  const [key, ...rest] = path;
  if (def.type === 'optional' || def.type === 'default' || def.type === 'nullable')
    return fieldsAt(def.innerType, path);
  if (def.type === 'array') return key === undefined ? [] : fieldsAt(def.element, rest);
  if (def.type !== 'object') return [];
  if (key === undefined) return Object.keys(def.shape);
  const inner = def.shape[String(key)];
  return inner === undefined ? [] : fieldsAt(inner, rest);
}

function alternatives(words: readonly string[]): string {
  return words.length < 2 ? (words[0] ?? 'no field') : `one of ${list(words, 'or')}`;
}

function list(words: readonly string[], last: 'and' | 'or'): string {
  if (words.length < 2) return words[0] ?? 'no field';
  return `${words.slice(0, -1).join(', ')} ${last} ${words.at(-1)}`;
}
