/**
 * Bytes that arrive in pieces and are needed as one. They take about their own size in memory, however small the pieces are: a piece that
 * is kept by itself takes a hundred bytes more, and keeps all that was read with it.
 */
const NOTHING: Buffer = Buffer.alloc(0);
const INITIAL_BYTES = 1024;

export class GrowingBytes {
  #buffer: Buffer = NOTHING;
  #length = 0;
  /** False: the buffer is the first piece itself, and nothing is written to it. */
  #isOwn = false;

  get length(): number {
    return this.#length;
  }

  /** The first piece is kept and not copied, because most often there is no other: it must not change. */
  append(piece: Uint8Array): void {
    if (this.#length === 0) {
      this.#buffer = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
      this.#isOwn = false;
    } else {
      this.#reserve(this.#length + piece.length);
      this.#buffer.set(piece, this.#length);
    }
    this.#length += piece.length;
  }

  /** All of them, and nothing is left here. */
  take(): Buffer {
    const whole = this.#buffer.subarray(0, this.#length);
    this.#buffer = NOTHING;
    this.#length = 0;
    return whole;
  }

  #reserve(needed: number): void {
    if (this.#isOwn && needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#length, INITIAL_BYTES));
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
    this.#isOwn = true;
  }
}
