/** Cuts a stream of bytes into the JSON texts that stand on its lines. */

import { ApiError } from '../api-error.ts';

const NEWLINE = 0x0a;
/** etcd stores no object above 1.5 MB, unless configured to; its JSON with managed fields is a small multiple. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;

export class JsonLines {
  readonly #maxLineBytes: number;
  /** Pieces of the line that has not ended yet. Joined once, when it does: a long line in small pieces costs its length. */
  #pieces: Uint8Array[] = [];
  #length = 0;

  constructor(maxLineBytes: number = MAX_LINE_BYTES) {
    this.#maxLineBytes = maxLineBytes;
  }

  /** Bytes of a line that has begun and not ended: none after a clean end. */
  get pending(): number {
    return this.#length;
  }

  /**
   * The lines that end in this chunk, without empty ones. Decoded only when whole, so a character may be cut anywhere.
   * @throws ApiError (InvalidResponse) for a line that is too long
   */
  push(chunk: Uint8Array): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      this.#append(chunk.subarray(start, end));
      const line = this.#take();
      if (line !== '') lines.push(line);
      start = end + 1;
    }
    if (start < chunk.length) this.#append(chunk.subarray(start));
    return lines;
  }

  #append(piece: Uint8Array): void {
    this.#length += piece.length;
    if (this.#length > this.#maxLineBytes) {
      throw new ApiError(`expected lines of at most ${this.#maxLineBytes} bytes from a watch, found a longer one`, {
        status: 0,
        reason: 'InvalidResponse',
      });
    }
    this.#pieces.push(piece);
  }

  #take(): string {
    const [only] = this.#pieces;
    const whole = this.#pieces.length === 1 && only !== undefined ? only : Buffer.concat(this.#pieces, this.#length);
    this.#pieces = [];
    this.#length = 0;
    return Buffer.from(whole.buffer, whole.byteOffset, whole.byteLength).toString('utf8').trim();
  }
}
