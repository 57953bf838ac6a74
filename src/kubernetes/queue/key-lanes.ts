/** The keys that are ready, in the order they came, urgent ones before background ones; each key once. */

export type Lane = 'urgent' | 'background';

/**
 * First in, first out over a Set, by an iterator that stays: what it has passed is deleted and what is added comes after it. A
 * new iterator for every take would step over the deleted ones again and again.
 */
class KeyFifo {
  readonly #keys = new Set<string>();
  #cursor = this.#keys.values();

  get size(): number {
    return this.#keys.size;
  }

  push(key: string): void {
    this.#keys.add(key);
  }

  has(key: string): boolean {
    return this.#keys.has(key);
  }

  delete(key: string): boolean {
    return this.#keys.delete(key);
  }

  shift(): string | undefined {
    if (this.#keys.size === 0) return undefined;
    let next = this.#cursor.next();
    if (next.done) {
      // An iterator that has once reached the end stays there.
      this.#cursor = this.#keys.values();
      next = this.#cursor.next();
    }
    if (next.value !== undefined) this.#keys.delete(next.value);
    return next.value;
  }
}

export class KeyLanes {
  readonly #urgent = new KeyFifo();
  readonly #background = new KeyFifo();

  get size(): number {
    return this.#urgent.size + this.#background.size;
  }

  /** A key that waits keeps its place, but for one that waits in the background and is urgent now. */
  push(key: string, lane: Lane): void {
    if (lane === 'background') {
      if (!this.#urgent.has(key)) this.#background.push(key);
      return;
    }
    this.#background.delete(key);
    this.#urgent.push(key);
  }

  shift(): { readonly key: string; readonly lane: Lane } | undefined {
    const urgent = this.#urgent.shift();
    if (urgent !== undefined) return { key: urgent, lane: 'urgent' };
    const background = this.#background.shift();
    return background === undefined ? undefined : { key: background, lane: 'background' };
  }
}
