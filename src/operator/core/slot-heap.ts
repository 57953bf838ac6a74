/**
 * The lowest of the numbers that slots hold now: a binary heap over small whole numbers, which can move and remove them. Flat
 * columns, sixteen bytes a slot. Every change is O(log n).
 */

const NOWHERE = 0xffff_ffff;
const INITIAL_CAPACITY = 4;

export class SlotHeap {
  #size = 0;
  /** Place in the heap to slot, and slot to its place. */
  #slots = new Uint32Array(INITIAL_CAPACITY);
  #places = new Uint32Array(INITIAL_CAPACITY).fill(NOWHERE);
  /** By slot. */
  #numbers = new Float64Array(INITIAL_CAPACITY);

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
    const [slots, places, numbers] = [this.#slots, this.#places, this.#numbers];
    this.#slots = new Uint32Array(capacity);
    this.#places = new Uint32Array(capacity).fill(NOWHERE);
    this.#numbers = new Float64Array(capacity);
    this.#slots.set(slots);
    this.#places.set(places);
    this.#numbers.set(numbers);
  }
}
