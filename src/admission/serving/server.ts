/**
 * The HTTPS server that the API server calls. What it answers is passed in: it knows requests, not pods.
 *
 *   listening -> (certificate replaced, any number of times) -> draining: answers, and closes connections -> closed
 *
 * Anything in the pod network can connect, and nobody has to authenticate. So everything is limited: connections, bytes in flight,
 * the size and complexity of a body, and the time for a handshake and for a request from its headers on.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { type Clock, delay } from '../../kubernetes/clock.ts';
import type { Logger } from '../../kubernetes/log.ts';
import { Connections } from '../../serving/connections.ts';
import { type ListenAddress, listen, portOf } from '../../serving/listen.ts';
import { TIMEOUTS } from '../../serving/timeouts.ts';
import { Turns } from '../../serving/turns.ts';
import { type InServerSpan, untracedServer } from '../../tracing/tracing.ts';
import { type BodyLimits, BodyReader, BodyTooLargeError, BodyTooSlowError } from './body.ts';
import { ByteBudget, type Share } from './byte-budget.ts';
import { isCheapJson } from './json-bounds.ts';

/** PEM. */
export interface KeyPair {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** The answer to one review. `malformed`: the body is no review that can be answered; the message says what was expected. */
export type ReviewResult =
  | { readonly outcome: 'injected' | 'unchanged'; readonly body: string; readonly warnings: readonly string[] }
  | { readonly outcome: 'malformed'; readonly message: string };

export interface ReviewCall {
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal;
  /** In which the API server has to have the answer; undefined where it does not say. */
  readonly timeoutMs: number | undefined;
}

/** Answers AdmissionReviews, given and returned as JSON. */
export interface Reviewer {
  review(body: string, call: ReviewCall): Promise<ReviewResult>;
  /** Answers one that is too large or too complex to be parsed, by the first bytes of its body. */
  reviewUnread(beginning: string): ReviewResult;
}

export interface AdmissionObservation {
  /** `refused`: answered with an HTTP error. */
  readonly outcome: 'injected' | 'unchanged' | 'refused';
  readonly seconds: number;
  readonly warnings: number;
}

export interface AdmissionServerOptions {
  readonly address: ListenAddress;
  readonly reviewer: Reviewer;
  readonly clock: Clock;
  readonly log: Logger;
  readonly inServerSpan?: InServerSpan | undefined;
  readonly observe?: (observation: AdmissionObservation) => void;
}

/** The path of the webhook configuration. */
export const ADMISSION_PATH = '/inject';

/** The API server takes objects of 3 MiB; defaults make one larger. Such a pod is allowed without being read. */
const BODY_LIMITS: BodyLimits = {
  maxSmallBytes: 64 * 1024,
  maxBytes: 3 * 1024 * 1024,
  maxReceivedBytes: 24 * 1024 * 1024,
  maxLargeBodies: 2,
};
/** Of small bodies and of responses. */
const MAX_BYTES_IN_FLIGHT = 8 * 1024 * 1024;
/** Each costs some 60 kB with TLS. The API server's instances use a few dozen. */
const MAX_CONNECTIONS = 256;
const MAX_HEADER_BYTES = 8 * 1024;
const HANDSHAKE_MS = 5_000;
/** From the headers until the response has been sent. The API server gives up after `timeoutSeconds`, 5 in the chart. */
const REQUEST_MS = 10_000;
const TEXT = 'text/plain; charset=utf-8';

/** Answered with this HTTP status and message. */
class HttpRefusal extends Error {
  override readonly name = 'HttpRefusal';
  readonly code = 'HttpRefusal';
  readonly status: number;
  /** Closes the connection: the rest of the request is not read. */
  readonly final: boolean;

  constructor(status: number, message: string, final = false) {
    super(message);
    this.status = status;
    this.final = final;
  }
}

export class AdmissionServer {
  readonly #options: AdmissionServerOptions;
  readonly #server: Server;
  readonly #budget = new ByteBudget(MAX_BYTES_IN_FLIGHT);
  readonly #bodies: BodyReader;
  readonly #connections = new Connections(MAX_CONNECTIONS);
  readonly #turns = new Turns();
  #draining = false;

  constructor(options: AdmissionServerOptions) {
    this.#options = options;
    this.#bodies = new BodyReader(BODY_LIMITS, options.clock);
    this.#server = createServer(
      {
        ...TIMEOUTS,
        handshakeTimeout: HANDSHAKE_MS,
        maxHeaderSize: MAX_HEADER_BYTES,
        noDelay: true,
      },
      (request, response) => void this.#answer(request, response),
    );
    this.#connections.limit(this.#server);
  }

  /** The port in use; port 0 asks for a free one. */
  get port(): number {
    return portOf(this.#server);
  }

  /** Rejects when the address cannot be bound. Handshakes fail until there is a certificate. */
  listen(): Promise<void> {
    return listen(this.#server, this.#options.address);
  }

  /** Serves this certificate on new connections. Open ones continue: a certificate matters in the handshake only. */
  use({ certificatePem, keyPem }: KeyPair): void {
    this.#server.setSecureContext({ cert: certificatePem, key: keyPem });
  }

  /**
   * Answers for another `graceMs` with `Connection: close`: endpoints take a moment to be removed. Then finishes the requests in
   * flight, for `graceMs` at most, and closes.
   */
  async drain(graceMs: number): Promise<void> {
    const { clock } = this.#options;
    this.#draining = true;
    await delay(clock, graceMs, new AbortController().signal);
    const late = clock.setTimeout(() => this.#server.closeAllConnections(), Math.max(graceMs, 1_000));
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    late.cancel();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { clock, observe } = this.#options;
    const { socket } = request;
    if (!(await this.#turns.take(socket, response))) return void socket.destroy();
    const started = clock.monotonic();
    if (this.#draining) response.setHeader('connection', 'close');
    const gone = new AbortController();
    const share = this.#budget.open(() => socket.destroy());
    const timer = clock.setTimeout(() => socket.destroy(), REQUEST_MS);
    response.once('close', () => {
      timer.cancel();
      share.release();
      gone.abort();
      this.#connections.end(socket);
    });
    const observed = await this.#respond(request, response, share, gone.signal);
    observe?.({ ...observed, seconds: (clock.monotonic() - started) / 1000 });
  }

  async #respond(
    request: IncomingMessage,
    response: ServerResponse,
    share: Share,
    signal: AbortSignal,
  ): Promise<Pick<AdmissionObservation, 'outcome' | 'warnings'>> {
    try {
      assertAnswerable(request);
      const { inServerSpan = untracedServer } = this.#options;
      const review = () => this.#review(request, share, signal);
      const result = await inServerSpan('admission review', request.headers, review);
      if (result.outcome === 'malformed') throw new HttpRefusal(400, result.message);
      const { body, outcome, warnings } = result;
      const length = Buffer.byteLength(body);
      share.hold(length);
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': length }).end(body);
      return { outcome, warnings: warnings.length };
    } catch (error) {
      this.#refuse(error, response);
      return { outcome: 'refused', warnings: 0 };
    }
  }

  async #review(request: IncomingMessage, share: Share, signal: AbortSignal): Promise<ReviewResult> {
    const { reviewer } = this.#options;
    const read = await this.#bodies.read(request as AsyncIterable<Buffer>, share, (body) => {
      if (body.kind === 'unread') return body;
      if (isCheapJson(body.bytes)) return { kind: 'text', text: body.bytes.toString() } as const;
      return { kind: 'unread', beginning: body.bytes.toString('latin1', 0, 1024) } as const;
    });
    // Not before: a body that never ends must not keep its place while others wait for one.
    this.#connections.begin(request.socket);
    if (read.kind === 'unread') return reviewer.reviewUnread(read.beginning);
    return await reviewer.review(read.text, { signal, timeoutMs: timeoutOf(request.url) });
  }

  #refuse(error: unknown, response: ServerResponse): void {
    const { log } = this.#options;
    // The client is gone, or was cut off.
    if (response.destroyed) return;
    const refusal = refusalOf(error);
    if (!(refusal instanceof HttpRefusal)) {
      log.error({ err: refusal }, 'failed to answer an admission request');
      response.writeHead(500, { 'content-type': TEXT }).end('internal error\n');
      return;
    }
    const { final, message, status } = refusal;
    log.debug({ status, detail: message }, 'refused a request');
    if (final) response.setHeader('connection', 'close');
    response.writeHead(status, { 'content-type': TEXT }).end(`${message}\n`);
  }
}

function refusalOf(error: unknown): unknown {
  if (error instanceof BodyTooLargeError) return new HttpRefusal(413, error.message, true);
  if (error instanceof BodyTooSlowError) return new HttpRefusal(503, error.message, true);
  return error;
}

/** The API server adds a query of its own, in whole seconds: `?timeout=10s`. It waits for 30 at most. */
function timeoutOf(url = ''): number | undefined {
  const [, seconds] = /[?&]timeout=([1-9]\d?)s(?:&|$)/.exec(url) ?? [];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

/** Checks everything but the body. */
function assertAnswerable({ headers, method, url = '/' }: IncomingMessage): void {
  const [path = ''] = url.split('?', 1);
  if (path !== ADMISSION_PATH) throw new HttpRefusal(404, `not found: the webhook's path is ${ADMISSION_PATH}`, true);
  if (method !== 'POST') throw new HttpRefusal(405, `expected POST, found ${method}`, true);
  const type = (headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/json') throw new HttpRefusal(415, 'expected content of type application/json', true);
  if (Number(headers['content-length'] ?? 0) > BODY_LIMITS.maxReceivedBytes)
    throw new HttpRefusal(413, `expected at most ${BODY_LIMITS.maxReceivedBytes} bytes`, true);
}
