/** TLS' presentation language (RFC 8446 section 3): fixed-size integers, and vectors behind their length. */
import { TlsError } from './tls-error.ts';

/** Reads a message from its beginning to its end; never past it. Every method throws TlsError `Malformed`. */
export class Reader {
  readonly #bytes: Uint8Array;
  /** The message's name, for errors. */
  readonly #what: string;
  #position = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  get remaining(): number {
    return this.#bytes.length - this.#position;
  }

  uint8(): number {
    return this.#uint(1);
  }

  uint16(): number {
    return this.#uint(2);
  }

  take(length: number): Uint8Array {
    if (length > this.remaining) throw new TlsError('Malformed', `${this.#what} is cut short`);
    const taken = this.#bytes.subarray(this.#position, this.#position + length);
    this.#position += length;
    return taken;
  }

  /** A vector whose length is an integer of `lengthBytes` bytes before it. */
  vector(lengthBytes: 1 | 2 | 3): Uint8Array {
    return this.take(this.#uint(lengthBytes));
  }

  /** A vector to read on in. */
  nested(lengthBytes: 1 | 2 | 3): Reader {
    return new Reader(this.vector(lengthBytes), this.#what);
  }

  /** Nothing may follow. */
  end(): void {
    if (this.remaining > 0) throw new TlsError('Malformed', `${this.#what} has ${this.remaining} bytes too many`);
  }

  #uint(size: number): number {
    return this.take(size).reduce((value, byte) => value * 256 + byte, 0);
  }
}

export function uint8(value: number): Uint8Array {
  return Uint8Array.of(value);
}

export function uint16(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value & 0xff);
}

function uint24(value: number): Uint8Array {
  return Uint8Array.of(value >>> 16, (value >>> 8) & 0xff, value & 0xff);
}

const LENGTH = { 1: uint8, 2: uint16, 3: uint24 } as const;

/** A vector behind its length. */
export function vector(lengthBytes: 1 | 2 | 3, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(parts);
  if (content.length >= 256 ** lengthBytes) {
    throw new RangeError(`${content.length} bytes do not fit a vector with a length of ${lengthBytes} bytes`);
  }
  return Buffer.concat([LENGTH[lengthBytes](content.length), content]);
}
