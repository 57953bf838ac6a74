/**
 * A limit for open connections. At the limit a new one replaces an idle one, so that idle connections of others never keep the API
 * server out: first one that has sent no request yet, else the one that has been idle longest.
 */
import type { Server } from 'node:net';

export interface ClientConnection {
  /** Address and port of the other side, which are the same below and above TLS. */
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  destroy(): unknown;
  once(event: 'close', listener: () => void): unknown;
}

interface State {
  readonly connection: ClientConnection;
  isUsed: boolean;
  isBusy: boolean;
}

export class Connections {
  readonly #limit: number;
  /** In the order of their last use. */
  readonly #open = new Map<string, State>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Counts the connections that this server accepts. */
  limit(server: Pick<Server, 'maxConnections' | 'on'>): void {
    // Behind this limit, which decides which one is closed.
    server.maxConnections = 2 * this.#limit;
    server.on('connection', (socket) => this.add(socket));
  }

  get size(): number {
    return this.#open.size;
  }

  /** A connection was accepted. It is closed at once where all others are busy. */
  add(connection: ClientConnection): void {
    const key = keyOf(connection);
    const replaced = this.#open.size < this.#limit ? undefined : this.#idle();
    if (this.#open.size >= this.#limit && replaced === undefined) {
      connection.destroy();
      return;
    }
    if (replaced !== undefined) {
      this.#open.delete(keyOf(replaced));
      replaced.destroy();
    }
    const state = { connection, isUsed: false, isBusy: false };
    this.#open.set(key, state);
    connection.once('close', () => {
      if (this.#open.get(key) === state) this.#open.delete(key);
    });
  }

  /** A request is answered from now on; the one before it has ended. Until then its connection counts as idle: anybody can begin a request. */
  begin(connection: ClientConnection): void {
    const state = this.#open.get(keyOf(connection));
    if (state === undefined) return;
    state.isUsed = true;
    state.isBusy = true;
  }

  end(connection: ClientConnection): void {
    const key = keyOf(connection);
    const state = this.#open.get(key);
    if (state === undefined) return;
    state.isBusy = false;
    this.#open.delete(key);
    this.#open.set(key, state);
  }

  #idle(): ClientConnection | undefined {
    let idle: State | undefined;
    for (const state of this.#open.values()) {
      if (state.isBusy) continue;
      if (!state.isUsed) return state.connection;
      idle ??= state;
    }
    return idle?.connection;
  }
}

function keyOf({ remoteAddress, remotePort }: ClientConnection): string {
  return `${remoteAddress} ${remotePort}`;
}
