#!/usr/bin/env node
import { onBrokenOutput } from './cli/broken-output.ts';
/** Entry point: picks the command. The only module that does something when it is imported. */
import type { Command, CommandIo } from './cli/command.ts';
import { COMPLETE_COMMAND } from './cli/expected.ts';
import { programName, run } from './cli/run.ts';
import { stopSignal } from './cli/stop-signal.ts';
import { HELPER_COMMAND } from './keys/pkcs11/helper-command.ts';

let isOutputLost = false;
onBrokenOutput([process.stdout], (message) => {
  isOutputLost = true;
  process.exitCode = 1;
  process.stderr.write(message);
});
onBrokenOutput([process.stderr], () => {});

const io: CommandIo = {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  // A single executable has no script: it is known by the name that it was called by.
  program: [process.argv[1] ?? '', process.argv0].map(programName).find((name) => name !== 'dcred') ?? 'dcred',
  signal: stopSignal(process),
  now: Date.now,
};

/**
 * What runs for long, or is over in no time, loads its own modules and no more: the others' take 30 MB and a third of a second. The
 * helper is for dcred itself to start.
 */
const ALONE: Readonly<Record<string, () => Promise<Command>>> = {
  [COMPLETE_COMMAND]: async () => {
    const [{ completeCommand }, { COMMANDS }] = await Promise.all([
      import('./cli/completion/complete-command.ts'),
      import('./cli/commands.ts'),
    ]);
    return completeCommand(() => COMMANDS);
  },
  agent: async () => (await import('./cli/services/agent.ts')).agentCommand,
  issuer: async () => (await import('./cli/services/issuer.ts')).issuerCommand,
  operator: async () => (await import('./cli/services/operator.ts')).operatorCommand,
  probe: async () => (await import('./cli/credential/probe.ts')).probeCommand,
  signer: async () => (await import('./cli/services/signer.ts')).signerCommand,
  webhook: async () => (await import('./cli/services/webhook.ts')).webhookCommand,
  [HELPER_COMMAND]: async () => (await import('./cli/services/pkcs11-helper.ts')).pkcs11HelperCommand,
};

async function commandsFor(name = ''): Promise<readonly Command[]> {
  if (Object.hasOwn(ALONE, name)) return [await ALONE[name]?.()].filter((command) => command !== undefined);
  return (await import('./cli/commands.ts')).COMMANDS;
}

/** No `await` at the top: the single executable is CommonJS. */
async function main(): Promise<void> {
  const argv = process.argv.slice(2);
  const status = await run(await commandsFor(argv[0]), argv, io);
  process.exitCode = isOutputLost ? 1 : status;
}

void main();
