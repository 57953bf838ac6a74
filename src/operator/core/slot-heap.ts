/**
 * The lowest of the numbers that slots hold now: a binary heap over small whole numbers, which can move and remove them. Flat
 * columns, sixteen bytes a slot. Every change is O(log n).
 */

const NOWHERE = 0xffff_ffff;
/** Most resources have a few pods. A typed array costs 300 bytes however short it is; for more slots than this it is the smaller one. */
const MAX_SHORT = 16;

type Column = number[] | Uint32Array | Float64Array;

export class SlotHeap {
  #size = 0;
  /** Place in the heap to slot, and slot to its place. */
  #slots: Column = [];
  #places: Column = [];
  /** By slot. */
  #numbers: Column = [];

  get size(): number {
    return this.#size;
  }

  get lowest(): number | undefined {
    return this.#size === 0 ? undefined : this.#numbers[this.#slot(0)];
  }

  get lowestSlot(): number | undefined {
    return this.#size === 0 ? undefined : this.#slots[0];
  }

  get(slot: number): number | undefined {
    return this.#place(slot) === NOWHERE ? undefined : this.#numbers[slot];
  }

  /** Undefined: the slot holds none. */
  set(slot: number, number: number | undefined): void {
    if (number === undefined) {
      this.#delete(slot);
      return;
    }
    this.#grow(slot);
    this.#numbers[slot] = number;
    let place = this.#place(slot);
    if (place === NOWHERE) {
      place = this.#size;
      this.#size += 1;
      this.#put(place, slot);
    }
    this.#sink(this.#rise(place));
  }

  #delete(slot: number): void {
    const place = this.#place(slot);
    if (place === NOWHERE) return;
    this.#places[slot] = NOWHERE;
    this.#size -= 1;
    if (place === this.#size) return;
    this.#put(place, this.#slot(this.#size));
    this.#sink(this.#rise(place));
  }

  #slot(place: number): number {
    return this.#slots[place] ?? 0;
  }

  #place(slot: number): number {
    return this.#places[slot] ?? NOWHERE;
  }

  #number(place: number): number {
    return this.#numbers[this.#slot(place)] ?? 0;
  }

  #put(place: number, slot: number): void {
    this.#slots[place] = slot;
    this.#places[slot] = place;
  }

  #swap(a: number, b: number): void {
    const slot = this.#slot(a);
    this.#put(a, this.#slot(b));
    this.#put(b, slot);
  }

  #rise(start: number): number {
    let place = start;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (this.#number(parent) <= this.#number(place)) break;
      this.#swap(place, parent);
      place = parent;
    }
    return place;
  }

  #sink(start: number): void {
    for (let place = start; ; ) {
      const left = place * 2 + 1;
      if (left >= this.#size) return;
      const right = left + 1;
      const child = right < this.#size && this.#number(right) < this.#number(left) ? right : left;
      if (this.#number(place) <= this.#number(child)) return;
      this.#swap(child, place);
      place = child;
    }
  }

  #grow(slot: number): void {
    if (slot < this.#numbers.length) return;
    const capacity = Math.max(slot + 1, this.#numbers.length * 2);
    const isShort = capacity <= MAX_SHORT;
    const grown = (from: Column, to: Column): Column => {
      for (let index = 0; index < from.length; index += 1) to[index] = from[index] ?? 0;
      return to;
    };
    const whole = () => (isShort ? new Array<number>(capacity) : new Uint32Array(capacity));
    this.#slots = grown(this.#slots, whole().fill(0));
    this.#places = grown(this.#places, whole().fill(NOWHERE));
    this.#numbers = grown(this.#numbers, isShort ? new Array<number>(capacity).fill(0) : new Float64Array(capacity));
  }
}
