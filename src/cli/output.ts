/** How commands print. */
import { printableJson, printableOutput } from '../text/printable.ts';
import type { CommandIo, OptionSpec } from './command.ts';

export const OUTPUT_OPTION = {
  type: 'string',
  short: 'o',
  value: 'FORMAT',
  choices: ['text', 'json'],
  default: 'text',
  help: 'output format',
} as const satisfies OptionSpec;

/** On a terminal only, and not where NO_COLOR has any value but the empty one (https://no-color.org). */
export function wantsColour(io: CommandIo): boolean {
  return io.stdout.isTTY === true && (io.env['NO_COLOR'] ?? '') === '';
}

/** What `-o json` prints. Names, subjects and messages in it come from strangers: no character of it acts on a terminal. */
export function jsonText(value: unknown): string {
  return `${printableJson(JSON.stringify(value, undefined, 2))}\n`;
}

/**
 * `io` whose streams pass text only: newlines, tabs, and on a terminal the colours and the progress bar. Every command escapes what it
 * shows of strangers where it shows it; this holds for the place that forgot.
 */
export function guardedIo(io: CommandIo): CommandIo {
  return { ...io, stdout: guarded(io.stdout), stderr: guarded(io.stderr) };
}

function guarded(stream: CommandIo['stdout']): CommandIo['stdout'] {
  const isTTY = stream.isTTY === true;
  return { write: (text) => stream.write(printableOutput(text, isTTY)), isTTY };
}
