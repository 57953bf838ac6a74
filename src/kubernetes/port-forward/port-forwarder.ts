/**
 * Connections to the ports of pods, by way of the API server, for where pods cannot be reached directly. The oldest of the WebSocket
 * protocols: every API server passes it on to the kubelet, and every kubelet and container runtime speaks it. Newer ones
 * (`SPDY/3.1+portforward.k8s.io`) carry many ports over one connection, which nobody needs here, at the price of a second framing.
 *
 * @example
 * const forwarder = new PortForwarder(connection, { userAgent: 'example/1', randomBytes });
 * const stream = await forwarder.connect({ namespace: 'edge', pod: 'web-0', port: 8443 }, signal);
 */
import { createHash } from 'node:crypto';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import type { ApiError } from '../api-error.ts';
import { errorOfStatus, networkError } from '../client/status-error.ts';
import type { Connection, ConnectionCredentials } from '../connection/connection.ts';
import { untilAborted } from '../deadline.ts';
import { PODS, resourcePath } from '../resource-type.ts';
import { ForwardedStream } from './forwarded-stream.ts';

export interface PodPort {
  readonly namespace: string;
  readonly pod: string;
  readonly port: number;
}

export interface PortForwarderOptions {
  readonly userAgent: string;
  readonly randomBytes: (length: number) => Uint8Array;
}

const PROTOCOL = 'v4.channel.k8s.io';
/** RFC 6455 section 1.3. */
const ACCEPT_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const MAX_ERROR_BODY_BYTES = 64 * 1024;

export class PortForwarder {
  readonly #connection: Connection;
  readonly #options: PortForwarderOptions;
  #agent: { readonly tls: ConnectionCredentials['tls']; readonly agent: HttpAgent } | undefined;

  constructor(connection: Connection, options: PortForwarderOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /**
   * A stream to that port. One that nothing listens on is reported by the stream, as a PortForwardError.
   * @throws ApiError when the API server or the kubelet refuses (Forbidden, NotFound), or cannot be reached; the signal's reason
   */
  async connect(target: PodPort, signal: AbortSignal): Promise<Duplex> {
    const credentials = await untilAborted(this.#connection.credentials(), signal);
    const first = await this.#upgrade(target, credentials, signal);
    if (!('refusal' in first)) return first.stream;
    if (first.refusal.status !== 401) throw first.refusal;
    const fresh = await untilAborted(this.#connection.credentials(credentials), signal);
    if (fresh === credentials) throw first.refusal;
    const second = await this.#upgrade(target, fresh, signal);
    if ('refusal' in second) throw second.refusal;
    return second.stream;
  }

  /** Connections that are open stay so. */
  close(): void {
    this.#agent?.agent.destroy();
  }

  async #upgrade(target: PodPort, credentials: ConnectionCredentials, signal: AbortSignal): Promise<Upgrade> {
    const { namespace, pod, port } = target;
    const what = `port-forward pods ${namespace}/${pod} port ${port}`;
    const url = new URL(this.#connection.server);
    const path = resourcePath(PODS, { namespace, name: pod, subresource: 'portforward' });
    const key = Buffer.from(this.#options.randomBytes(16)).toString('base64');
    const options: RequestOptions = {
      agent: this.#agentFor(url, credentials.tls),
      path: `${url.pathname === '/' ? '' : url.pathname}${path}?ports=${port}`,
      headers: {
        ...credentials.headers,
        'user-agent': this.#options.userAgent,
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': key,
        'sec-websocket-protocol': PROTOCOL,
      },
      signal,
    };
    try {
      const answer = await send(url, options);
      if (answer.socket === undefined) return { refusal: await refusalOf(what, answer.response) };
      const problem = checkAnswer(answer.response, key);
      if (problem !== undefined) {
        answer.socket.destroy();
        throw new Error(problem);
      }
      return { stream: new ForwardedStream(answer.socket, answer.head, this.#options.randomBytes) };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw networkError(what, error);
    }
  }

  /** One agent for each set of credentials: it resumes TLS sessions, which saves the API server most of a handshake. */
  #agentFor(url: URL, tls: ConnectionCredentials['tls']): HttpAgent {
    if (this.#agent?.tls === tls) return this.#agent.agent;
    const agent = url.protocol === 'http:' ? new HttpAgent() : new HttpsAgent({ ...tls, keepAlive: false });
    this.#agent = { tls, agent };
    return agent;
  }
}

type Upgrade = { readonly stream: ForwardedStream } | { readonly refusal: ApiError };

type Answer =
  | { readonly response: IncomingMessage; readonly socket: Duplex; readonly head: Buffer }
  | { readonly response: IncomingMessage; readonly socket: undefined };

function send(url: URL, options: RequestOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'http:' ? httpRequest : httpsRequest)(url, options);
    request.on('upgrade', (response, socket, head) => {
      // The signal is for the request; the stream has its own reader.
      socket.on('error', () => {});
      resolve({ response, socket, head });
    });
    request.on('response', (response) => resolve({ response, socket: undefined }));
    request.on('error', reject);
    request.end();
  });
}

function checkAnswer({ headers }: IncomingMessage, key: string): string | undefined {
  const expected = createHash('sha1')
    .update(key + ACCEPT_GUID)
    .digest('base64');
  if (headers['sec-websocket-accept'] !== expected) return 'expected a WebSocket, found another answer';
  if (headers['sec-websocket-protocol'] === PROTOCOL) return undefined;
  return `expected the protocol ${PROTOCOL}, found none that is known; is there a proxy in between?`;
}

async function refusalOf(what: string, response: IncomingMessage): Promise<ApiError> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_ERROR_BODY_BYTES) break;
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  return errorOfStatus(what, parsed(text), response.statusCode ?? 500);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
