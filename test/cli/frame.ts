/** A whole command line, run in this process. */
import type { Command, CommandIo } from '../../src/cli/command.ts';
import { run } from '../../src/cli/run.ts';
import type { Outcome } from './run-command.ts';

/** As `dcred argv...` would: errors end up on standard error. */
export async function runLine(
  commands: readonly Command[],
  argv: readonly string[],
  overrides: Partial<CommandIo> = {},
): Promise<Outcome> {
  const written = { stdout: '', stderr: '' };
  const status = await run(commands, argv, {
    stdout: { write: (text) => (written.stdout += text) },
    stderr: { write: (text) => (written.stderr += text) },
    env: {},
    signal: new AbortController().signal,
    now: Date.now,
    ...overrides,
  });
  return { status, ...written };
}

/** A command that does nothing, unless overridden. */
export function command(overrides: Partial<Command> = {}): Command {
  return {
    name: 'probe',
    summary: 'look at something',
    usage: 'probe [options]',
    description: 'Looks at something, and says what it saw.',
    example: 'dcred probe',
    options: {},
    run: async () => 0,
    ...overrides,
  };
}
