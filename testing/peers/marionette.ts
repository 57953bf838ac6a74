import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/**
 * Firefox's own remote control, as far as a test needs it: one TCP connection, each message its length in bytes, a colon, and
 * JSON. A command is `[0, id, name, parameters]`, its answer `[1, id, error, result]`. Source: Firefox, `remote/marionette`
 * (`packets.sys.mjs`, `message.sys.mjs`).
 */

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

interface Failure {
  readonly error: string;
  readonly message: string;
}

/** Firefox refused a command; `code` is WebDriver's name for why, such as `insecure certificate`. */
export class MarionetteError extends Error {
  override readonly name = 'MarionetteError';
  readonly code: string;

  constructor(command: string, code: string, message: string) {
    super(`${command}: ${code}: ${message}`);
    this.code = code;
  }
}

export class Marionette {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting & { readonly command: string }>();
  #received = Buffer.alloc(0);
  #lastId = 0;

  static async connect(port: number, signal?: AbortSignal): Promise<Marionette> {
    const socket = connect({ host: '127.0.0.1', port });
    await once(socket, 'connect', signal === undefined ? {} : { signal });
    const client = new Marionette(socket);
    // Firefox speaks first, and says which protocol it speaks.
    await client.#hello();
    return client;
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Rejects with MarionetteError where Firefox refuses. */
  async send(command: string, parameters: object = {}): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#lastId += 1;
    this.#waiting.set(this.#lastId, { command, resolve, reject });
    const body = Buffer.from(JSON.stringify([0, this.#lastId, command, parameters]));
    this.#socket.write(Buffer.concat([Buffer.from(`${body.length}:`), body]));
    return promise;
  }

  close(): void {
    this.#socket.destroy();
  }

  #hello(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let greeted = false;
    this.#socket.on('data', (chunk: Buffer) => {
      for (const message of this.#messages(chunk)) {
        if (greeted) this.#settle(message as readonly [number, number, Failure | null, unknown]);
        else if ((message as { marionetteProtocol?: number }).marionetteProtocol === 3) resolve();
        else reject(new MarionetteError('connect', 'protocol', `expected protocol 3, got ${JSON.stringify(message)}`));
        greeted = true;
      }
    });
    this.#socket.once('close', () => {
      const ended = (command: string) => new MarionetteError(command, 'closed', 'Firefox ended the connection');
      reject(ended('connect'));
      for (const { command, reject: rejectOne } of this.#waiting.values()) rejectOne(ended(command));
      this.#waiting.clear();
    });
    this.#socket.on('error', () => {}); // 'close' follows, and rejects every pending call
    return promise;
  }

  *#messages(chunk: Buffer): Generator<unknown> {
    this.#received = Buffer.concat([this.#received, chunk]);
    for (;;) {
      const colon = this.#received.indexOf(':');
      const end = colon + 1 + Number(this.#received.subarray(0, Math.max(colon, 0)).toString('latin1'));
      if (colon < 0 || this.#received.length < end) return;
      const body = this.#received.subarray(colon + 1, end).toString();
      this.#received = this.#received.subarray(end);
      yield JSON.parse(body);
    }
  }

  #settle([, id, failure, result]: readonly [number, number, Failure | null, unknown]): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    if (failure === null) waiting.resolve(result);
    else waiting.reject(new MarionetteError(waiting.command, failure.error, failure.message));
  }
}
