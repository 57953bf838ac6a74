/**
 * How the answer to a request is received: whole, for calls, or as a stream, for watches. undici's own `request` makes a stream for
 * every answer, and hears its end by an AbortSignal: more work than a small answer is.
 */
import type { Dispatcher, Pool } from 'undici';
import undiciRequest from 'undici/lib/api/api-request.js';
import type { Deadline } from '../deadline.ts';
import { GrowingBytes } from '../growing-bytes.ts';

export interface Answer {
  readonly statusCode: number;
  readonly headers: Dispatcher.ResponseData['headers'];
}

export interface WholeAnswer extends Answer {
  readonly text: string;
}

/** Called when the head of the answer is there. */
type OnHead = (headers: Answer['headers']) => void;

export interface Receiver<A extends Answer> {
  /** @throws whatever undici does */
  readonly send: (pool: Pool, options: Dispatcher.RequestOptions, deadline: Deadline, onHead: OnHead) => Promise<A>;
  /** Its body, where it is no success: the beginning of it, at least MAX_ERROR_BODY_BYTES. */
  readonly errorText: (answer: A) => Promise<string>;
}

/** A Status is a few hundred bytes; a proxy's page is read no further than this. */
const MAX_ERROR_BODY_BYTES = 256 * 1024;

export function isSuccess({ statusCode }: Pick<Answer, 'statusCode'>): boolean {
  return statusCode >= 200 && statusCode < 300;
}

/** A success has more bytes than its caller reads. */
export class AnswerTooLargeError extends Error {
  readonly code = 'AnswerTooLarge';
  override readonly name = 'AnswerTooLargeError';
  readonly maxBytes: number;

  constructor(maxBytes: number) {
    super(`expected at most ${maxBytes} bytes`);
    this.maxBytes = maxBytes;
  }
}

/** @param maxBytes of a success, by default what the pool reads; a larger one ends in AnswerTooLargeError */
export function whole(maxBytes = Number.POSITIVE_INFINITY): Receiver<WholeAnswer> {
  return {
    send: (pool, options, deadline, onHead) =>
      new Promise((resolve, reject) => {
        if (deadline.ended) reject(deadline.reason);
        else pool.dispatch(options, new WholeHandler(maxBytes, deadline, onHead, resolve, reject));
      }),
    errorText: async ({ text }) => text,
  };
}

export const STREAMED: Receiver<Dispatcher.ResponseData> = {
  send: async (pool, options, deadline, onHead) => {
    const answer = await undiciRequest.call(pool, { ...options, signal: deadline.signal });
    onHead(answer.headers);
    return answer;
  },
  errorText: ({ body }) => readBounded(body),
};

/** Settles once, whatever comes after. */
class WholeHandler implements Dispatcher.DispatchHandler {
  readonly #maxBytes: number;
  readonly #deadline: Deadline;
  readonly #onHead: OnHead;
  readonly #resolve: (answer: WholeAnswer) => void;
  readonly #reject: (error: unknown) => void;
  readonly #body = new GrowingBytes();
  #settled = false;
  #controller: Dispatcher.DispatchController | undefined;
  #statusCode = 0;
  #headers: Answer['headers'] = {};

  constructor(
    maxBytes: number,
    deadline: Deadline,
    onHead: OnHead,
    resolve: (answer: WholeAnswer) => void,
    reject: (error: unknown) => void,
  ) {
    this.#maxBytes = maxBytes;
    this.#deadline = deadline;
    this.#onHead = onHead;
    this.#resolve = resolve;
    this.#reject = reject;
    deadline.onEnd = () => {
      const { reason } = deadline;
      // A request that waits for a connection hears of it when it gets one: see onRequestStart.
      this.#controller?.abort(reason instanceof Error ? reason : new Error('aborted', { cause: reason }));
      this.#settle(() => reject(reason));
    };
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // Also before a request is sent again, because its connection was closed before it was used.
    this.#controller = controller;
    if (this.#deadline.ended) controller.abort(new Error('the request has ended'));
  }

  onResponseStart(_: Dispatcher.DispatchController, statusCode: number, headers: Answer['headers']): void {
    this.#statusCode = statusCode;
    this.#headers = headers;
    this.#onHead(headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#body.append(chunk);
    if (isSuccess({ statusCode: this.#statusCode })) {
      if (this.#body.length > this.#maxBytes) this.#giveUp(controller, new AnswerTooLargeError(this.#maxBytes));
      return;
    }
    if (this.#body.length < MAX_ERROR_BODY_BYTES) return;
    this.#finish();
    controller.abort(new Error('the rest of a refusal is not read'));
  }

  onResponseEnd(): void {
    this.#finish();
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#settle(() => this.#reject(error));
  }

  #giveUp(controller: Dispatcher.DispatchController, error: Error): void {
    this.#body.take();
    this.#settle(() => this.#reject(error));
    controller.abort(error);
  }

  /** The deadline is the next request's then. */
  #settle(how: () => void): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#deadline.onEnd = undefined;
    how();
  }

  #finish(): void {
    const text = this.#body.take().toString('utf8');
    this.#settle(() => this.#resolve({ statusCode: this.#statusCode, headers: this.#headers, text }));
  }
}

async function readBounded(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > MAX_ERROR_BODY_BYTES) break; // Leaving the loop ends the stream, and with it the connection.
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
