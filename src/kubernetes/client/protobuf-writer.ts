/** Writes Protocol Buffers messages (protobuf.dev, "Encoding"): the parts of the wire format that Kubernetes' objects need. */

const LENGTH_DELIMITED = 2;
/** A continuation bit and seven bits of the number in each byte. */
const MORE = 0x80;
/** An issued Secret takes 4 to 9 KB. */
const INITIAL_BYTES = 8 * 1024;

export class ProtobufWriter {
  #buffer: Buffer<ArrayBuffer> = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  #length = 0;

  /** What was written, without a copy: the writer is not used after that. */
  finish(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** A lone half of a surrogate pair becomes U+FFFD, as in the API server's JSON decoder. */
  text(field: number, text: string): void {
    this.#head(field, Buffer.byteLength(text));
    this.#length += this.#buffer.write(text, this.#length, 'utf8');
  }

  /** Bytes that are given as base64; false, and nothing written, where that is not how their base64 is spelled. */
  base64(field: number, text: string): boolean {
    const size = Buffer.byteLength(text, 'base64');
    const before = this.#length;
    this.#head(field, size);
    const start = this.#length;
    this.#length += this.#buffer.write(text, start, 'base64');
    if (this.#buffer.toString('base64', start, this.#length) === text && this.#length === start + size) return true;
    this.#length = before;
    return false;
  }

  flag(field: number, value: boolean): void {
    this.#reserve(MAX_HEAD_BYTES);
    this.#varint(field << 3);
    this.#varint(value ? 1 : 0);
  }

  /** What `content` writes, as one field. Its length comes first and is known last: it moves up by the length's own bytes. */
  message(field: number, content: () => void): void {
    this.#reserve(MAX_HEAD_BYTES);
    this.#varint((field << 3) | LENGTH_DELIMITED);
    const start = this.#length;
    content();
    const size = this.#length - start;
    const shift = varintSize(size);
    this.#reserve(shift);
    this.#buffer.copyWithin(start + shift, start, this.#length);
    this.#length = start;
    this.#varint(size);
    this.#length = start + shift + size;
  }

  #head(field: number, size: number): void {
    this.#reserve(MAX_HEAD_BYTES + size);
    this.#varint((field << 3) | LENGTH_DELIMITED);
    this.#varint(size);
  }

  #varint(value: number): void {
    let rest = value;
    while (rest >= MORE) {
      this.#buffer[this.#length++] = (rest & (MORE - 1)) | MORE;
      rest >>>= 7;
    }
    this.#buffer[this.#length++] = rest;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#buffer.length));
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
  }
}

/** Two numbers below 2^32. */
const MAX_HEAD_BYTES = 10;

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= MORE; rest >>>= 7) size += 1;
  return size;
}
