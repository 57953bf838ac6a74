/**
 * The signer's HTTPS server. Bounded in all that a stranger may send: connections, headers, bodies, time. Who is not
 * authenticated learns nothing but that.
 */
import type { X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../kubernetes/clock.ts';
import { Deadline } from '../kubernetes/deadline.ts';
import { TokenBucket } from '../kubernetes/events/token-bucket.ts';
import type { Logger } from '../kubernetes/log.ts';
import { Connections } from '../serving/connections.ts';
import { type ListenAddress, listen, portOf } from '../serving/listen.ts';
import { TIMEOUTS } from '../serving/timeouts.ts';
import { Turns } from '../serving/turns.ts';
import { type InServerSpan, untracedServer } from '../tracing/tracing.ts';
import type { Authenticator } from './authentication.ts';
import type { CertificateFeed } from './certificate-feed.ts';
import { ClientTrust } from './client-trust.ts';
import type { ClientConfig } from './config.ts';
import { HeldBytes } from './held-bytes.ts';
import { asRefusal, HttpRefusal, statusBody } from './http-refusal.ts';
import {
  CERTIFICATES_PATH,
  FOLLOW_PATH,
  parseFollowCall,
  parseSignCall,
  parseWithdrawalsCall,
  SIGN_PATH,
  WITHDRAWALS_PATH,
} from './protocol.ts';
import { RequestBodies } from './request-body.ts';
import type { SigningService } from './signing-service.ts';
import type { Withdrawals } from './withdrawals.ts';

export interface SignerServerOptions {
  readonly address: ListenAddress;
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
/** Of a whole call, at a slow key: the caller retries. */
const CALL_MS = 30_000;
/** For the client to read a whole answer. */
const READ_MS = 30_000;
const MAX_HEADER_BYTES = 32 * 1024;
/** Answers that are not read yet. The longest, news of certificates, has some 6 MiB. */
const ANSWER_BYTES = { ofAll: 32 * 1024 * 1024, ofOne: 8 * 1024 * 1024 } as const;
/** Of one client at a time: an operator has eight. */
const MAX_CALLS = 64;
/** Of those, calls that wait for news of certificates: an operator has one. */
const MAX_WAITING_CALLS = 16;
/** Counted where the client did not wait for its answer; never sent. */
const CLIENT_GONE = 499;

export class SignerServer {
  readonly #options: SignerServerOptions;
  readonly #server: Server;
  readonly #buckets = new Map<string, TokenBucket>();
  /** By the client's name. */
  readonly #calls = new Map<string, number>();
  readonly #waiting = new Map<string, number>();
  readonly #bodies: RequestBodies;
  readonly #answers = new HeldBytes(ANSWER_BYTES);
  readonly #connections = new Connections(MAX_CONNECTIONS);
  readonly #turns = new Turns();
  readonly #closing = new AbortController();
  readonly #trust: ClientTrust;
  #tls: SignerServerOptions['tls'];

  constructor(options: SignerServerOptions) {
    this.#options = options;
    this.#tls = options.tls;
    this.#bodies = new RequestBodies(options.clock);
    const { certificatePem, clientCaPem, keyPem } = options.tls;
    this.#server = createServer(
      {
        ...TIMEOUTS,
        cert: certificatePem,
        key: keyPem,
        minVersion: 'TLSv1.3',
        handshakeTimeout: HANDSHAKE_MS,
        maxHeaderSize: MAX_HEADER_BYTES,
        // A client without a certificate may still have a token: it is turned away by the answer, not by the handshake.
        ...(clientCaPem === undefined ? {} : { requestCert: true, rejectUnauthorized: false, ca: clientCaPem }),
      },
      (request, response) => void this.#answer(request, response),
    );
    this.#connections.limit(this.#server);
    this.#trust = new ClientTrust(this.#server);
  }

  /** The port in use; port 0 asks for a free one. */
  get port(): number {
    return portOf(this.#server);
  }

  /** Rejects when the address cannot be bound. */
  listen(): Promise<void> {
    return listen(this.#server, this.#options.address);
  }

  /** For new connections. Throws for a pair that does not belong together. */
  use(certificatePem: string, keyPem: string): void {
    this.#setTls({ ...this.#tls, certificatePem, keyPem });
  }

  /**
   * The CA of client certificates, in place of the one before, for new connections and for those that are kept: whoever showed a certificate
   * connects again.
   */
  trust(clientCaPem: string): void {
    this.#setTls({ ...this.#tls, clientCaPem });
    this.#trust.changed();
    this.#server.closeIdleConnections();
  }

  /** The whole context is replaced: without its CA, no client certificate would be verified any more. */
  #setTls(tls: SignerServerOptions['tls']): void {
    const { certificatePem, clientCaPem, keyPem } = tls;
    const trust = clientCaPem === undefined ? {} : { ca: clientCaPem };
    this.#server.setSecureContext({ cert: certificatePem, key: keyPem, minVersion: 'TLSv1.3', ...trust });
    this.#tls = tls;
  }

  /** Lets the calls that have begun end, within the time that a call may take; those that wait for news are answered at once. */
  async close(): Promise<void> {
    this.#closing.abort();
    const late = this.#options.clock.setTimeout(() => this.#server.closeAllConnections(), CALL_MS);
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeIdleConnections();
    });
    late.cancel();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { clock, observe } = this.#options;
    const { socket } = request;
    if (!(await this.#turns.take(socket, response))) return void socket.destroy();
    const started = clock.monotonic();
    const gone = new AbortController();
    // Nobody waits for what is not signed yet: a caller that gives up and comes again must not fill the queue.
    response.once('close', () => {
      gone.abort();
      this.#connections.end(socket);
    });
    using deadline = new Deadline(gone.signal, clock, CALL_MS);
    const status = await this.#respond(request, response, deadline);
    const waits = pathOf(request) === FOLLOW_PATH;
    observe?.(status, waits ? undefined : (clock.monotonic() - started) / 1000);
  }

  /** The status that was sent, or CLIENT_GONE. */
  async #respond(request: IncomingMessage, response: ServerResponse, deadline: Deadline): Promise<number> {
    let [status, retryAfterSeconds] = [200, undefined as number | undefined];
    let text: Buffer;
    try {
      text = await this.#handle(request, response, deadline.signal);
    } catch (error) {
      if (isGone(request)) return CLIENT_GONE;
      const refusal = deadline.expired ? new HttpRefusal(503, 'no answer in time: try again', 1) : asRefusal(error);
      const { log } = this.#options;
      if (refusal === undefined) log.error({ err: error }, 'failed to answer a request');
      else log.debug({ status: refusal.status, detail: refusal.message }, 'refused a request');
      ({ retryAfterSeconds, status } = refusal ?? { status: 503, retryAfterSeconds: undefined });
      text = Buffer.from(JSON.stringify(statusBody(refusal)));
    }
    if (isGone(request)) return CLIENT_GONE;
    // A client that still sends its body reads no answer before its end: the connection goes on, and the rest is dropped. What is too large is not read.
    if (status === 413 || this.#closing.signal.aborted || this.#trust.isOutdated(request.socket))
      response.setHeader('connection', 'close');
    else request.resume();
    if (retryAfterSeconds !== undefined) response.setHeader('retry-after', String(retryAfterSeconds));
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': text.length }).end(text);
    const unread = this.#options.clock.setTimeout(() => request.socket.destroy(), READ_MS);
    onceClosed(response, () => unread.cancel());
    return status;
  }

  /** The answer. The call ends when the client has read it, not before: until then it costs memory and a connection. */
  async #handle(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<Buffer> {
    const client = await this.#authenticate(request, signal);
    const { name } = client;
    const calls = this.#calls.get(name) ?? 0;
    if (calls >= MAX_CALLS) throw new HttpRefusal(429, `client "${name}" has ${calls} calls under way already`, 1);
    // Not before: strangers, and clients with too many calls, must not keep their places while others wait for one.
    this.#connections.begin(request.socket);
    this.#calls.set(name, calls + 1);
    onceClosed(response, () => this.#calls.set(name, (this.#calls.get(name) ?? 1) - 1));
    const answer = Buffer.from(JSON.stringify(await this.#handleOf(client, request, signal)));
    if (!this.#answers.take(name, answer.length)) {
      throw new HttpRefusal(429, 'too many answers that their clients have not read yet', 1);
    }
    onceClosed(response, () => this.#answers.release(name, answer.length));
    return answer;
  }

  async #handleOf(client: ClientConfig, request: IncomingMessage, signal: AbortSignal): Promise<object> {
    const notReady = this.#options.notReady?.();
    if (notReady !== undefined) throw new HttpRefusal(503, notReady, 1);
    const [method, path] = [request.method, pathOf(request)];
    if (method === 'GET' && path.startsWith(CERTIFICATES_PATH)) return this.#certificate(client, path);
    if (method === 'POST' && path === SIGN_PATH) {
      // Of an authenticated client: a stranger's trace is not continued.
      const { inServerSpan = untracedServer } = this.#options;
      const sign = () => this.#bodies.with(client.name, request, (body) => this.#sign(client, body, signal));
      return await inServerSpan(`POST ${SIGN_PATH}`, request.headers, sign);
    }
    if (method === 'POST' && path === FOLLOW_PATH) {
      return await this.#bodies.with(client.name, request, (body) => this.#follow(client, body, signal));
    }
    if (method === 'POST' && path === WITHDRAWALS_PATH) {
      return await this.#bodies.with(client.name, request, (body) => this.#withdrawn(client, body, signal));
    }
    throw new HttpRefusal(
      404,
      `expected POST ${SIGN_PATH}, POST ${FOLLOW_PATH}, POST ${WITHDRAWALS_PATH} or GET ${CERTIFICATES_PATH}NAME`,
    );
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
      const stop = AbortSignal.any([signal, this.#closing.signal, this.#trust.untilChanged]);
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
    const { authenticator, clock } = this.#options;
    const certificate = verifiedCertificate(request.socket as TLSSocket, clock.now());
    if (certificate !== undefined && this.#trust.isOutdated(request.socket)) {
      throw new HttpRefusal(
        503,
        'the CA of client certificates has changed since this connection began: connect again',
        1,
      );
    }
    const { remoteAddress: address = '' } = request.socket;
    const client = await authenticator.authenticate({ certificate, authorization, address }, signal);
    if (client !== undefined) return client;
    throw new HttpRefusal(401, 'expected a client certificate or a service account token that the configuration names');
  }

  #certificate(client: ClientConfig, path: string): object {
    const name = path.slice(CERTIFICATES_PATH.length);
    const found = this.#options.service.certificate(client, name);
    if (found === undefined) throw new HttpRefusal(403, 'no grant allows this client to use such a certificate');
    if (found === 'unusable') throw new HttpRefusal(503, 'the signer cannot use the certificate now: try again', 1);
    return found;
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
}

/** Calls back when the answer has left, or its connection is closed: at once where it is already. */
function onceClosed(response: ServerResponse, callback: () => void): void {
  if (response.closed) callback();
  else response.once('close', callback);
}

/** Nobody reads the answer. */
function isGone({ errored, socket }: IncomingMessage): boolean {
  return socket.destroyed || errored !== null;
}

function pathOf({ url = '' }: IncomingMessage): string {
  const [path = ''] = url.split('?', 1);
  return path;
}

/**
 * Only of a certificate that the client CA signed and that is valid now: a connection that is kept may outlive the certificate that it began with.
 */
function verifiedCertificate(socket: TLSSocket, nowMs: number): X509Certificate | undefined {
  const certificate = socket.authorized ? socket.getPeerX509Certificate() : undefined;
  return certificate !== undefined && nowMs < certificate.validToDate.getTime() ? certificate : undefined;
}
