/** How commands print. */
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
