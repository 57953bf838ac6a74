/**
 * Texts in order, and how many of them come before a given one. In chunks of bounded length, each in order: a change moves what is in
 * one chunk, a rank adds up the lengths of those before. Among 100,000 texts that is a few hundred steps, each a few nanoseconds.
 */
const MAX_CHUNK = 512;

export class RankedTexts {
  readonly #maxChunk: number;
  /** None is empty; all that is in one comes before, or equals, what is in the next. */
  readonly #chunks: string[][] = [];

  constructor(maxChunk = MAX_CHUNK) {
    this.#maxChunk = maxChunk;
  }

  add(text: string): void {
    const at = Math.min(this.#chunkFor(text), this.#chunks.length - 1);
    const chunk = this.#chunks[at];
    if (chunk === undefined) {
      this.#chunks.push([text]);
      return;
    }
    chunk.splice(lowerBound(chunk, text), 0, text);
    if (chunk.length > this.#maxChunk) this.#chunks.splice(at + 1, 0, chunk.splice(chunk.length >>> 1));
  }

  /** One of those that are equal to it, where there are several; nothing where there is none. */
  delete(text: string): void {
    const at = this.#chunkFor(text);
    const chunk = this.#chunks[at];
    if (chunk === undefined) return;
    const index = lowerBound(chunk, text);
    if (chunk[index] !== text) return;
    chunk.splice(index, 1);
    if (chunk.length === 0) this.#chunks.splice(at, 1);
  }

  /** How many come before the text, whether it is one of them or not. */
  rankOf(text: string): number {
    const at = this.#chunkFor(text);
    let rank = 0;
    for (const chunk of this.#chunks.slice(0, at)) rank += chunk.length;
    return rank + lowerBound(this.#chunks[at] ?? [], text);
  }

  /** The first chunk that ends at the text or after it. */
  #chunkFor(text: string): number {
    return partition(this.#chunks.length, (index) => (this.#chunks[index]?.at(-1) ?? '') < text);
  }
}

function lowerBound(sorted: readonly string[], text: string): number {
  return partition(sorted.length, (index) => (sorted[index] ?? '') < text);
}

/** How many of the first indexes, up to `length`, are before: all that are come first. */
function partition(length: number, isBefore: (index: number) => boolean): number {
  let [from, to] = [0, length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (isBefore(middle)) from = middle + 1;
    else to = middle;
  }
  return from;
}
