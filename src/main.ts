#!/usr/bin/env node
/** Entry point: picks the command. The only module that does something when it is imported. */
import type { Command, CommandIo } from './cli/command.ts';
import { programName, run } from './cli/run.ts';
import { HELPER_COMMAND } from './keys/pkcs11/helper-messages.ts';

const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  // A second signal ends the process at once, as an impatient person expects.
  process.once(signal, () => stop.abort());
}

const io: CommandIo = {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  // A single executable has no script: it is known by the name that it was called by.
  program: [process.argv[1] ?? '', process.argv0].map(programName).find((name) => name !== 'dcred') ?? 'dcred',
  signal: stop.signal,
  now: Date.now,
};

/**
 * The agent runs beside every server of a fleet, so it loads no more than it needs. A probe is over in less time than all commands take
 * to load. The helper is for dcred itself to start.
 */
async function commandsFor(name: string | undefined): Promise<readonly Command[]> {
  if (name === 'agent') return [(await import('./cli/agent.ts')).agentCommand];
  if (name === 'probe') return [(await import('./cli/probe.ts')).probeCommand];
  if (name === HELPER_COMMAND) return [(await import('./cli/pkcs11-helper.ts')).pkcs11HelperCommand];
  return (await import('./cli/commands.ts')).COMMANDS;
}

/** No `await` at the top: the single executable is CommonJS. */
async function main(): Promise<void> {
  const argv = process.argv.slice(2);
  process.exitCode = await run(await commandsFor(argv[0]), argv, io);
}

void main();
