/** Clients for tests, and a fake API server that misbehaves on demand. */

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import type { ApiClientOptions } from '../../src/kubernetes/client/api-types.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import type { Connection, ConnectionCredentials } from '../../src/kubernetes/connection/connection.ts';
import { loadConnection } from '../../src/kubernetes/connection/load-connection.ts';

const DEFAULTS: ApiClientOptions = {
  userAgent: 'engine-test',
  fieldManager: 'engine-test',
  clock: systemClock,
  random: Math.random,
};

export function clientOver(connection: Connection, options: Partial<ApiClientOptions> = {}): ApiClient {
  return new ApiClient(connection, { ...DEFAULTS, ...options });
}

/** A client for what a kubeconfig names. */
export async function clientFor(kubeconfig: string, options: Partial<ApiClientOptions> = {}): Promise<ApiClient> {
  return clientOver(await loadConnection({ kubeconfig, env: {} }), options);
}

export interface FakeRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export type FakeHandler = (request: FakeRequest, response: ServerResponse) => void | Promise<void>;

/** A fake: each request gets the next handler of the test; the last one stays. */
export class FakeApiServer implements AsyncDisposable {
  readonly requests: FakeRequest[] = [];
  /**
   * The version in a list with a limit of 1, by which a reflector checks which version the server is at; such a list uses no handler and
   * does not count as a request. Undefined: it is a request like any other.
   */
  currentVersion: string | undefined = '';
  readonly #server: Server;
  readonly #handlers: FakeHandler[];
  readonly #waiting = new Set<() => void>();

  private constructor(handlers: readonly FakeHandler[]) {
    this.#handlers = [...handlers];
    this.#server = createServer((message, response) => void this.#answer(message, response));
  }

  static async start(...handlers: readonly FakeHandler[]): Promise<FakeApiServer> {
    const fake = new FakeApiServer(handlers);
    fake.#server.listen(0, '127.0.0.1');
    await once(fake.#server, 'listening');
    return fake;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}`;
  }

  client(options: Partial<ApiClientOptions> = {}): ApiClient {
    return clientOver(this.connection(), options);
  }

  /** A connection whose tokens are these, each used until the server refuses it. */
  connection(tokens: readonly string[] = ['token']): Connection {
    const all = tokens.map(
      (token): ConnectionCredentials => ({ headers: { authorization: `Bearer ${token}` }, tls: {} }),
    );
    let index = 0;
    return {
      server: this.url,
      defaultNamespace: 'default',
      credentials: async (rejected) => {
        if (rejected !== undefined && rejected === all[index] && index + 1 < all.length) index += 1;
        const current = all[index];
        if (current === undefined) throw new TypeError('expected a token');
        return current;
      },
    };
  }

  /** Resolves once this many requests have arrived, each with its whole body. */
  received(count: number): Promise<void> {
    return new Promise((resolve) => {
      const check = (): void => {
        if (this.requests.length < count) return;
        this.#waiting.delete(check);
        resolve();
      };
      this.#waiting.add(check);
      check();
    });
  }

  /** Cuts all its connections. */
  cutAll(): void {
    this.#server.closeAllConnections();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of message) chunks.push(chunk as Buffer);
    } catch {
      // The client has given up.
      return;
    }
    const url = new URL(message.url ?? '/', 'http://fake');
    const { method = '', headers } = message;
    const body = Buffer.concat(chunks).toString();
    const request = { method, path: url.pathname, query: url.searchParams, headers, body };
    const isCheck = request.query.get('limit') === '1' && !request.query.has('continue');
    if (isCheck && this.currentVersion !== undefined) {
      await json(200, { metadata: { resourceVersion: this.currentVersion }, items: [] })(request, response);
      return;
    }
    this.requests.push(request);
    for (const check of this.#waiting) check();
    const handler = this.#handlers.length > 1 ? this.#handlers.shift() : this.#handlers[0];
    await handler?.(request, response);
  }
}

export function json(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): FakeHandler {
  return (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(body));
  };
}

export function refusal(status: number, reason: string, headers: Readonly<Record<string, string>> = {}): FakeHandler {
  return json(status, { kind: 'Status', status: 'Failure', code: status, reason, message: `fake ${reason}` }, headers);
}

/** Writes the pieces one by one, then ends, is cut, or falls silent. */
export function stream(pieces: readonly (string | Uint8Array)[], then: 'end' | 'cut' | 'silence'): FakeHandler {
  return async (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    for (const piece of pieces) {
      await new Promise((resolve) => response.write(piece, resolve));
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (then === 'end') response.end();
    if (then === 'cut') response.destroy();
  };
}

export const silence: FakeHandler = () => {};
export const cut: FakeHandler = (_request, response) => void response.destroy();
