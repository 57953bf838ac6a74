/**
 * One forwarded port as a stream, over a WebSocket that speaks `v4.channel.k8s.io`: each message begins with a channel, 0 for the
 * data and 1 for the error; the first message of each holds the port, and nothing else. The protocol has no half-close.
 */
import { Duplex } from 'node:stream';
import { boundedMessage } from '../client/status-error.ts';
import { encodeFrame, MessageReader, OPCODE, WebSocketError } from './frames.ts';

const CHANNEL = { data: 0, error: 1 } as const;
/** Kubelet and container runtime write one sentence. */
const MAX_ERROR_BYTES = 4096;

/** The port cannot be reached in the pod; the message is the container runtime's. */
class PortForwardError extends Error {
  override readonly name = 'PortForwardError';
  readonly code = 'PortForward';
}

export class ForwardedStream extends Duplex {
  readonly #socket: Duplex;
  readonly #randomBytes: (length: number) => Uint8Array;
  readonly #reader = new MessageReader();
  readonly #opened = new Set<number>();
  #error = '';
  /** The server has sent its last message: what comes behind is none (RFC 6455 section 5.5.1). */
  #closed = false;
  /** The last ping that is not answered yet. Only one answer waits to be written: the other side may send, and read nothing. */
  #ping: Uint8Array | undefined;
  #answering = false;

  /** `head`: what came behind the answer to the upgrade. */
  constructor(socket: Duplex, head: Uint8Array, randomBytes: (length: number) => Uint8Array) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    this.#randomBytes = randomBytes;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.#end());
    if (head.length > 0) this.#receive(head);
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#send(OPCODE.binary, Buffer.concat([Uint8Array.of(CHANNEL.data), chunk]), callback);
  }

  override _final(callback: () => void): void {
    this.#send(OPCODE.close, new Uint8Array(0), () => {
      this.#socket.end();
      callback();
    });
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#socket.destroy();
    callback(error);
  }

  #send(opcode: number, payload: Uint8Array, callback: (error?: Error | null) => void): void {
    this.#socket.write(encodeFrame(opcode, payload, this.#randomBytes(4)), callback);
  }

  #receive(bytes: Uint8Array): void {
    if (this.destroyed || this.#closed) return;
    try {
      for (const { opcode, payload } of this.#reader.push(bytes)) if (!this.#closed) this.#handle(opcode, payload);
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  #handle(opcode: number, payload: Uint8Array): void {
    switch (opcode) {
      case OPCODE.ping:
        this.#ping = payload;
        if (!this.#answering) this.#answer();
        break;
      case OPCODE.close:
        this.#closed = true;
        this.#end();
        break;
      case OPCODE.binary:
        this.#deliver(payload);
        break;
    }
  }

  /** RFC 6455 section 5.5.3: of pings that come faster than they are answered, the last is enough. */
  #answer(): void {
    const payload = this.#ping;
    this.#ping = undefined;
    this.#answering = payload !== undefined;
    if (payload !== undefined) this.#send(OPCODE.pong, payload, () => this.#answer());
  }

  #deliver(payload: Uint8Array): void {
    const [channel] = payload;
    if (channel !== CHANNEL.data && channel !== CHANNEL.error) {
      throw new WebSocketError(`channel ${channel} is unknown`);
    }
    const isFirst = !this.#opened.has(channel);
    this.#opened.add(channel);
    const content = payload.subarray(isFirst ? 3 : 1);
    if (content.length === 0) return;
    if (channel === CHANNEL.error) this.#refuse(content);
    else if (!this.push(content)) this.#socket.pause();
  }

  #refuse(content: Uint8Array): void {
    this.#error = (this.#error + Buffer.from(content).toString('utf8')).slice(0, MAX_ERROR_BYTES);
    this.destroy(new PortForwardError(boundedMessage(this.#error.trim())));
  }

  #end(): void {
    if (!this.readableEnded && !this.destroyed) this.push(null);
  }
}
