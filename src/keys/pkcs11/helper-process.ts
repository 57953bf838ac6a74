/** The helper, seen from its parent: starts it, calls it, and gives up on it. Never waits for a native call in this process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Clock, TimerHandle } from '../../kubernetes/clock.ts';
import { untilAborted } from '../../kubernetes/deadline.ts';
import { KeyError } from '../key-error.ts';
import { HELPER_COMMAND, type HelperAnswer, type HelperRequest } from './helper-messages.ts';
import { SESSIONS } from './token.ts';

type Question = HelperRequest extends infer Request ? (Request extends unknown ? Omit<Request, 'id'> : never) : never;

interface Pending {
  readonly resolve: (value: Uint8Array) => void;
  readonly reject: (error: Error) => void;
  readonly late: TimerHandle;
}

/** How long the helper may take to answer, and what is said where it takes longer. */
export interface AnswerTime {
  readonly ms: number;
  readonly late: string;
}

const CLOSE_GRACE_MS = 2_000;

export class HelperProcess {
  readonly #child: ChildProcess;
  /** With the helper, which has a session for each. */
  readonly #pending = new Map<number, Pending>();
  /** Not sent yet: what its caller gives up on is then never sent. */
  readonly #waiting = new Set<() => void>();
  readonly #clock: Clock;
  readonly #onEnd: () => void;
  #lastId = 0;
  #ended = false;

  /** `onEnd`: once, whatever ended it. */
  constructor(env: Readonly<Record<string, string | undefined>>, clock: Clock, onEnd: () => void) {
    this.#clock = clock;
    this.#onEnd = onEnd;
    this.#child = spawn(process.execPath, ['--disable-sigusr1', entryPoint(), HELPER_COMMAND], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      serialization: 'advanced',
      // Calls that wait for a token each hold a thread of libuv's pool.
      env: { ...env, UV_THREADPOOL_SIZE: String(SESSIONS) },
    });
    this.#child.on('message', (message) => this.#answered(message as HelperAnswer));
    this.#child.once('exit', (_, killedBy) => this.#end(endedBy(killedBy ?? 'an error')));
    this.#child.on('error', () => this.#end(endedBy('an error')));
    // Without a descriptor or a process to spare there is no channel either, and the event comes later.
    if (this.#child.pid === undefined) this.#end(endedBy('an error'));
  }

  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Throws KeyError, or the signal's reason at once. What was sent counts until it is answered, whoever still waits: a token that hangs ends
   * the helper, and callers that give up before that do not pile work up in it.
   */
  async ask(question: Question, time: AnswerTime, signal: AbortSignal): Promise<Uint8Array> {
    while (!this.#ended && this.#pending.size >= SESSIONS) await this.#turn(signal);
    signal.throwIfAborted();
    if (this.#ended) throw new KeyError('KeyUnavailable', 'the PKCS#11 helper has exited');
    return await untilAborted(this.#send(question, time), signal);
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    try {
      await untilAborted(promise, signal);
    } finally {
      this.#waiting.delete(resolve);
    }
  }

  #send(question: Question, { late, ms }: AnswerTime): Promise<Uint8Array> {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise<Uint8Array>((resolve, reject) => {
      const timer = this.#clock.setTimeout(() => this.#giveUp(new KeyError('KeyUnavailable', late)), ms);
      this.#pending.set(id, { resolve, reject, late: timer });
      this.#child.send({ ...question, id } satisfies HelperRequest, (error) => {
        if (error !== null) this.#settle(id)?.reject(new KeyError('KeyUnavailable', 'the PKCS#11 helper has exited'));
      });
    });
  }

  /** At once, whatever it does: a native call cannot be interrupted in any other way. */
  kill(): void {
    this.#giveUp(endedBy('SIGKILL'));
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

  #answered(answer: HelperAnswer): void {
    const pending = this.#settle(answer.id);
    if (answer.ok) pending?.resolve(answer.value);
    else pending?.reject(new KeyError(answer.code, answer.message));
  }

  /** The next one takes its place. */
  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    pending?.late.cancel();
    this.#pending.delete(id);
    const [next] = this.#waiting;
    if (next !== undefined) {
      this.#waiting.delete(next);
      next();
    }
    return pending;
  }

  #giveUp(error: KeyError): void {
    this.#child.kill('SIGKILL');
    this.#end(error);
  }

  #end(error: KeyError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
    for (const id of [...this.#pending.keys()]) this.#settle(id)?.reject(error);
    for (const next of this.#waiting) next();
  }
}

function endedBy(why: string): KeyError {
  return new KeyError('KeyUnavailable', `the PKCS#11 helper was stopped by ${why}: it is restarted`);
}

/** Set in a build of several files: the one of them that is run, from here. */
declare const DCRED_ENTRY: string | undefined;

/** This program. */
function entryPoint(): string {
  if (typeof DCRED_ENTRY === 'string') return join(import.meta.dirname, DCRED_ENTRY);
  // The bundle is one file, and the sources have their own entry.
  return import.meta.filename.endsWith('.ts') ? join(import.meta.dirname, '..', '..', 'main.ts') : import.meta.filename;
}
