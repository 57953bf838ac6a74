/**
 * Stands between one operator and the API server, TLS on both sides, and does to requests and watches what networks and
 * API servers do. Killing it is what the cluster sees of an operator's SIGKILL: from that moment nothing of it arrives.
 */
import { once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { Agent, createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type Authority, createAuthority } from '../../testing/controlplane/certificates.ts';
import type { ControlPlane } from '../../testing/controlplane/control-plane.ts';
import { type Exchange, ExchangeNames } from './exchange.ts';
import { initialEvents, isStreamingList, type PastView } from './past-view.ts';
import { type WatchFaults, WatchPipe } from './watch-pipe.ts';

export type Fault =
  /** Nothing reaches the API server. */
  | { readonly kind: 'reset' }
  /** The API server carries it out, and the answer is lost. */
  | { readonly kind: 'lose-answer' }
  /** It reaches the API server, and no answer ever comes. */
  | { readonly kind: 'stall' }
  | { readonly kind: 'delay'; readonly ms: number }
  | { readonly kind: 'answer'; readonly status: number; readonly reason: string; readonly retryAfterSeconds?: number }
  /** The answer is cut in the middle. */
  | { readonly kind: 'cut-answer' }
  | ({ readonly kind: 'watch' } & WatchFaults);

export interface Rule {
  readonly when: (exchange: Exchange) => boolean;
  readonly fault: Fault;
  /** How many requests it applies to. Default: 1. */
  readonly times?: number;
}

export interface ProxyOptions {
  readonly plane: Pick<ControlPlane, 'url' | 'certificateAuthority'>;
  readonly tls: ProxyTls;
  readonly rules?: readonly Rule[];
  /** Called before a request goes to the API server. */
  readonly before?: (exchange: Exchange) => void;
  /** Called when the API server has answered, before any of the answer is passed on. */
  readonly after?: (exchange: Exchange) => void;
  /** Called when a watch has begun, before any of it is passed on. */
  readonly onWatch?: (watch: WatchPipe) => void;
  /** Lists and watches are served as they were at a version, until it is released. */
  readonly past?: PastView;
  /** Added to the Date of every answer, to agree with an operator whose clock is off by as much. */
  readonly dateOffsetMs?: () => number;
}

/** A certificate for 127.0.0.1 and the CA that its clients trust. Made once, because it takes milliseconds. */
export interface ProxyTls {
  readonly authority: Authority;
  readonly certificate: string;
  readonly key: string;
}

export async function createProxyTls(): Promise<ProxyTls> {
  const authority = await createAuthority(new Date());
  return { authority, ...(await authority.issueServer(['127.0.0.1', 'localhost'])) };
}

interface CountedRule extends Rule {
  left: number;
}

export class FaultProxy implements AsyncDisposable {
  readonly journal: Exchange[] = [];
  readonly #options: ProxyOptions;
  readonly #server: Server;
  readonly #agent: Agent;
  readonly #names = new ExchangeNames();
  readonly #rules: CountedRule[];
  readonly #watches = new Set<WatchPipe>();
  readonly #host: string;
  #dead = false;
  #inFlight = 0;
  #lastActivityMs = performance.now();

  private constructor(options: ProxyOptions) {
    this.#options = options;
    this.#rules = (options.rules ?? []).map((rule) => ({ ...rule, left: rule.times ?? 1 }));
    this.#host = new URL(options.plane.url).host;
    this.#agent = new Agent({ ca: options.plane.certificateAuthority, keepAlive: true });
    const { certificate: cert, key } = options.tls;
    this.#server = createServer({ cert, key }, (message, response) => void this.#serve(message, response));
  }

  static async start(options: ProxyOptions): Promise<FaultProxy> {
    const proxy = new FaultProxy(options);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The watches that are open now. */
  get watches(): readonly WatchPipe[] {
    return [...this.#watches].filter((watch) => watch.isOpen);
  }

  get isDead(): boolean {
    return this.#dead;
  }

  /** For how long no request but watches was in flight, in milliseconds. */
  get quietMs(): number {
    return this.#inFlight > 0 ? 0 : performance.now() - this.#lastActivityMs;
  }

  addRule(rule: Rule): void {
    this.#rules.push({ ...rule, left: rule.times ?? 1 });
  }

  /** From now on nothing comes through, in either direction. */
  kill(): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#server.close();
    this.#server.closeAllConnections();
    this.#agent.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, 'close') : undefined;
    this.kill();
    await closed;
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const exchange = this.#names.identify(message);
    this.journal.push(exchange);
    const isCall = exchange.verb !== 'watch';
    if (isCall) this.#inFlight += 1;
    this.#lastActivityMs = performance.now();
    try {
      await this.#handle(exchange, message, response);
    } catch {
      // The API server or the client is gone: either way there is no answer.
      response.destroy();
    } finally {
      if (isCall) this.#inFlight -= 1;
      this.#lastActivityMs = performance.now();
    }
  }

  async #handle(exchange: Exchange, message: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await bodyOf(message);
    this.#options.before?.(exchange);
    if (this.#dead) return;
    const fault = this.#faultFor(exchange);
    if (fault?.kind === 'reset') return void response.destroy();
    if (fault?.kind === 'answer') return answer(exchange, response, fault);
    if (fault?.kind === 'delay') await new Promise((resolve) => setTimeout(resolve, fault.ms));
    const send = (path: string, accept = message.headers.accept ?? '') =>
      this.#forward(message.method ?? 'GET', path, { ...message.headers, accept, host: this.#host }, body);
    const url = message.url ?? '/';
    const { past } = this.#options;
    const isPast = past !== undefined && !past.isReleased;
    const isList = isPast && isStreamingList(exchange);
    const initial = isList ? await initialEvents(past, url, message.headers.accept ?? '', send) : [];
    const upstream = await send(
      isList ? past.watchPath(url) : isPast && exchange.verb === 'list' ? past.listPath(url) : url,
    );
    exchange.status = upstream.statusCode ?? 0;
    if (exchange.verb === 'watch' && exchange.status === 200) {
      const pipe = this.#pipe(exchange, upstream, response, fault);
      for (const event of initial) pipe.push(`${event}\n`);
      if (isPast) past.hold(pipe);
      return feed(pipe, upstream, response);
    }
    const text = await bodyOf(upstream);
    this.#options.after?.(exchange);
    if (this.#dead || fault?.kind === 'stall') return;
    if (fault?.kind === 'lose-answer') return void response.destroy();
    response.writeHead(exchange.status, this.#headersOf(upstream.headers, text.length));
    if (fault?.kind !== 'cut-answer') return void response.end(text);
    response.write(text.subarray(0, text.length / 2), () => response.destroy());
  }

  #faultFor(exchange: Exchange): Fault | undefined {
    const rule = this.#rules.find(({ left, when }) => left > 0 && when(exchange));
    if (rule === undefined) return undefined;
    rule.left -= 1;
    return rule.fault;
  }

  #forward(method: string, path: string, headers: IncomingHttpHeaders, body: Buffer): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const sent = request(new URL(path, this.#options.plane.url), { method, headers, agent: this.#agent }, resolve);
      sent.once('error', reject);
      sent.end(body);
    });
  }

  #pipe(
    exchange: Exchange,
    { headers, statusCode = 200 }: IncomingMessage,
    response: ServerResponse,
    fault: Fault | undefined,
  ): WatchPipe {
    this.#options.after?.(exchange);
    const pipe = new WatchPipe(exchange, response, fault?.kind === 'watch' ? fault : {});
    this.#watches.add(pipe);
    this.#options.onWatch?.(pipe);
    response.once('close', () => this.#watches.delete(pipe));
    if (this.#dead || fault?.kind === 'stall') return pipe;
    response.writeHead(statusCode, this.#headersOf(headers));
    response.flushHeaders();
    return pipe;
  }

  #headersOf(headers: IncomingHttpHeaders, length?: number): Record<string, string | string[]> {
    const { connection: _, 'content-length': __, 'transfer-encoding': ___, ...kept } = headers;
    const shifted = this.#options.dateOffsetMs?.() ?? 0;
    return {
      ...(kept as Record<string, string>),
      ...(length === undefined ? {} : { 'content-length': String(length) }),
      date: new Date(Date.now() + shifted).toUTCString(),
    };
  }
}

/** Feeds what the API server sends into the pipe, for as long as the client is connected. */
function feed(pipe: WatchPipe, upstream: IncomingMessage, response: ServerResponse): void {
  upstream.setEncoding('utf8');
  upstream.on('data', (chunk: string) => pipe.push(chunk));
  upstream.once('end', () => pipe.end());
  upstream.once('error', () => pipe.cut());
  response.once('close', () => upstream.destroy());
}

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function answer(
  exchange: Exchange,
  response: ServerResponse,
  { reason, retryAfterSeconds, status }: Extract<Fault, { kind: 'answer' }>,
): void {
  exchange.status = status;
  const retry = retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) };
  response.writeHead(status, { 'content-type': 'application/json', ...retry });
  const message = 'injected by the test';
  response.end(JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code: status, reason, message }));
}
