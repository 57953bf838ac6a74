/** One request at a time on a connection: the next one's turn comes when the answer to the one before has left. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export class Turns {
  /** The last response on each connection. */
  readonly #responses = new WeakMap<Socket, ServerResponse>();

  /**
   * False: sent before the request in front of it is answered (HTTP pipelining), which no client of dcred's servers does. One that has
   * read its answer may well send the next request before this side is notified that the answer has left: that one waits until it is.
   */
  async take(socket: Socket, response: ServerResponse): Promise<boolean> {
    const before = this.#responses.get(socket);
    this.#responses.set(socket, response);
    if (before === undefined || before.closed) return true;
    if (!before.writableEnded) return false;
    await once(before, 'close');
    return !socket.destroyed;
  }
}
