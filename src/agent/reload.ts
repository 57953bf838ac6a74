/** Tells a server to load its files anew, and finds out whether it did, as far as that can be known. */
import { readFile } from 'node:fs/promises';
import { formatReload, type ProcessReference, type ReloadSpec } from '../api/reload-spec.ts';
import { type Clock, delay } from '../kubernetes/clock.ts';
import { catches, type FoundProcess, findByName, isAlive, readProcess } from './processes.ts';

export type ReloadErrorCode =
  | 'ProcessNotFound'
  | 'SignalNotCaught'
  | 'NotPermitted'
  | 'ProcessEnded'
  | 'CommandFailed'
  | 'HttpFailed'
  | 'NotConfirmed'
  | 'TimedOut';

/** The server was not told, or did not take it. */
class ReloadError extends Error {
  override readonly name = 'ReloadError';
  readonly code: ReloadErrorCode;

  constructor(code: ReloadErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export interface ReloadOptions {
  readonly clock: Clock;
  /** For one attempt, its confirmation included. */
  readonly timeoutMs: number;
  /** After a signal the process must still be there so much later. */
  readonly settleMs: number;
  /** Asked afterwards: a 2xx says that the new credential is in use. */
  readonly confirm: string | undefined;
}

/** One attempt. Throws ReloadError. */
export async function reload(spec: ReloadSpec, options: ReloadOptions, signal: AbortSignal): Promise<void> {
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const within = AbortSignal.any([signal, timeout]);
  try {
    await tell(spec, options, within);
    if (options.confirm !== undefined) await request('GET', options.confirm, 'NotConfirmed', within);
  } catch (error) {
    if (error instanceof ReloadError || !timeout.aborted) throw error;
    throw new ReloadError('TimedOut', `${formatReload(spec)} took more than ${options.timeoutMs / 1000} s`, {
      cause: error,
    });
  }
}

async function tell(spec: ReloadSpec, options: ReloadOptions, signal: AbortSignal): Promise<void> {
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
  // A process that has just started may not have its handler yet, and without one the signal would end it.
  const deaf = processes.find((one) => !catches(one, name));
  if (deaf !== undefined) {
    throw new ReloadError(
      'SignalNotCaught',
      `process ${deaf.pid} (${describe(reference)}) has no handler for SIG${name}, which would end it: it was not sent`,
    );
  }
  for (const one of processes) send(one, name, reference);
  await delay(clock, settleMs, signal);
  for (const one of processes) {
    if (await isAlive(one)) continue;
    throw new ReloadError('ProcessEnded', `process ${one.pid} (${describe(reference)}) ended after SIG${name}`);
  }
}

/** The processes that a signal would go to. */
export async function find(reference: ProcessReference): Promise<readonly FoundProcess[]> {
  if (reference.kind === 'name') return await findByName(reference.name);
  const text = await readFile(reference.path, 'utf8').catch(() => '');
  const pid = /^\s*([1-9]\d{0,9})\s*$/.exec(text)?.[1];
  const found = pid === undefined ? undefined : await readProcess(Number(pid));
  return found === undefined ? [] : [found];
}

function send({ pid, uid }: FoundProcess, name: string, reference: ProcessReference): void {
  try {
    process.kill(pid, `SIG${name}`);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ESRCH')
      throw new ReloadError('ProcessEnded', `process ${pid} (${describe(reference)}) has just ended`);
    throw new ReloadError(
      'NotPermitted',
      `process ${pid} (${describe(reference)}) runs as uid ${uid}, and uid ${process.getuid?.()} may not signal it: run both as ` +
        'the same user, or give the agent the capability KILL',
      { cause },
    );
  }
}

function notFound(reference: ProcessReference): ReloadError {
  // The first process of a shared namespace is the pod's pause.
  const alone = process.pid === 1 ? ': the pod needs shareProcessNamespace: true' : '';
  if (reference.kind === 'name') {
    return new ReloadError('ProcessNotFound', `no process called "${reference.name}" is running${alone}`);
  }
  return new ReloadError('ProcessNotFound', `${reference.path} names no running process${alone}`);
}

function describe(reference: ProcessReference): string {
  return reference.kind === 'name' ? reference.name : reference.path;
}

/** What it prints goes where the agent's own log goes: it is the user's command, and the user's to keep clean. */
async function execute([file, ...words]: readonly [string, ...string[]], signal: AbortSignal): Promise<void> {
  const { spawn } = await import('node:child_process');
  await new Promise<void>((resolve, reject) => {
    const child = spawn(file, words, { stdio: ['ignore', 2, 2], signal, killSignal: 'SIGKILL' });
    child.once('error', (cause) => {
      if (signal.aborted) return reject(cause);
      reject(
        new ReloadError('CommandFailed', `${file} cannot be run (${(cause as NodeJS.ErrnoException).code})`, { cause }),
      );
    });
    child.once('exit', (status, killedBy) => {
      if (status === 0) return resolve();
      const how = status === null ? `was ended by ${killedBy}` : `ended with status ${status}`;
      reject(new ReloadError('CommandFailed', `${file} ${how}`));
    });
  });
}

/** By node:http: `fetch` would cost a sidecar several megabytes. Redirections are not followed. */
async function request(method: string, url: string, code: ReloadErrorCode, signal: AbortSignal): Promise<void> {
  const { request: send } = url.startsWith('https:') ? await import('node:https') : await import('node:http');
  await new Promise<void>((resolve, reject) => {
    // Without an agent: a connection that is kept would be one to the server's old self.
    const sent = send(url, { method, agent: false, signal, headers: { 'content-length': '0' } }, (response) => {
      response.resume();
      const { statusCode = 0 } = response;
      if (statusCode >= 200 && statusCode < 300) return resolve();
      reject(new ReloadError(code, `${method} ${url} was answered with ${statusCode}, not 2xx`));
    });
    sent.once('error', (cause) => {
      if (signal.aborted) return reject(cause);
      reject(
        new ReloadError(code, `${method} ${url} failed (${(cause as NodeJS.ErrnoException).code ?? cause.message})`, {
          cause,
        }),
      );
    });
    sent.end();
  });
}
