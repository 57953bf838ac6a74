/** Cuts a stream of bytes into the JSON texts that stand on its lines. */

import { ApiError } from './api-error.ts';
import { GrowingBytes } from './growing-bytes.ts';

const NEWLINE = 0x0a;

export class JsonLines {
  readonly #from: string;
  readonly #maxLineBytes: number;
  /** The line that has not ended yet. */
  readonly #line = new GrowingBytes();

  /** `from`: what sends them, for the error. */
  constructor(from: string, maxLineBytes: number) {
    this.#from = from;
    this.#maxLineBytes = maxLineBytes;
  }

  /** Bytes of a line that has begun and not ended: none after a clean end. */
  get pending(): number {
    return this.#line.length;
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
    if (this.#line.length + piece.length > this.#maxLineBytes) {
      throw new ApiError(
        `expected lines of at most ${this.#maxLineBytes} bytes from ${this.#from}, found a longer one`,
        {
          status: 0,
          reason: 'InvalidResponse',
        },
      );
    }
    this.#line.append(piece);
  }

  #take(): string {
    return this.#line.take().toString('utf8').trim();
  }
}
