#!/usr/bin/env node
/** Entry point: picks the command. The only module that does something when it is imported. */
import type { Command, CommandIo } from './cli/command.ts';
import { programName, run } from './cli/run.ts';

const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  // A second signal ends the process at once, as an impatient person expects.
  process.once(signal, () => stop.abort());
}

const io: CommandIo = {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  program: programName(process.argv[1] ?? ''),
  signal: stop.signal,
  now: Date.now,
};

/** The agent runs beside every server of a fleet, so it alone loads no more than it needs. */
async function commandsFor(name: string | undefined): Promise<readonly Command[]> {
  if (name === 'agent') return [(await import('./cli/agent.ts')).agentCommand];
  return (await import('./cli/commands.ts')).COMMANDS;
}

const argv = process.argv.slice(2);
process.exitCode = await run(await commandsFor(argv[0]), argv, io);
