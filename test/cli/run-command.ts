import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { parseArguments } from '../../src/cli/arguments.ts';
import type { Command, ExitStatus } from '../../src/cli/command.ts';

export interface Outcome {
  readonly status: ExitStatus;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command in this process, as `dcred` would; its errors come through as they are thrown. `now` is in seconds. */
export async function runCommand(
  command: Command,
  argv: readonly string[],
  {
    env = {},
    now = Math.floor(Date.now() / 1000),
    signal = new AbortController().signal,
  }: { env?: Readonly<Record<string, string | undefined>>; now?: number; signal?: AbortSignal } = {},
): Promise<Outcome> {
  const written = { stdout: '', stderr: '' };
  const status = await command.run(parseArguments(command, argv), {
    stdout: { write: (text) => (written.stdout += text) },
    stderr: { write: (text) => (written.stderr += text) },
    env,
    signal,
    now: () => now * 1000,
  });
  return { status, ...written };
}

/** The test's own directory, removed when it ends. */
export function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'dcred-test-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
