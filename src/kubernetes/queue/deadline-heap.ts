/** Keys ordered by the time at which they are due: a binary heap that can find and move its keys. */

interface Entry<V> {
  readonly key: string;
  timeMs: number;
  value: V;
  index: number;
}

export class DeadlineHeap<V> {
  readonly #heap: Entry<V>[] = [];
  readonly #entries = new Map<string, Entry<V>>();

  get size(): number {
    return this.#heap.length;
  }

  /** The earliest time there is. */
  get next(): number | undefined {
    return this.#heap[0]?.timeMs;
  }

  get(key: string): { readonly timeMs: number; readonly value: V } | undefined {
    return this.#entries.get(key);
  }

  /** Puts the key at this time, from wherever it was. O(log n). */
  set(key: string, timeMs: number, value: V): void {
    const known = this.#entries.get(key);
    if (known !== undefined) {
      known.timeMs = timeMs;
      known.value = value;
      this.#sink(this.#rise(known));
      return;
    }
    const entry = { key, timeMs, value, index: this.#heap.length };
    this.#heap.push(entry);
    this.#entries.set(key, entry);
    this.#rise(entry);
  }

  /** Removes and returns the earliest, if it is due at this time. */
  popDue(nowMs: number): { readonly key: string; readonly value: V } | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.timeMs > nowMs) return undefined;
    const last = this.#heap.pop();
    this.#entries.delete(first.key);
    if (last !== undefined && last !== first) {
      this.#place(last, 0);
      this.#sink(last);
    }
    return first;
  }

  clear(): void {
    this.#heap.length = 0;
    this.#entries.clear();
  }

  #place(entry: Entry<V>, index: number): void {
    this.#heap[index] = entry;
    entry.index = index;
  }

  #rise(entry: Entry<V>): Entry<V> {
    while (entry.index > 0) {
      const parent = this.#heap[(entry.index - 1) >> 1];
      if (parent === undefined || parent.timeMs <= entry.timeMs) break;
      const { index } = parent;
      this.#place(parent, entry.index);
      this.#place(entry, index);
    }
    return entry;
  }

  #sink(entry: Entry<V>): void {
    for (;;) {
      const left = this.#heap[entry.index * 2 + 1];
      const right = this.#heap[entry.index * 2 + 2];
      const child = right !== undefined && left !== undefined && right.timeMs < left.timeMs ? right : left;
      if (child === undefined || child.timeMs >= entry.timeMs) return;
      const { index } = child;
      this.#place(child, entry.index);
      this.#place(entry, index);
    }
  }
}
