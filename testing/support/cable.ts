/**
 * A connection between two places that can be cut, silenced and repaired: bytes of TCP, which it does not read.
 *
 * Cut, both ends notice at once. Silent, nobody does: what is sent is swallowed, as by a firewall that has forgotten the connection and drops its
 * packets. New connections are accepted and swallowed too, where packets that are dropped would not even let them come about.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export class Cable implements AsyncDisposable {
  readonly #sockets = new Set<Socket>();
  readonly #server;
  #state: 'whole' | 'cut' | 'silent' = 'whole';
  #swallowed = 0;

  private constructor(port: number) {
    this.#server = createServer((near) => {
      if (this.#state === 'cut') return void near.destroy();
      if (this.#state === 'silent') return this.#swallow(near);
      const far = connect(port, '127.0.0.1');
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one);
        one.on('error', () => other.destroy());
        one.on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
  }

  /** From a free port to this one. */
  static async to(port: number): Promise<Cable> {
    const cable = new Cable(port);
    cable.#server.listen(0, '127.0.0.1');
    await once(cable.#server, 'listening');
    return cable;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Bytes that were sent and never arrive. */
  get swallowed(): number {
    return this.#swallowed;
  }

  /** What is connected is cut off, and nobody gets through. */
  cut(): void {
    this.#state = 'cut';
    for (const socket of this.#sockets) socket.destroy();
  }

  /** What is connected stays so, and is dead for ever; what connects now is too. */
  silence(): void {
    this.#state = 'silent';
    for (const socket of this.#sockets) {
      socket.unpipe();
      // One end that closes must not tell the other.
      socket.removeAllListeners('close');
      socket.removeAllListeners('end');
      this.#swallow(socket);
    }
  }

  /** For new connections. */
  repair(): void {
    this.#state = 'whole';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #swallow(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('data', ({ length }) => {
      this.#swallowed += length;
    });
    // Paused by `unpipe`.
    socket.resume();
  }
}
