/**
 * A connection between two places that can be cut, silenced and repaired: bytes of TCP, which it does not read.
 *
 * When it is cut, both ends notice at once. When it is silent, neither does: bytes are swallowed, as by a firewall that has lost the
 * connection's state and drops its packets. New connections are accepted and swallowed too; dropped packets would not even let them
 * be established.
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

  /** Open connections are cut, and new ones are closed at once. */
  cut(): void {
    this.#state = 'cut';
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Open connections stay open and are dead from now on; so are new ones. */
  silence(): void {
    this.#state = 'silent';
    for (const socket of this.#sockets) {
      socket.unpipe();
      // The other end must not notice when one closes.
      socket.removeAllListeners('close');
      socket.removeAllListeners('end');
      this.#swallow(socket);
    }
  }

  /** New connections work again. */
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
