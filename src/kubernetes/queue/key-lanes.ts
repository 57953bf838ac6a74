/**
 * The keys that are ready, each once: urgent ones in the order in which they came, then background ones by rank, lowest first, and
 * in the order in which they came where the rank is the same.
 */

import { KeyHeap } from './key-heap.ts';

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
  readonly #background = new KeyHeap();

  get size(): number {
    return this.#urgent.size + this.#background.size;
  }

  /**
   * A key that waits in the background moves when it is urgent now, or to the rank that it is given now; an urgent one keeps its
   * place.
   * @param rank of the background: a credential's expiry, so that the soonest comes first; a key that waits and is added again
   *   without one keeps its own
   */
  push(key: string, lane: Lane, rank?: number): void {
    if (lane === 'urgent') {
      this.#background.delete(key);
      this.#urgent.push(key);
      return;
    }
    if (this.#urgent.has(key)) return;
    this.#background.set(key, rank ?? this.#background.get(key)?.order ?? 0);
  }

  /** @param urgentOnly the background rests */
  shift(urgentOnly = false): { readonly key: string; readonly lane: Lane } | undefined {
    const urgent = this.#urgent.shift();
    if (urgent !== undefined) return { key: urgent, lane: 'urgent' };
    if (urgentOnly) return undefined;
    const background = this.#background.popUntil(Number.POSITIVE_INFINITY);
    return background === undefined ? undefined : { key: background.key, lane: 'background' };
  }
}
