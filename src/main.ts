#!/usr/bin/env node
/** Entry point: picks the command. The only module that does something when it is imported. */
import type { Command, CommandIo } from './cli/command.ts';
import { completionCommand } from './cli/completion.ts';
import { crdCommand } from './cli/crd.ts';
import { inspectCommand } from './cli/inspect.ts';
import { issueCommand } from './cli/issue.ts';
import { operatorCommand } from './cli/operator.ts';
import { renewCommand } from './cli/renew.ts';
import { run } from './cli/run.ts';
import { verifyCommand } from './cli/verify.ts';
import { versionCommand } from './cli/version.ts';
import { webhookCommand } from './cli/webhook.ts';

const COMMANDS: readonly Command[] = [
  operatorCommand,
  webhookCommand,
  renewCommand,
  issueCommand,
  verifyCommand,
  inspectCommand,
  crdCommand,
  completionCommand(() => COMMANDS),
  versionCommand,
];

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
