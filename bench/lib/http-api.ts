/** Bare requests to the API server over a pool of connections: the yardstick, and how a benchmark's stage is set. */
import { Pool } from 'undici';
import { loadConnection } from '../../src/kubernetes/connection/load-connection.ts';

export class HttpApi {
  readonly #pool: Pool;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #connections: number;

  private constructor(pool: Pool, headers: Readonly<Record<string, string>>, connections: number) {
    this.#pool = pool;
    this.#headers = headers;
    this.#connections = connections;
  }

  static async connect(kubeconfig: string, connections: number): Promise<HttpApi> {
    const connection = await loadConnection({ kubeconfig, env: {} });
    const { headers, tls } = await connection.credentials();
    // One more than the workers have, for an observer's watch.
    const options = { connections: connections + 1, pipelining: 1, bodyTimeout: 0, connect: { ...tls } as object };
    return new HttpApi(new Pool(connection.server, options), { ...headers }, connections);
  }

  /** @throws Error for any answer but a success */
  async send(method: 'DELETE' | 'PATCH' | 'POST' | 'PUT', path: string, body?: string): Promise<void> {
    const contentType = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    const { body: answer, statusCode } = await this.#pool.request({
      method,
      path,
      headers: { ...this.#headers, 'content-type': contentType },
      ...(body === undefined ? {} : { body }),
    });
    if (statusCode >= 300) throw new Error(`${method} ${path}: status ${statusCode}: ${await answer.text()}`);
    await answer.dump();
  }

  async read(path: string): Promise<string> {
    const { body } = await this.#pool.request({ method: 'GET', path, headers: this.#headers });
    return await body.text();
  }

  /** The lines of a watch as they arrive, until the signal aborts. */
  async *lines(path: string, accept: string, signal: AbortSignal): AsyncGenerator<string> {
    const { body } = await this.#pool.request({
      method: 'GET',
      path,
      headers: { ...this.#headers, accept },
      signal,
    });
    let rest = '';
    for await (const chunk of body) {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
  }

  /** Calls `request` for each number below `count`, as many at once as there are connections; returns the seconds that took. */
  async times(count: number, request: (number: number) => Promise<void>): Promise<number> {
    let next = 0;
    const started = performance.now();
    const worker = async (): Promise<void> => {
      while (next < count) {
        next += 1;
        await request(next - 1);
      }
    };
    await Promise.all(Array.from({ length: this.#connections }, worker));
    return (performance.now() - started) / 1000;
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}
