import { parseArgs } from 'node:util';
import { nearest } from '../text/nearest.ts';
import { type Command, type CommandArguments, type OptionSpec, UsageError } from './command.ts';

/** Options that every command understands. */
export const COMMON_OPTIONS = {
  help: { type: 'boolean', short: 'h', help: 'show this help' },
} as const satisfies Readonly<Record<string, OptionSpec>>;

/**
 * Parses `argv` (without `dcred` and the command's name) by the command's own option table.
 * Throws UsageError for an unknown option, a missing value, a value outside `choices`, or too many or too few words.
 */
export function parseArguments(command: Command, argv: readonly string[]): CommandArguments {
  const table: Readonly<Record<string, OptionSpec>> = { ...command.options, ...COMMON_OPTIONS };
  const { values, positionals } = parse(table, joinBooleanValues(table, argv));
  if (values['help'] !== true) checkCount(command, positionals);
  for (const [name, spec] of Object.entries(table)) checkValue(name, spec, values[name]);
  return new TableArguments(table, values, positionals);
}

type Values = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;

function parse(
  table: Readonly<Record<string, OptionSpec>>,
  argv: readonly string[],
): { values: Values; positionals: string[] } {
  const options = Object.fromEntries(
    Object.entries(table).map(([name, { type, short, multiple }]) => [
      name,
      { type, ...(short === undefined ? {} : { short }), ...(multiple === undefined ? {} : { multiple }) },
    ]),
  );
  // Not strict: node:util's own messages are for people who write programs.
  const parsed = parseArgs({
    args: [...argv],
    options,
    allowPositionals: true,
    allowNegative: true,
    strict: false,
    tokens: true,
  });
  for (const token of parsed.tokens) if (token.kind === 'option') checkOption(table, token);
  return parsed;
}

interface OptionToken {
  readonly name: string;
  /** As it was typed: `--output`, `-o`. */
  readonly rawName: string;
  readonly value: string | undefined;
  readonly inlineValue: boolean | undefined;
}

function checkOption(table: Readonly<Record<string, OptionSpec>>, token: OptionToken): void {
  const { inlineValue, rawName, value } = token;
  const spec = specOf(table, token);
  if (spec === undefined) {
    const meant = nearest(token.name, Object.keys(table));
    throw new UsageError(`there is no option ${rawName}${meant === undefined ? '' : `; did you mean --${meant}?`}`);
  }
  if (spec.type === 'boolean') return;
  const form = `${rawName}${rawName.startsWith('--') ? '=' : ' '}${spec.value ?? 'VALUE'}`;
  if (value === undefined) throw new UsageError(`${rawName} takes a value: ${form}`);
  if (inlineValue === false && value.startsWith('-') && value !== '-') {
    throw new UsageError(`${rawName} takes a value: ${form}; got the option ${value} after it`);
  }
}

/** `--no-` turns a switch off; node:util then gives the name without it. */
function specOf(table: Readonly<Record<string, OptionSpec>>, { name, rawName }: OptionToken): OptionSpec | undefined {
  const positive = name.replace(/^no-/, '');
  const isNegated = positive !== name || rawName === `--no-${name}`;
  const spec = Object.hasOwn(table, positive) ? table[positive] : undefined;
  return isNegated && spec?.type !== 'boolean' ? undefined : spec;
}

function checkCount({ positionals, usage }: Command, given: readonly string[]): void {
  const { min, max } = positionals ?? { min: 0, max: 0 };
  if (given.length < min) {
    const atLeast = max > min ? 'at least ' : '';
    const found = given.length === 0 ? 'none' : String(given.length);
    throw new UsageError(`expected ${atLeast}${min} argument${min === 1 ? '' : 's'}, found ${found}: dcred ${usage}`);
  }
  if (given.length > max) throw new UsageError(`unexpected argument "${given[max]}": dcred ${usage}`);
}

/** `--leader-elect=false`, as every Kubernetes binary takes it; node:util knows only `--no-leader-elect`. */
function joinBooleanValues(table: Readonly<Record<string, OptionSpec>>, argv: readonly string[]): string[] {
  const end = argv.indexOf('--');
  return argv.map((word, position) => {
    if (end !== -1 && position >= end) return word;
    const match = /^--([a-z][a-z-]*)=(.*)$/.exec(word);
    const name = match?.[1];
    if (name === undefined || table[name]?.type !== 'boolean') return word;
    if (match?.[2] === 'true') return `--${name}`;
    if (match?.[2] === 'false') return `--no-${name}`;
    throw new UsageError(`--${name} takes true or false; got "${match?.[2]}"`);
  });
}

/** What is empty is a variable that was not set: it names no file and no object, and as a selector it would select all of them. */
const NEVER_EMPTY: ReadonlySet<string | undefined> = new Set([
  'CONTEXT',
  'DIR',
  'DIRECTORY',
  'FILE',
  'IMAGE',
  'KEY',
  'NAME',
  'NAMESPACE',
  'PROTOCOL',
  'SELECTOR',
]);

function checkValue(name: string, { choices, expects, value: form }: OptionSpec, value: Values[string]): void {
  if (value === undefined) return;
  for (const given of Array.isArray(value) ? value : [value]) {
    if (choices?.includes(String(given)) === false) {
      const expected = choices.length === 1 ? choices[0] : `one of ${choices.join(', ')}`;
      throw new UsageError(`--${name} takes ${expected}; got "${given}"`);
    }
    const expected = expects?.(String(given));
    if (expected === undefined && given === '' && NEVER_EMPTY.has(form)) {
      throw new UsageError(`--${name} takes ${form}; got "": is a variable of your shell empty?`);
    }
    if (expected !== undefined) throw new UsageError(`--${name} takes ${expected}; got "${given}"`);
  }
}

class TableArguments implements CommandArguments {
  readonly positionals: readonly string[];
  readonly #table: Readonly<Record<string, OptionSpec>>;
  readonly #values: Values;

  constructor(table: Readonly<Record<string, OptionSpec>>, values: Values, positionals: readonly string[]) {
    this.#table = table;
    this.#values = values;
    this.positionals = positionals;
  }

  string(name: string): string | undefined {
    const value = this.#value(name, 'string');
    if (Array.isArray(value)) throw new TypeError(`--${name} takes a list: read it with strings()`);
    return value === undefined ? undefined : String(value);
  }

  required(name: string): string {
    const value = this.string(name);
    if (value !== undefined) return value;
    const { help, value: form = 'VALUE' } = this.#table[name] ?? { help: '' };
    throw new UsageError(`--${name} ${form} is required: ${help}`);
  }

  strings(name: string): readonly string[] {
    const value = this.#value(name, 'string');
    if (value === undefined) return [];
    return (Array.isArray(value) ? value : [value]).map(String);
  }

  boolean(name: string): boolean {
    return this.#value(name, 'boolean') === true;
  }

  #value(name: string, type: OptionSpec['type']): Values[string] {
    const spec = this.#table[name];
    if (spec?.type !== type) throw new TypeError(`the command has no ${type} option --${name}`);
    return this.#values[name] ?? spec.default;
  }
}
