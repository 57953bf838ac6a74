import { parseArgs } from 'node:util';
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
  const { min, max } = command.positionals ?? { min: 0, max: 0 };
  const asksForHelp = values['help'] === true;
  if (!asksForHelp && positionals.length < min) {
    throw new UsageError(
      `dcred ${command.name}: expected ${min} argument${min === 1 ? '' : 's'}, got ${positionals.length}`,
    );
  }
  if (!asksForHelp && positionals.length > max) {
    throw new UsageError(`dcred ${command.name}: unexpected argument "${positionals[max]}"`);
  }
  for (const [name, spec] of Object.entries(table)) checkValue(name, spec, values[name]);
  return new TableArguments(command.name, table, values, positionals);
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
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: true, allowNegative: true, strict: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
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
    throw new UsageError(`--${name} takes true or false, got "${match?.[2]}"`);
  });
}

function checkValue(name: string, { choices, expects }: OptionSpec, value: Values[string]): void {
  if (value === undefined) return;
  for (const given of Array.isArray(value) ? value : [value]) {
    if (choices?.includes(String(given)) === false) {
      throw new UsageError(`--${name} takes one of ${choices.join(', ')}; got "${given}"`);
    }
    const expected = expects?.(String(given));
    if (expected !== undefined) throw new UsageError(`--${name} takes ${expected}; got "${given}"`);
  }
}

class TableArguments implements CommandArguments {
  readonly positionals: readonly string[];
  readonly #command: string;
  readonly #table: Readonly<Record<string, OptionSpec>>;
  readonly #values: Values;

  constructor(
    command: string,
    table: Readonly<Record<string, OptionSpec>>,
    values: Values,
    positionals: readonly string[],
  ) {
    this.#command = command;
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
    if (value === undefined) throw new UsageError(`dcred ${this.#command}: --${name} is required`);
    return value;
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
    if (spec?.type !== type) throw new TypeError(`${this.#command} has no ${type} option --${name}`);
    return this.#values[name] ?? spec.default;
  }
}
