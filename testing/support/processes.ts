import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';

export interface RunOptions {
  /** Written to the command's standard input, which is then closed. */
  readonly input?: string | Uint8Array;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** The command is killed after this many milliseconds. Default: five minutes. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

export interface Result extends Output {
  /** The exit status; null when a signal ended the command. */
  readonly status: number | null;
}

/** A command ended with a status other than 0, or by a signal. What it printed is in the message and in the fields. */
export class CommandFailedError extends Error {
  readonly code = 'CommandFailed';
  override readonly name = 'CommandFailedError';
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;

  constructor(command: string, result: Result) {
    const said = (result.stderr.trim() || result.stdout.trim()).slice(-4_000);
    const how = result.status === null ? 'was killed' : `ended with status ${result.status}`;
    super(`${command} ${how}${said === '' ? '' : `: ${said}`}`);
    this.stdout = result.stdout;
    this.stderr = result.stderr;
    this.status = result.status;
  }
}

/** What hangs ends some time, and what is slow does not: on a busy machine a step takes thirty times as long. */
const DEFAULT_TIMEOUT_MS = 300_000;

/** Runs a command and gives back what it printed, whatever its exit status. Rejects when it cannot be started. */
export function tryRun(file: string, args: readonly string[], options: RunOptions = {}): Promise<Result> {
  const { promise, resolve, reject } = Promise.withResolvers<Result>();
  const child = spawn(file, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    killSignal: 'SIGKILL',
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  // Not spawn's own `timeout`: where the command cannot be started, that timer is never cleared.
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.once('error', reject);
  child.once('close', (status) =>
    resolve({ status, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }),
  );
  // A command may end without reading its input; its exit status says enough.
  child.stdin.on('error', () => {});
  child.stdin.end(options.input);
  return promise.finally(() => clearTimeout(timer));
}

/** As `tryRun`, but rejects with CommandFailedError unless the exit status is 0. */
export async function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<Output> {
  const result = await tryRun(file, args, options);
  if (result.status !== 0) throw new CommandFailedError([file, ...args.slice(0, 4)].join(' '), result);
  return result;
}

/** Whether a process with this id exists. True also for one that has ended but was not yet waited for by its parent. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The part of ChildProcess that ending it needs. */
export interface EndableProcess {
  readonly pid?: number | undefined;
  readonly exitCode: number | null;
  readonly signalCode: NodeJS.Signals | null;
  kill(signal: NodeJS.Signals): boolean;
  ref(): void;
  once(event: 'exit', listener: () => void): unknown;
}

/**
 * Ends a child process: SIGTERM, and SIGKILL when it is still there after `graceMs`, by default two minutes. Resolves when it is gone.
 * `signal: 'SIGKILL'` ends it at once.
 */
export async function endChild(
  child: EndableProcess,
  options: { readonly signal?: 'SIGTERM' | 'SIGKILL'; readonly graceMs?: number } = {},
): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => {
    child.once('exit', resolve);
  });
  child.ref();
  child.kill(options.signal ?? 'SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), options.graceMs ?? 120_000);
  await gone;
  clearTimeout(timer);
}

/** Waits until a process that is not a child of this one is gone. There is no event for that, so this polls every 20 ms. */
export async function processGone(pid: number, timeoutMs = 120_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (isAlive(pid)) {
    if (Date.now() > deadline) throw new Error(`process ${pid} is still there after ${timeoutMs} ms`);
    await delay(20);
  }
}

/** Calls `probe` every `intervalMs` until it gives something other than undefined. For states that send no event. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined>,
  options: { readonly timeoutMs?: number; readonly intervalMs?: number } = {},
): Promise<T> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`timed out after ${timeoutMs} ms waiting for ${what}`);
    await delay(options.intervalMs ?? 50);
  }
}

/** The first line that a child process prints, for children that report that they are ready. */
export async function firstLine(stream: NodeJS.ReadableStream, signal?: AbortSignal): Promise<string> {
  let text = '';
  stream.setEncoding('utf8');
  while (!text.includes('\n')) {
    const [chunk] = await once(stream, 'data', signal === undefined ? {} : { signal });
    text += String(chunk);
  }
  return text.slice(0, text.indexOf('\n'));
}
