/** Makes a server reload its files, and checks that it did as far as that can be observed. */
import {
  describeReload,
  describeUrl,
  type ProcessReference,
  type ReloadSignal,
  type ReloadSpec,
} from '../api/reload-spec.ts';
import { readBeginning } from '../files/read-bounded.ts';
import { type Clock, delay } from '../kubernetes/clock.ts';
import { catches, type FoundProcess, findByName, isAlive, readProcess, signalProcess } from './processes.ts';

export type ReloadErrorCode =
  | 'ProcessNotFound'
  | 'SignalNotCaught'
  | 'NotPermitted'
  | 'ProcessExited'
  | 'CommandFailed'
  | 'HttpFailed'
  | 'NotConfirmed'
  | 'TimedOut';

/** The reload was not triggered, or the server refused it. */
class ReloadError extends Error {
  override readonly name = 'ReloadError';
  readonly code: ReloadErrorCode;

  constructor(code: ReloadErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A pid, and white space. */
const MAX_PID_FILE_BYTES = 64;

export interface ReloadOptions {
  readonly clock: Clock;
  /** Limit of one attempt, confirmation included. */
  readonly timeoutMs: number;
  /** After a signal, the process must still run this much later. */
  readonly settleMs: number;
  /** URL to request after a reload: 2xx confirms that the new credential is in use. */
  readonly confirm: string | undefined;
}

/**
 * One attempt.
 * @throws {ReloadError}
 */
export async function reload(spec: ReloadSpec, options: ReloadOptions, signal: AbortSignal): Promise<void> {
  const { clock, timeoutMs } = options;
  const timeout = new AbortController();
  const timer = clock.setTimeout(() => timeout.abort(), timeoutMs);
  const within = AbortSignal.any([signal, timeout.signal]);
  try {
    await trigger(spec, options, within);
    within.throwIfAborted();
    if (options.confirm !== undefined) await request('GET', options.confirm, 'NotConfirmed', within);
  } catch (error) {
    if (error instanceof ReloadError || signal.aborted || !timeout.signal.aborted) throw error;
    throw new ReloadError('TimedOut', `${describeReload(spec)} took more than ${timeoutMs / 1000} s`, {
      cause: error,
    });
  } finally {
    timer.cancel();
  }
}

async function trigger(spec: ReloadSpec, options: ReloadOptions, signal: AbortSignal): Promise<void> {
  switch (spec.kind) {
    case 'signal':
      return await signalAll(spec, options, signal);
    case 'exec':
      return await execute(spec.command, signal);
    case 'http':
      return await request(spec.method, spec.url, 'HttpFailed', signal);
  }
}

async function signalAll(
  { process: reference, signal: name }: Extract<ReloadSpec, { kind: 'signal' }>,
  { clock, settleMs }: ReloadOptions,
  signal: AbortSignal,
): Promise<void> {
  const processes = await find(reference);
  if (processes.length === 0) throw notFound(reference);
  // A process that has just started may not have installed its handler, and without one the signal terminates it.
  const unhandled = processes.find((one) => !catches(one, name));
  if (unhandled !== undefined) {
    throw new ReloadError(
      'SignalNotCaught',
      `process ${unhandled.pid} (${describe(reference)}) has no handler for SIG${name}, which would terminate it: signal not sent`,
    );
  }
  for (const one of processes) send(one, name, reference);
  await delay(clock, settleMs, signal);
  for (const one of processes) {
    if (await isAlive(one)) continue;
    throw new ReloadError('ProcessExited', `process ${one.pid} (${describe(reference)}) exited after SIG${name}`);
  }
}

/** The processes that a signal goes to. */
export async function find(reference: ProcessReference): Promise<readonly FoundProcess[]> {
  if (reference.kind === 'name') return await findByName(reference.name);
  const text = await readBeginning(reference.path, MAX_PID_FILE_BYTES).catch(() => '');
  const pid = /^\s*([1-9]\d{0,9})\s*$/.exec(text)?.[1];
  // The agent's own pid is the server's in a namespace that the two do not share.
  const found = pid === undefined || Number(pid) === process.pid ? undefined : await readProcess(Number(pid));
  return found === undefined ? [] : [found];
}

function send(found: FoundProcess, name: ReloadSignal, reference: ProcessReference): void {
  const { pid, uid } = found;
  const exited = new ReloadError('ProcessExited', `process ${pid} (${describe(reference)}) has exited`);
  try {
    if (!signalProcess(found, `SIG${name}`)) throw exited;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (cause === exited || code === 'ESRCH') throw exited;
    throw new ReloadError(
      'NotPermitted',
      `process ${pid} (${describe(reference)}) runs as uid ${uid}, which uid ${process.getuid?.()} may not signal: run both as ` +
        'the same user, or give the agent the capability KILL',
      { cause },
    );
  }
}

function notFound(reference: ProcessReference): ReloadError {
  // In a shared namespace, process 1 is the pod's pause.
  const hint = process.pid === 1 ? ': the pod needs shareProcessNamespace: true' : '';
  if (reference.kind === 'name') {
    return new ReloadError('ProcessNotFound', `no process called "${reference.name}" is running${hint}`);
  }
  return new ReloadError('ProcessNotFound', `${reference.path} names no running process${hint}`);
}

function describe(reference: ProcessReference): string {
  return reference.kind === 'name' ? reference.name : reference.path;
}

/** Its output goes to the agent's standard error, like the agent's log. */
async function execute([file, ...words]: readonly [string, ...string[]], signal: AbortSignal): Promise<void> {
  const { spawn } = await import('node:child_process');
  await new Promise<void>((resolve, reject) => {
    const child = spawn(file, words, { stdio: ['ignore', 2, 2], signal, killSignal: 'SIGKILL' });
    child.once('error', (cause) => {
      if (signal.aborted) return reject(cause);
      reject(
        new ReloadError('CommandFailed', `${file} cannot be started (${(cause as NodeJS.ErrnoException).code})`, {
          cause,
        }),
      );
    });
    child.once('exit', (status, killedBy) => {
      if (status === 0) return resolve();
      const how = status === null ? `was killed by ${killedBy}` : `exited with status ${status}`;
      reject(new ReloadError('CommandFailed', `${file} ${how}`));
    });
  });
}

/**
 * With node:http: `fetch` would cost a sidecar several megabytes. Redirects are not followed. The reload ends with the answer: a
 * connection whose answer never ends would otherwise stay open.
 */
async function request(method: string, url: string, code: ReloadErrorCode, signal: AbortSignal): Promise<void> {
  const { request: send } = url.startsWith('https:') ? await import('node:https') : await import('node:http');
  const shown = describeUrl(url);
  await new Promise<void>((resolve, reject) => {
    const fail = (cause: NodeJS.ErrnoException): void => {
      const why = `${method} ${shown} failed (${cause.code ?? cause.message})`;
      reject(signal.aborted ? cause : new ReloadError(code, why, { cause }));
    };
    // Without an agent: a kept connection would lead to the server's old process.
    const sent = send(url, { method, agent: false, signal, headers: { 'content-length': '0' } }, (response) => {
      const { statusCode = 0 } = response;
      response.on('error', fail);
      if (statusCode >= 200 && statusCode < 300) return void response.once('end', resolve).resume();
      reject(new ReloadError(code, `${method} ${shown} was answered with ${statusCode}, not 2xx`));
      sent.destroy();
    });
    sent.on('error', fail);
    sent.end();
  });
}
