/** Connections to the API server: a pool for calls, and connections of their own for watches. */

import { createSecureContext } from 'node:tls';
import type { Pool } from 'undici';
import UndiciPool from 'undici/lib/dispatcher/pool.js';
import type { Connection, ConnectionCredentials, ConnectionTls } from '../connection/connection.ts';

/** Lists are paged, objects end at etcd's 1.5 MB: an answer beyond this is no answer to anything that was asked. */
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
/** Below the minute after which cloud load balancers silently drop a connection, and Go's server its idle ones. */
const KEEP_ALIVE_MS = 30_000;

export interface Pools {
  readonly calls: Pool;
  /** As many connections as there are watches: each holds one for minutes. */
  readonly watches: Pool;
}

export class Transport {
  readonly #connection: Connection;
  readonly #connections: number;
  #pools: Pools | undefined;
  #tls: ConnectionTls | undefined;
  #closed = false;
  /** Prefix of every path, where the API server is not at the root of its host. */
  readonly basePath: string;
  readonly #origin: string;

  constructor(connection: Connection, connections: number) {
    this.#connection = connection;
    this.#connections = connections;
    const url = new URL(connection.server);
    this.#origin = url.origin;
    this.basePath = url.pathname.replace(/\/+$/, '');
  }

  credentials(rejected?: ConnectionCredentials): Promise<ConnectionCredentials> {
    return this.#connection.credentials(rejected);
  }

  /** A client certificate belongs to a connection, so new ones need new connections; the old finish what they are doing. */
  pools(tls: ConnectionTls): Pools {
    if (this.#closed) throw new TypeError('the client is closed');
    if (this.#pools !== undefined && this.#tls === tls) return this.#pools;
    const before = this.#pools;
    // Once, and not for each of the connections that a burst opens: measured, a third of what 30 pods cost that come at once.
    const secureContext = createSecureContext(tls);
    const connect = { ...tls, secureContext, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
    this.#tls = tls;
    this.#pools = { calls: this.#pool(connect, this.#connections), watches: this.#pool(connect, null) };
    if (before !== undefined) void Promise.allSettled([before.calls.close(), before.watches.close()]);
    return this.#pools;
  }

  /** Cuts what is still open; whoever waits for it gets a Network error. */
  async close(): Promise<void> {
    this.#closed = true;
    const pools = this.#pools;
    this.#pools = undefined;
    if (pools !== undefined) await Promise.allSettled([pools.calls.destroy(), pools.watches.destroy()]);
  }

  #pool(connect: object, connections: number | null): Pool {
    return new UndiciPool(this.#origin, {
      connections,
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: KEEP_ALIVE_MS,
      // The client's own clock does the timing.
      headersTimeout: 0,
      bodyTimeout: 0,
      ...(connections !== null && { maxResponseSize: MAX_RESPONSE_BYTES }),
      connect,
    });
  }
}
