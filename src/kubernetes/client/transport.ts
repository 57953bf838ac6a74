/** Connections to the API server: a pool for calls, connections of their own for watches, and two kept for vital calls. */

import { createSecureContext } from 'node:tls';
import type { Pool } from 'undici';
import UndiciPool from 'undici/lib/dispatcher/pool.js';
import { trimEndWhile } from '../../text/trim.ts';
import type { Connection, ConnectionCredentials, ConnectionTls } from '../connection/connection.ts';

/** etcd stores no object above 1.5 MB, and lists are paged: a page that is too large is listed again in smaller ones. */
const MAX_RESPONSE_BYTES = 16 * 1024 * 1024;
/** A renewal of a lease, and the next one while the first hangs. */
const RESERVED_CONNECTIONS = 2;
/** Below the minute after which cloud load balancers silently drop a connection, and Go's server its idle ones. */
const KEEP_ALIVE_MS = 30_000;

export interface Pools {
  readonly calls: Pool;
  /** As many connections as there are watches: each holds one for minutes. */
  readonly watches: Pool;
  /** For calls that must never wait behind others: lease renewals. */
  readonly reserved: Pool;
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
    this.basePath = trimEndWhile(url.pathname, (character) => character === '/');
  }

  credentials(rejected?: ConnectionCredentials): Promise<ConnectionCredentials> {
    return this.#connection.credentials(rejected);
  }

  /** A client certificate belongs to a connection, so new ones need new connections; calls on the old ones finish. */
  pools(tls: ConnectionTls): Pools {
    if (this.#closed) throw new TypeError('the client is closed');
    if (this.#pools !== undefined && this.#tls === tls) return this.#pools;
    const before = this.#pools;
    // Once, and not for each of the connections that a burst opens: measured: a third of the cost of 30 pods that come at once.
    const secureContext = createSecureContext(tls);
    const connect = { ...tls, secureContext, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
    this.#tls = tls;
    this.#pools = {
      calls: this.#pool(connect, this.#connections),
      watches: this.#pool(connect, null),
      reserved: this.#pool(connect, RESERVED_CONNECTIONS),
    };
    if (before !== undefined) retire(before);
    return this.#pools;
  }

  /** Calls go over new connections from now on: those there are may lead nowhere, and nothing tells. Calls on them finish, or time out. */
  renew(): void {
    const pools = this.#pools;
    this.#pools = undefined;
    if (pools !== undefined) retire(pools);
  }

  /** Cuts what is still open; who waits for it gets a Network error. */
  async close(): Promise<void> {
    this.#closed = true;
    const pools = this.#pools;
    this.#pools = undefined;
    if (pools === undefined) return;
    await Promise.allSettled(Object.values(pools).map((pool: Pool) => pool.destroy()));
  }

  #pool(connect: object, connections: number | null): Pool {
    return new UndiciPool(this.#origin, {
      connections,
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: KEEP_ALIVE_MS,
      // Whatever the server offers by its header Keep-Alive: Node's offers two minutes.
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      // The client's own clock does the timing.
      headersTimeout: 0,
      bodyTimeout: 0,
      ...(connections !== null && { maxResponseSize: MAX_RESPONSE_BYTES }),
      connect,
    });
  }
}

function retire(pools: Pools): void {
  void Promise.allSettled(Object.values(pools).map((pool: Pool) => pool.close()));
}
