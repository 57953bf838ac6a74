/** The helper, seen from its parent: starts it, asks it, and gives up on it. Never waits for a native call in this process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { KeyError } from '../key-error.ts';
import { HELPER_COMMAND, type HelperAnswer, type HelperRequest } from './helper-messages.ts';
import { SESSIONS } from './token.ts';

type Question = HelperRequest extends infer Request ? (Request extends unknown ? Omit<Request, 'id'> : never) : never;

interface Pending {
  readonly resolve: (value: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

const CLOSE_GRACE_MS = 2_000;

export class HelperProcess {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  readonly #onEnd: () => void;
  #lastId = 0;
  #ended = false;

  /** `onEnd`: once, whatever ended it. */
  constructor(env: Readonly<Record<string, string | undefined>>, onEnd: () => void) {
    this.#onEnd = onEnd;
    this.#child = spawn(process.execPath, ['--disable-sigusr1', entryPoint(), HELPER_COMMAND], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      serialization: 'advanced',
      // Calls that wait for a token each hold a thread of libuv's pool.
      env: { ...env, UV_THREADPOOL_SIZE: String(SESSIONS) },
    });
    this.#child.on('message', (message) => this.#settle(message as HelperAnswer));
    this.#child.once('exit', (_, killedBy) => this.#end(killedBy ?? 'an error'));
    this.#child.once('error', () => this.#end('an error'));
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Throws KeyError, or the signal's reason at once: the answer is then dropped when it comes. */
  ask(question: Question, signal: AbortSignal): Promise<Uint8Array> {
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    if (this.#ended) return Promise.reject(new KeyError('KeyUnavailable', 'the PKCS#11 helper has ended'));
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise<Uint8Array>((resolve, reject) => {
      const onAbort = (): void => this.#pending.get(id)?.reject(signal.reason as Error);
      signal.addEventListener('abort', onAbort, { once: true });
      const settled = (): void => {
        signal.removeEventListener('abort', onAbort);
        this.#pending.delete(id);
      };
      this.#pending.set(id, {
        resolve: (value) => {
          settled();
          resolve(value);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      });
      this.#child.send({ ...question, id } satisfies HelperRequest, (error) => {
        if (error !== null)
          this.#pending.get(id)?.reject(new KeyError('KeyUnavailable', 'the PKCS#11 helper has ended'));
      });
    });
  }

  /** At once, whatever it does: a native call cannot be interrupted in any other way. */
  kill(): void {
    this.#child.kill('SIGKILL');
    this.#end('SIGKILL');
  }

  /** Lets it log out; kills it where it does not end. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return;
    const gone = new Promise<void>((resolve) => {
      this.#child.once('exit', () => resolve());
    });
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), CLOSE_GRACE_MS);
    await gone;
    clearTimeout(timer);
  }

  #settle(answer: HelperAnswer): void {
    const pending = this.#pending.get(answer.id);
    if (answer.ok) pending?.resolve(answer.value);
    else pending?.reject(new KeyError(answer.code, answer.message));
  }

  #end(why: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
    const error = new KeyError('KeyUnavailable', `the PKCS#11 helper was ended by ${why}: it is started again`);
    for (const { reject } of [...this.#pending.values()]) reject(error);
  }
}

/** Set in a build of several files: the one of them that is run, from here. */
declare const DCRED_ENTRY: string | undefined;

/** This program. */
function entryPoint(): string {
  if (typeof DCRED_ENTRY === 'string') return join(import.meta.dirname, DCRED_ENTRY);
  // The bundle is one file, and the sources have their own entry.
  return import.meta.filename.endsWith('.ts') ? join(import.meta.dirname, '..', '..', 'main.ts') : import.meta.filename;
}
