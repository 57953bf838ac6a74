/** What a subcommand of `dcred` is: a name, its help, its options and what it does. */
import type { Expected } from './expected.ts';

/** 0: done. 1: it failed, or the answer is "no" (`verify` of a bad credential). 2: wrong usage. */
export type ExitStatus = 0 | 1 | 2;

/** Everything a command may touch of the process that runs it. Tests pass their own. */
export interface CommandIo {
  /** `isTTY`: a terminal, where colours show and a line may be drawn over. */
  readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean };
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** How the user calls it: `dcred`, or `kubectl dcred` where kubectl runs it. Default: dcred. */
  readonly program?: string;
  /** Aborted on SIGTERM and SIGINT. */
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  now(): number;
}

export interface OptionSpec {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  /** May be given several times; the value is then a list. */
  readonly multiple?: boolean;
  /** How the value is named in the help: `FILE`, `DURATION`. */
  readonly value?: string;
  /** Shown in the help, and used when the option is absent. */
  readonly default?: string | boolean;
  /** The values that completion offers, and the only ones allowed. */
  readonly choices?: readonly string[];
  /** What values are expected, where the one given is not; undefined where it is. */
  readonly expects?: (value: string) => string | undefined;
  readonly help: string;
}

export interface CommandArguments {
  readonly positionals: readonly string[];
  /** The option's value, its default, or undefined. Throws when the option takes a list. */
  string(name: string): string | undefined;
  /** As `string`, but a missing option is a usage error. */
  required(name: string): string;
  strings(name: string): readonly string[];
  boolean(name: string): boolean;
}

export interface Command {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** The words after `dcred`, as in `inspect FILE [-o json]`. */
  readonly usage: string;
  /** A few sentences for `--help`. */
  readonly description: string;
  /** A command line, with what it prints where that helps. */
  readonly example: string;
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** How many words without a dash it takes. */
  readonly positionals?: {
    readonly min: number;
    readonly max: number;
    /** What completion offers for the next of them. */
    readonly complete?: (given: readonly string[], typed: string) => Expected;
  };
  run(args: CommandArguments, io: CommandIo): Promise<ExitStatus>;
}

/** The command line itself is wrong: printed with a pointer to `--help`, exit status 2. */
export class UsageError extends Error {
  readonly code = 'Usage';
  override readonly name = 'UsageError';
}

/** The command was understood and failed: printed without a stack, exit status 1. */
export class CommandError extends Error {
  readonly code = 'CommandFailed';
  override readonly name = 'CommandError';
}
