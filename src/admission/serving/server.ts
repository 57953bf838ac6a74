/**
 * The HTTPS server that the API server calls. What it answers is passed in: it knows requests, not pods.
 *
 *   listening -> (certificate replaced, any number of times) -> draining: answers, and closes connections -> closed
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type Clock, delay } from '../../kubernetes/clock.ts';
import type { Logger } from '../../kubernetes/log.ts';

export interface Address {
  /** Undefined: every address of the host. */
  readonly host: string | undefined;
  readonly port: number;
}

/** PEM. */
export interface KeyPair {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** The answer to one review. `malformed`: the body is no review that can be answered; the message says what was expected. */
export type ReviewResult =
  | { readonly outcome: 'injected' | 'unchanged'; readonly body: string; readonly warnings: readonly string[] }
  | { readonly outcome: 'malformed'; readonly message: string };

export interface AdmissionObservation {
  /** `refused`: answered with an HTTP error. */
  readonly outcome: 'injected' | 'unchanged' | 'refused';
  readonly seconds: number;
  readonly warnings: number;
}

export interface AdmissionServerOptions {
  readonly address: Address;
  /** Answers an AdmissionReview, given and returned as JSON. */
  readonly review: (body: string) => ReviewResult;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observe?: (observation: AdmissionObservation) => void;
}

/** The path of the webhook configuration. */
export const ADMISSION_PATH = '/inject';

/**
 * An object has 1.5 MB at most where etcd's default holds; as JSON and with the frame around it, a pod stays well below this
 * (controller-runtime allows 7 MiB for two of them).
 */
const MAX_BODY_BYTES = 8 * 1024 * 1024;
/** Longer than Go's clients keep an idle connection (90 s): if this side closed first, a request in transit would be lost. */
const KEEP_ALIVE_MS = 120_000;
/** The API server waits 30 s at most. */
const REQUEST_MS = 30_000;
const TEXT = 'text/plain; charset=utf-8';

/** Answered with this HTTP status and message. */
class HttpRefusal extends Error {
  override readonly name = 'HttpRefusal';
  readonly code = 'HTTP_REFUSAL';
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
  #draining = false;

  constructor(options: AdmissionServerOptions) {
    this.#options = options;
    this.#server = createServer(
      { keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, noDelay: true },
      (request, response) => void this.#answer(request, response),
    );
  }

  /** The port in use; port 0 asks for a free one. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Rejects when the address cannot be bound. Handshakes fail until there is a certificate. */
  listen(): Promise<void> {
    const { host, port } = this.#options.address;
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
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
    const { clock, observe, review } = this.#options;
    const started = clock.monotonic();
    if (this.#draining) response.setHeader('connection', 'close');
    let observed: Pick<AdmissionObservation, 'outcome' | 'warnings'>;
    try {
      assertAnswerable(request);
      const result = review(await readBody(request));
      if (result.outcome === 'malformed') throw new HttpRefusal(400, result.message);
      const { body, outcome, warnings } = result;
      response
        .writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
        .end(body);
      observed = { outcome, warnings: warnings.length };
    } catch (error) {
      this.#refuse(error, response);
      observed = { outcome: 'refused', warnings: 0 };
    }
    observe?.({ ...observed, seconds: (clock.monotonic() - started) / 1000 });
  }

  #refuse(error: unknown, response: ServerResponse): void {
    const { log } = this.#options;
    if (!(error instanceof HttpRefusal)) {
      log.error({ err: error }, 'failed to answer an admission request');
      if (!response.destroyed) response.writeHead(500, { 'content-type': TEXT }).end('internal error\n');
      return;
    }
    const { final, message, status } = error;
    log.debug({ status, detail: message }, 'refused a request');
    if (response.destroyed) return;
    if (final) response.setHeader('connection', 'close');
    response.writeHead(status, { 'content-type': TEXT }).end(`${message}\n`);
  }
}

/** Checks everything but the body. */
function assertAnswerable({ headers, method, url = '/' }: IncomingMessage): void {
  // The API server adds a query of its own (`?timeout=10s`).
  const [path = ''] = url.split('?', 1);
  if (path !== ADMISSION_PATH) throw new HttpRefusal(404, `not found: the webhook's path is ${ADMISSION_PATH}`, true);
  if (method !== 'POST') throw new HttpRefusal(405, `expected POST, found ${method}`, true);
  const type = (headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/json') throw new HttpRefusal(415, 'expected content of type application/json', true);
  if (Number(headers['content-length'] ?? 0) > MAX_BODY_BYTES) throw tooLarge();
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size).toString();
}

function tooLarge(): HttpRefusal {
  return new HttpRefusal(413, `expected at most ${MAX_BODY_BYTES} bytes`, true);
}
