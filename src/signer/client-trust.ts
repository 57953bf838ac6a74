/**
 * Which connections began before the CA of client certificates was replaced. TLS verifies a client certificate once, when the connection
 * begins: what it says of an older connection is by a CA that may not count any more.
 */
import type { Server, Socket } from 'node:net';

/** Address and port of the other side, which are the same below and above TLS. */
interface Connection {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}

export class ClientTrust {
  /** Of connections that are open: how often the CA had changed when each began. */
  readonly #began = new Map<string, { readonly changes: number }>();
  #changes = 0;
  #changed = new AbortController();

  constructor(server: Pick<Server, 'on'>) {
    // The accepted connection, not the finished handshake: that may end after a change, by the CA that was there when it began.
    server.on('connection', (socket: Socket) => {
      const key = keyOf(socket);
      const began = { changes: this.#changes };
      this.#began.set(key, began);
      socket.once('close', () => {
        if (this.#began.get(key) === began) this.#began.delete(key);
      });
    });
  }

  /** Aborts when the CA is replaced. */
  get untilChanged(): AbortSignal {
    return this.#changed.signal;
  }

  isOutdated(socket: Connection): boolean {
    return this.#began.get(keyOf(socket))?.changes !== this.#changes;
  }

  /** New connections are verified by another CA from now on. */
  changed(): void {
    this.#changes += 1;
    this.#changed.abort();
    this.#changed = new AbortController();
  }
}

function keyOf({ remoteAddress, remotePort }: Connection): string {
  return `${remoteAddress} ${remotePort}`;
}
