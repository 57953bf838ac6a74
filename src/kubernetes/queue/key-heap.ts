/**
 * Keys in the order of a number (a time, a rank), and of their arrival where it is the same: a binary heap that can find, move
 * and remove its keys. Flat columns instead of an object for each key, because a fleet's next renewals wait here for days.
 */

/** Where a key stands, and what was stored with it. */
export interface KeyHeapEntry {
  readonly key: string;
  readonly order: number;
  /** A small whole number, 0 to 255. */
  readonly tag: number;
}

const INITIAL_CAPACITY = 16;

export class KeyHeap {
  #size = 0;
  readonly #keys: string[] = [];
  #orders = new Float64Array(INITIAL_CAPACITY);
  /** Arrival: breaks ties, so that equal orders are first in, first out. */
  #arrivals = new Float64Array(INITIAL_CAPACITY);
  #tags = new Uint8Array(INITIAL_CAPACITY);
  readonly #indexes = new Map<string, number>();
  #arrival = 0;

  get size(): number {
    return this.#size;
  }

  /** The lowest order there is. */
  get next(): number | undefined {
    return this.#size === 0 ? undefined : this.#orders[0];
  }

  get(key: string): KeyHeapEntry | undefined {
    const index = this.#indexes.get(key);
    return index === undefined ? undefined : this.#entry(index);
  }

  /** Puts the key at this place, from wherever it was; one that stays at its order keeps its turn. O(log n). */
  set(key: string, order: number, tag = 0): void {
    const known = this.#indexes.get(key);
    if (known !== undefined) {
      this.#tags[known] = tag;
      if (this.#orders[known] === order) return;
      this.#orders[known] = order;
      this.#arrivals[known] = this.#arrival++;
      this.#sink(this.#rise(known));
      return;
    }
    const index = this.#size;
    this.#grow();
    this.#size += 1;
    this.#write(index, key, order, this.#arrival++, tag);
    this.#rise(index);
  }

  /** Removes and returns the first, if its order is at most this one. */
  popUntil(order: number): KeyHeapEntry | undefined {
    if (this.#size === 0 || (this.#orders[0] ?? 0) > order) return undefined;
    const first = this.#entry(0);
    this.delete(first.key);
    return first;
  }

  /** False when it was not there. O(log n). */
  delete(key: string): boolean {
    const index = this.#indexes.get(key);
    if (index === undefined) return false;
    this.#indexes.delete(key);
    const last = this.#size - 1;
    if (index !== last) this.#move(last, index);
    this.#size = last;
    this.#keys.length = last;
    if (index !== last) this.#sink(this.#rise(index));
    this.#shrink();
    return true;
  }

  clear(): void {
    this.#size = 0;
    this.#keys.length = 0;
    this.#indexes.clear();
    this.#resize(INITIAL_CAPACITY);
  }

  #entry(index: number): KeyHeapEntry {
    return { key: this.#keys[index] ?? '', order: this.#orders[index] ?? 0, tag: this.#tags[index] ?? 0 };
  }

  #write(index: number, key: string, order: number, arrival: number, tag: number): void {
    this.#keys[index] = key;
    this.#orders[index] = order;
    this.#arrivals[index] = arrival;
    this.#tags[index] = tag;
    this.#indexes.set(key, index);
  }

  #move(from: number, to: number): void {
    this.#write(to, this.#keys[from] ?? '', this.#orders[from] ?? 0, this.#arrivals[from] ?? 0, this.#tags[from] ?? 0);
  }

  #swap(a: number, b: number): void {
    const { key, order, tag } = this.#entry(a);
    const arrival = this.#arrivals[a] ?? 0;
    this.#move(b, a);
    this.#write(b, key, order, arrival, tag);
  }

  #isBefore(a: number, b: number): boolean {
    const [x = 0, y = 0] = [this.#orders[a], this.#orders[b]];
    return x < y || (x === y && (this.#arrivals[a] ?? 0) < (this.#arrivals[b] ?? 0));
  }

  #rise(start: number): number {
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.#isBefore(index, parent)) break;
      this.#swap(index, parent);
      index = parent;
    }
    return index;
  }

  #sink(start: number): void {
    for (let index = start; ; ) {
      const left = index * 2 + 1;
      if (left >= this.#size) return;
      const right = left + 1;
      const child = right < this.#size && this.#isBefore(right, left) ? right : left;
      if (!this.#isBefore(child, index)) return;
      this.#swap(child, index);
      index = child;
    }
  }

  #grow(): void {
    if (this.#size === this.#orders.length) this.#resize(this.#size * 2);
  }

  /** A wave of renewals that has passed leaves no columns of its size behind. */
  #shrink(): void {
    const capacity = this.#orders.length;
    if (capacity > INITIAL_CAPACITY && this.#size < capacity / 4) this.#resize(capacity / 2);
  }

  #resize(capacity: number): void {
    const [orders, arrivals, tags] = [this.#orders, this.#arrivals, this.#tags];
    const kept = Math.min(this.#size, capacity);
    this.#orders = new Float64Array(capacity);
    this.#arrivals = new Float64Array(capacity);
    this.#tags = new Uint8Array(capacity);
    this.#orders.set(orders.subarray(0, kept));
    this.#arrivals.set(arrivals.subarray(0, kept));
    this.#tags.set(tags.subarray(0, kept));
  }
}
