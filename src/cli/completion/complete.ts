/** What may come next on a command line that is being typed. Pure. */
import { COMMON_OPTIONS } from '../arguments.ts';
import type { Command, OptionSpec } from '../command.ts';
import type { Candidate, Expected } from '../expected.ts';

/** What a command line that is being typed says of the cluster. */
export interface TypedScope {
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  readonly namespace?: string | undefined;
  readonly allNamespaces: boolean;
}

export interface Completion {
  readonly expected: Expected;
  /** What is there of the word that is being typed: candidates that do not begin with it are left out. */
  readonly typed: string;
  readonly scope: TypedScope;
}

const NO_SCOPE: TypedScope = { allNamespaces: false };

/** @param words after `dcred`, the last being the one that is typed: empty after a space */
export function complete(commands: readonly Command[], words: readonly string[]): Completion {
  const [name = '', ...rest] = joinBrokenWords(words);
  const typed = rest.at(-1) ?? name;
  if (rest.length === 0) return { expected: commandNames(commands, true), typed, scope: NO_SCOPE };
  if (name === 'help' && rest.length === 1) return { expected: commandNames(commands, false), typed, scope: NO_SCOPE };
  const command = commands.find((one) => one.name === name);
  if (command === undefined) return { expected: { kind: 'nothing' }, typed, scope: NO_SCOPE };
  return completeCommand(command, rest.slice(0, -1), typed);
}

/** bash takes `--namespace=edge` for three words, and each colon of `arn:aws:eks` for one. */
function joinBrokenWords(words: readonly string[]): readonly string[] {
  const joined: string[] = [];
  for (const [position, word] of words.entries()) {
    const [option, sign] = word === '=' ? [words[position - 1], word] : [words[position - 2], words[position - 1]];
    const isBroken = (sign === '=' && option?.startsWith('--')) || isColons(word) || isColons(words[position - 1]);
    if (isBroken && joined.length > 0) joined.push(`${joined.pop()}${word}`);
    else joined.push(word);
  }
  return joined;
}

function isColons(word = ''): boolean {
  return /^:+$/.test(word);
}

function commandNames(commands: readonly Command[], withHelp: boolean): Expected {
  const names = commands.map(({ name, summary }) => ({ word: name, description: summary }));
  return { kind: 'words', words: withHelp ? [...names, { word: 'help', description: 'show the help' }] : names };
}

function completeCommand(command: Command, before: readonly string[], typed: string): Completion {
  const table: OptionTable = { ...command.options, ...COMMON_OPTIONS };
  const line = readLine(table, before);
  const scope = scopeOf(line.values);
  if (line.pending !== undefined) return { expected: valueOfOption(line.pending), typed, scope };
  if (!line.onlyPositionals && typed.startsWith('-')) {
    const [, name = '', value] = /^--([a-z][a-z-]*)=(.*)$/s.exec(typed) ?? [];
    const spec = table[name];
    if (value !== undefined && spec !== undefined) return { expected: valueOfOption(spec), typed: value, scope };
    return { expected: { kind: 'words', words: optionWords(table, line.values) }, typed, scope };
  }
  const { complete: completePositional, max = 0 } = command.positionals ?? {};
  const room = line.positionals.length < max;
  const expected: Expected = room ? (completePositional?.(line.positionals, typed) ?? NOTHING) : NOTHING;
  return { expected, typed, scope };
}

const NOTHING: Expected = { kind: 'nothing' };

type OptionTable = Readonly<Record<string, OptionSpec>>;

interface TypedLine {
  readonly positionals: readonly string[];
  readonly values: ReadonlyMap<string, string>;
  /** The option that the next word is the value of. */
  readonly pending: OptionSpec | undefined;
  /** After `--`. */
  readonly onlyPositionals: boolean;
}

/** A line may be wrong, and is not finished: what is not known is passed over. */
function readLine(table: OptionTable, words: readonly string[]): TypedLine {
  const positionals: string[] = [];
  const values = new Map<string, string>();
  let pending: string | undefined;
  let onlyPositionals = false;
  for (const word of words) {
    if (pending !== undefined) {
      values.set(pending, word);
      pending = undefined;
    } else if (onlyPositionals || !word.startsWith('-') || word === '-') positionals.push(word);
    else if (word === '--') onlyPositionals = true;
    else {
      const [name, value] = word.startsWith('--') ? longOption(word) : shortOption(table, word);
      if (value === undefined && table[name]?.type === 'string') pending = name;
      else values.set(name, value ?? 'true');
    }
  }
  const option = pending === undefined ? undefined : table[pending];
  return { positionals, values, pending: option, onlyPositionals };
}

function longOption(word: string): readonly [string, string | undefined] {
  const equals = word.indexOf('=');
  return equals < 0 ? [word.slice(2), undefined] : [word.slice(2, equals), word.slice(equals + 1)];
}

/** `-n edge`, `-nedge`. */
function shortOption(table: OptionTable, word: string): readonly [string, string | undefined] {
  const [name = ''] = Object.entries(table).find(([, { short }]) => short === word[1]) ?? [];
  return [name, word.length > 2 ? word.slice(2) : undefined];
}

function scopeOf(values: ReadonlyMap<string, string>): TypedScope {
  return {
    kubeconfig: values.get('kubeconfig'),
    context: values.get('context'),
    namespace: values.get('namespace'),
    allNamespaces: values.get('all-namespaces') === 'true',
  };
}

/** By how the help names a value. */
const VALUES: Readonly<Record<string, Expected>> = {
  FILE: { kind: 'files' },
  KEY: { kind: 'files' },
  DIR: { kind: 'directories' },
  DIRECTORY: { kind: 'directories' },
  NAMESPACE: { kind: 'names', of: 'Namespace' },
  CONTEXT: { kind: 'names', of: 'Context' },
  SECRET: { kind: 'names', of: 'CertificateSecret' },
};

function valueOfOption({ choices, value = '' }: OptionSpec): Expected {
  if (choices !== undefined) return { kind: 'words', words: choices.map((word) => ({ word })) };
  return VALUES[value] ?? NOTHING;
}

function optionWords(table: OptionTable, values: ReadonlyMap<string, string>): readonly Candidate[] {
  const open = Object.entries(table).filter(([name, { multiple }]) => multiple === true || !values.has(name));
  return [
    ...open.map(([name, { help }]) => ({ word: `--${name}`, description: help })),
    ...open.flatMap(([, { help, short }]) => (short === undefined ? [] : { word: `-${short}`, description: help })),
  ];
}
