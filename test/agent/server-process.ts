/** Small servers to signal: shells under unique names, so that no test signals another's process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { endChild } from '../../testing/support/processes.ts';

export interface ServerProcess {
  readonly pid: number;
  /** The next line that it prints. */
  nextLine(): Promise<string>;
  /** Lines printed and not read by `nextLine` yet. */
  readonly lines: readonly string[];
  end(): Promise<void>;
  /** Resolves when it has exited. */
  readonly exited: Promise<void>;
}

/** At most 15 characters, all that the kernel keeps of a name. */
export function freshName(): string {
  return `dcred-${randomBytes(4).toString('hex')}`;
}

/** Prints `up`, and `reloaded` for every SIGHUP. */
const LISTENING = 'trap "echo reloaded" HUP; echo up; while :; do sleep 0.02; done';
/** Has no handler for SIGHUP. */
export const WITHOUT_HANDLER = 'echo up; while :; do sleep 0.02; done';
/** Exits on the first SIGHUP, as a server does that cannot load its files. */
export const EXITING = 'trap "exit 3" HUP; echo up; while :; do sleep 0.02; done';
/** A master with a worker of the same name: a shell and its copy. */
export const WITH_WORKER = `(trap "echo worker reloaded" HUP; while :; do sleep 0.02; done) & ${LISTENING}`;

/** Runs a shell script in a process of that name; resolves when it is up. Ended after the test, with what it started. */
export async function startServer(t: TestContext, name: string, script = LISTENING): Promise<ServerProcess> {
  const directory = await mkdtemp(join(tmpdir(), 'dcred-process-'));
  await symlink('/bin/sh', join(directory, name));
  const child = spawn(join(directory, name), ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  t.after(async () => {
    await end(child);
    await rm(directory, { recursive: true, force: true });
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const lines: string[] = [];
  const input = createInterface({ input: child.stdout });
  const waiting: ((line: string) => void)[] = [];
  input.on('line', (line) => {
    const next = waiting.shift();
    if (next === undefined) lines.push(line);
    else next(line);
  });
  const nextLine = () => {
    const line = lines.shift();
    return line === undefined ? new Promise<string>((resolve) => waiting.push(resolve)) : Promise.resolve(line);
  };
  const first = await nextLine();
  if (first !== 'up') throw new Error(`unexpected first line ${first}`);
  return { pid: child.pid ?? 0, nextLine, lines, exited, end: () => end(child) };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined) return;
  try {
    // The group is the child's own: it and its workers.
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    return;
  }
  await endChild(child, { signal: 'SIGKILL' });
}
