#!/usr/bin/env node
/** Entry point: picks the command. The only module that does something when it is imported. */
import type { CommandIo } from './cli/command.ts';
import { COMMANDS } from './cli/commands.ts';
import { run } from './cli/run.ts';

const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  // A second signal ends the process at once, as an impatient person expects.
  process.once(signal, () => stop.abort());
}

const io: CommandIo = {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signal: stop.signal,
  now: Date.now,
};

process.exitCode = await run(COMMANDS, process.argv.slice(2), io);
