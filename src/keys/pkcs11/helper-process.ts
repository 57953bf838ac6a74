/**
 * The helper, seen from its parent: starts it, calls it, and gives up on it. Never waits for a native call in this process, and takes
 * nothing for granted that it sends: the library in it may have overwritten anything.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Clock, TimerHandle } from '../../kubernetes/clock.ts';
import { untilAborted } from '../../kubernetes/deadline.ts';
import { JsonLines } from '../../kubernetes/json-lines.ts';
import { printable } from '../../text/printable.ts';
import { KeyError } from '../key-error.ts';
import { CHANNEL_FD, HELPER_COMMAND } from './helper-command.ts';
import { type HelperRequest, lineOf, MAX_MESSAGE_BYTES, readAnswer } from './helper-messages.ts';
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
const MAX_ERROR_LENGTH = 1_024;

export class HelperProcess {
  readonly #child: ChildProcess;
  /** Undefined where the helper could not be started. */
  readonly #channel: Duplex | undefined;
  readonly #lines = new JsonLines('the PKCS#11 helper', MAX_MESSAGE_BYTES);
  /** With the helper, which has a session for each. */
  readonly #pending = new Map<number, Pending>();
  /** Not sent yet: what its caller gives up on is then never sent. */
  readonly #waiting = new Set<() => void>();
  readonly #clock: Clock;
  readonly #onEnd: () => void;
  #lastId = 0;
  #ended = false;
  #closing = false;

  /** `onEnd`: once, whatever ended it. */
  constructor(env: Readonly<Record<string, string | undefined>>, clock: Clock, onEnd: () => void) {
    this.#clock = clock;
    this.#onEnd = onEnd;
    this.#child = spawn(process.execPath, ['--disable-sigusr1', entryPoint(), HELPER_COMMAND], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
      // Calls that wait for a token each hold a thread of libuv's pool.
      env: { ...env, UV_THREADPOOL_SIZE: String(SESSIONS) },
    });
    this.#child.once('exit', (_, killedBy) => this.#end(stopped(`by ${killedBy ?? 'an error'}`)));
    this.#child.on('error', () => this.#end(stopped('by an error')));
    // Without a descriptor or a process to spare there is no channel either, and the event comes later.
    if (this.#child.pid === undefined) {
      this.#end(stopped('by an error'));
      return;
    }
    this.#channel = this.#child.stdio[CHANNEL_FD] as Duplex;
    this.#channel.on('data', (chunk: Uint8Array) => this.#read(chunk));
    // Whatever broke the connection, it is closed then, and nothing else comes from this helper but its end.
    this.#channel.on('error', () => undefined);
    this.#channel.once('close', () => {
      if (!this.#closing) this.#child.kill('SIGKILL');
    });
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
      // What cannot be written closes the connection, which ends the helper and with it this call.
      this.#channel?.write(lineOf({ ...question, id }));
    });
  }

  /** At once, whatever it does: a native call cannot be interrupted in any other way. */
  kill(): void {
    this.#giveUp(stopped('by SIGKILL'));
  }

  /** Lets it log out; kills it where it does not end. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return;
    const gone = new Promise<void>((resolve) => {
      this.#child.once('exit', () => resolve());
    });
    this.#closing = true;
    this.#channel?.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), CLOSE_GRACE_MS);
    await gone;
    clearTimeout(timer);
  }

  #read(chunk: Uint8Array): void {
    if (this.#ended) return;
    try {
      for (const line of this.#lines.push(chunk)) this.#answered(line);
    } catch {
      this.#giveUp(stopped(`because it sent a line of more than ${MAX_MESSAGE_BYTES} bytes`));
    }
  }

  #answered(line: string): void {
    const answer = readAnswer(line);
    const pending = answer === undefined ? undefined : this.#settle(answer.id);
    if (answer === undefined || pending === undefined) {
      this.#giveUp(stopped('because it sent something that is no answer'));
    } else if (answer.ok) pending.resolve(Buffer.from(answer.value, 'base64'));
    else pending.reject(new KeyError(answer.code, printable(answer.message, MAX_ERROR_LENGTH)));
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
    // A process that the library started may have the other end too.
    this.#channel?.destroy();
    this.#onEnd();
    for (const id of [...this.#pending.keys()]) this.#settle(id)?.reject(error);
    for (const next of this.#waiting) next();
  }
}

/** `why`: how it ended. */
function stopped(why: string): KeyError {
  return new KeyError('KeyUnavailable', `the PKCS#11 helper was stopped ${why}: it is restarted`);
}

/** Set in a build of several files: the one of them that is run, from here. */
declare const DCRED_ENTRY: string | undefined;

/** This program. */
function entryPoint(): string {
  if (typeof DCRED_ENTRY === 'string') return join(import.meta.dirname, DCRED_ENTRY);
  // The bundle is one file, and the sources have their own entry.
  return import.meta.filename.endsWith('.ts') ? join(import.meta.dirname, '..', '..', 'main.ts') : import.meta.filename;
}
