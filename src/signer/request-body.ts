/** Reads the bodies of calls. What all of them, and those of one client, may make the process hold is bounded. */
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../kubernetes/clock.ts';
import { HeldBytes } from './held-bytes.ts';
import { HttpRefusal } from './http-refusal.ts';
import { MAX_BODY_BYTES } from './protocol.ts';

/** Of all calls together. */
const MAX_BYTES_IN_FLIGHT = 32 * 1024 * 1024;
/** An operator has eight calls at a time at most. */
const MAX_BYTES_OF_ONE = 8 * MAX_BODY_BYTES;
/** For a whole body. */
const BODY_MS = 15_000;

export class RequestBodies {
  readonly #clock: Pick<Clock, 'setTimeout'>;
  readonly #held = new HeldBytes({ ofAll: MAX_BYTES_IN_FLIGHT, ofOne: MAX_BYTES_OF_ONE });

  constructor(clock: Pick<Clock, 'setTimeout'>) {
    this.#clock = clock;
  }

  /** What `use` returns for the body. Throws HttpRefusal where it is too large, or too many bytes are held, and what `use` throws. */
  async with<T>(client: string, request: IncomingMessage, use: (body: string) => Promise<T>): Promise<T> {
    const chunks: Buffer[] = [];
    let size = 0;
    const late = this.#clock.setTimeout(() => request.socket.destroy(), BODY_MS);
    try {
      // Who is refused in the middle gets an answer: leaving the loop must not end the connection.
      for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        const { length } = chunk;
        if (size + length > MAX_BODY_BYTES) throw new HttpRefusal(413, `expected at most ${MAX_BODY_BYTES} bytes`);
        if (!this.#held.take(client, length)) throw new HttpRefusal(429, 'too many requests in flight', 1);
        size += length;
        chunks.push(chunk);
      }
      late.cancel();
      return await use(Buffer.concat(chunks.splice(0), size).toString());
    } finally {
      late.cancel();
      this.#held.release(client, size);
    }
  }
}
