/**
 * The signer's HTTPS server. Bounded in all that a stranger may send: connections, headers, bodies, time. Who is not
 * authenticated learns nothing but that.
 */
import type { X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../kubernetes/clock.ts';
import { Deadline } from '../kubernetes/deadline.ts';
import { TokenBucket } from '../kubernetes/events/token-bucket.ts';
import type { Logger } from '../kubernetes/log.ts';
import { type InServerSpan, untracedServer } from '../tracing/tracing.ts';
import type { Authenticator } from './authentication.ts';
import type { CertificateFeed } from './certificate-feed.ts';
import type { ClientConfig } from './config.ts';
import {
  CERTIFICATES_PATH,
  FOLLOW_PATH,
  MAX_BODY_BYTES,
  ProtocolError,
  parseFollowCall,
  parseSignCall,
  parseWithdrawalsCall,
  SIGN_PATH,
  WITHDRAWALS_PATH,
} from './protocol.ts';
import { OverloadedError } from './signing-queue.ts';
import type { SigningService } from './signing-service.ts';
import { GrantsUnreadableError, type Withdrawals } from './withdrawals.ts';

export interface SignerServerOptions {
  readonly address: { readonly host: string | undefined; readonly port: number };
  /** PEM. */
  readonly tls: { readonly certificatePem: string; readonly keyPem: string; readonly clientCaPem: string | undefined };
  readonly authenticator: Pick<Authenticator, 'authenticate'>;
  readonly service: Pick<SigningService, 'sign' | 'certificate'>;
  readonly feed: Pick<CertificateFeed, 'news'>;
  readonly withdrawals: Pick<Withdrawals, 'confirm'>;
  /** Why nothing can be decided yet: answered with 503. */
  readonly notReady?: () => string | undefined;
  readonly ratePerSecond: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly inServerSpan?: InServerSpan | undefined;
  /** `seconds` is undefined for calls that wait for news. */
  readonly observe?: (status: number, seconds: number | undefined) => void;
}

const MAX_CONNECTIONS = 512;
const HANDSHAKE_MS = 10_000;
const REQUEST_MS = 15_000;
/** Of a whole call, at a slow key: the caller retries. */
const SIGN_MS = 30_000;
const KEEP_ALIVE_MS = 120_000;
const MAX_HEADER_BYTES = 32 * 1024;
/** Calls of one client that wait for news of certificates: an operator has one. */
const MAX_WAITING_CALLS = 16;
/** Of all calls together: what strangers may make the process hold. */
const MAX_BYTES_IN_FLIGHT = 32 * 1024 * 1024;

/** Answered with this HTTP status and message. */
class HttpRefusal extends Error {
  override readonly name = 'HttpRefusal';
  readonly code = 'HttpRefusal';
  readonly status: number;
  readonly retryAfterSeconds: number | undefined;

  constructor(status: number, message: string, retryAfterSeconds?: number) {
    super(message);
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export class SignerServer {
  readonly #options: SignerServerOptions;
  readonly #server: Server;
  readonly #buckets = new Map<string, TokenBucket>();
  /** By the client's name. */
  readonly #waiting = new Map<string, number>();
  readonly #closing = new AbortController();
  #bytesInFlight = 0;

  constructor(options: SignerServerOptions) {
    this.#options = options;
    const { certificatePem, clientCaPem, keyPem } = options.tls;
    this.#server = createServer(
      {
        cert: certificatePem,
        key: keyPem,
        minVersion: 'TLSv1.3',
        handshakeTimeout: HANDSHAKE_MS,
        requestTimeout: REQUEST_MS,
        headersTimeout: REQUEST_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
        maxHeaderSize: MAX_HEADER_BYTES,
        // A client without a certificate may still have a token: it is turned away by the answer, not by the handshake.
        ...(clientCaPem === undefined ? {} : { requestCert: true, rejectUnauthorized: false, ca: clientCaPem }),
      },
      (request, response) => void this.#answer(request, response),
    );
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** The port in use; port 0 asks for a free one. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Rejects when the address cannot be bound. */
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

  /** For new connections. */
  use(certificatePem: string, keyPem: string): void {
    const { clientCaPem } = this.#options.tls;
    // The whole context is replaced: without its CA, no client certificate would be verified any more.
    const trust = clientCaPem === undefined ? {} : { ca: clientCaPem };
    this.#server.setSecureContext({ cert: certificatePem, key: keyPem, minVersion: 'TLSv1.3', ...trust });
  }

  /** Lets the calls that have begun end, within the time that a call may take; those that wait for news are answered at once. */
  async close(): Promise<void> {
    this.#closing.abort();
    const late = this.#options.clock.setTimeout(() => this.#server.closeAllConnections(), SIGN_MS);
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeIdleConnections();
    });
    late.cancel();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { clock, observe } = this.#options;
    const started = clock.monotonic();
    const gone = new AbortController();
    // Nobody waits for what is not signed yet: a caller that gives up and comes again must not fill the queue.
    response.once('close', () => gone.abort());
    using deadline = new Deadline(gone.signal, clock, SIGN_MS);
    try {
      const answer = Buffer.from(JSON.stringify(await this.#handle(request, deadline.signal)));
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': answer.length }).end(answer);
    } catch (error) {
      this.#refuse(error, response);
    }
    const waits = pathOf(request) === FOLLOW_PATH;
    observe?.(response.statusCode, waits ? undefined : (clock.monotonic() - started) / 1000);
  }

  async #handle(request: IncomingMessage, signal: AbortSignal): Promise<object> {
    const client = await this.#authenticate(request, signal);
    const notReady = this.#options.notReady?.();
    if (notReady !== undefined) throw new HttpRefusal(503, notReady, 1);
    const [method, path] = [request.method, pathOf(request)];
    if (method === 'GET' && path.startsWith(CERTIFICATES_PATH)) return this.#certificate(client, path);
    if (method === 'POST' && path === SIGN_PATH) {
      // Of an authenticated client: a stranger's trace is not continued.
      const { inServerSpan = untracedServer } = this.#options;
      const sign = () => this.#withBody(request, (body) => this.#sign(client, body, signal));
      return await inServerSpan(`POST ${SIGN_PATH}`, request.headers, sign);
    }
    if (method === 'POST' && path === FOLLOW_PATH) {
      return await this.#withBody(request, (body) => this.#follow(client, body, signal));
    }
    if (method === 'POST' && path === WITHDRAWALS_PATH) {
      return await this.#withBody(request, (body) => this.#withdrawn(client, body, signal));
    }
    throw new HttpRefusal(
      404,
      `expected POST ${SIGN_PATH}, POST ${FOLLOW_PATH}, POST ${WITHDRAWALS_PATH} or GET ${CERTIFICATES_PATH}NAME`,
    );
  }

  async #withBody(request: IncomingMessage, answer: (body: string) => Promise<object>): Promise<object> {
    const body = await this.#readBody(request);
    const bytes = Buffer.byteLength(body);
    try {
      return await answer(body);
    } finally {
      this.#bytesInFlight -= bytes;
    }
  }

  async #sign(client: ClientConfig, body: string, signal: AbortSignal): Promise<object> {
    const requests = parseSignCall(body);
    this.#takeRate(client, requests.length);
    return { results: await this.#options.service.sign(client, requests, signal) };
  }

  async #follow(client: ClientConfig, body: string, signal: AbortSignal): Promise<object> {
    const call = parseFollowCall(body);
    this.#takeRate(client, 1);
    const waiting = this.#waiting.get(client.name) ?? 0;
    if (waiting >= MAX_WAITING_CALLS) {
      throw new HttpRefusal(429, `client "${client.name}" has ${waiting} calls waiting for certificates already`, 1);
    }
    this.#waiting.set(client.name, waiting + 1);
    try {
      const stop = AbortSignal.any([signal, this.#closing.signal]);
      return { certificates: await this.#options.feed.news(client, call, stop) };
    } finally {
      this.#waiting.set(client.name, (this.#waiting.get(client.name) ?? 1) - 1);
    }
  }

  async #withdrawn(client: ClientConfig, body: string, signal: AbortSignal): Promise<object> {
    const uses = parseWithdrawalsCall(body);
    this.#takeRate(client, uses.length);
    return { withdrawn: await this.#options.withdrawals.confirm(client, uses, signal) };
  }

  async #authenticate(request: IncomingMessage, signal: AbortSignal): Promise<ClientConfig> {
    const { authorization } = request.headers;
    const client = await this.#options.authenticator.authenticate(
      { certificate: verifiedCertificate(request.socket as TLSSocket), authorization },
      signal,
    );
    if (client !== undefined) return client;
    throw new HttpRefusal(401, 'expected a client certificate or a service account token that the configuration names');
  }

  #certificate(client: ClientConfig, path: string): object {
    const name = path.slice(CERTIFICATES_PATH.length);
    const found = this.#options.service.certificate(client, name);
    if (found === undefined) throw new HttpRefusal(403, 'no grant allows this client to use such a certificate');
    return found;
  }

  async #readBody(request: IncomingMessage): Promise<string> {
    const chunks: Buffer[] = [];
    let size = 0;
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        size += chunk.length;
        this.#bytesInFlight += chunk.length;
        if (size > MAX_BODY_BYTES) throw new HttpRefusal(413, `expected at most ${MAX_BODY_BYTES} bytes`);
        if (this.#bytesInFlight > MAX_BYTES_IN_FLIGHT) throw new HttpRefusal(429, 'too many requests in flight', 1);
        chunks.push(chunk);
      }
      const body = Buffer.concat(chunks, size).toString();
      // Counted again by its own length, which bad UTF-8 changes: what is added here is what is taken off at the end.
      this.#bytesInFlight += Buffer.byteLength(body);
      return body;
    } finally {
      this.#bytesInFlight -= size;
    }
  }

  /** The bucket's tokens are signatures. */
  #takeRate(client: ClientConfig, count: number): void {
    const { clock, ratePerSecond } = this.#options;
    let bucket = this.#buckets.get(client.name);
    if (bucket === undefined) {
      bucket = new TokenBucket({ clock, burst: Math.max(2 * ratePerSecond, 1_000), perSecond: ratePerSecond });
      this.#buckets.set(client.name, bucket);
    }
    const waitMs = bucket.take(count);
    if (waitMs === 0) return;
    throw new HttpRefusal(
      429,
      `client "${client.name}" exceeds ${ratePerSecond} signatures a second`,
      Math.ceil(waitMs / 1000),
    );
  }

  #refuse(error: unknown, response: ServerResponse): void {
    const { log } = this.#options;
    const refusal = asRefusal(error);
    if (refusal === undefined) log.error({ err: error }, 'failed to answer a request');
    else log.debug({ status: refusal.status, detail: refusal.message }, 'refused a request');
    if (response.destroyed) return;
    if (refusal?.retryAfterSeconds !== undefined) response.setHeader('retry-after', String(refusal.retryAfterSeconds));
    // What is left of the request is not read.
    response.setHeader('connection', 'close');
    response
      .writeHead(refusal?.status ?? 503, { 'content-type': 'application/json' })
      .end(JSON.stringify(statusBody(refusal)));
  }
}

function pathOf({ url = '' }: IncomingMessage): string {
  const [path = ''] = url.split('?', 1);
  return path;
}

/** As a Kubernetes API server answers, so that one reader of errors serves a client of both. */
function statusBody(refusal: HttpRefusal | undefined): object {
  const { message, status: code } = refusal ?? { message: 'the signer cannot answer now: try again', status: 503 };
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, message };
}

function asRefusal(error: unknown): HttpRefusal | undefined {
  if (error instanceof HttpRefusal) return error;
  if (error instanceof ProtocolError) return new HttpRefusal(400, error.message);
  if (error instanceof OverloadedError) return new HttpRefusal(429, error.message, 1);
  if (error instanceof GrantsUnreadableError) return new HttpRefusal(503, error.message, 1);
  return undefined;
}

/** Only of a certificate that the client CA signed and that is valid now. */
function verifiedCertificate(socket: TLSSocket): X509Certificate | undefined {
  return socket.authorized ? socket.getPeerX509Certificate() : undefined;
}
