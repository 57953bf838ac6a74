/** An in-memory table of objects by key, with indexes that are kept as objects come and go. */

export type Indexers<T> = Readonly<Record<string, (object: T) => readonly string[]>>;

const NOTHING: readonly never[] = Object.freeze([]);

export class Store<T> {
  readonly #keyOf: (object: T) => string;
  readonly #indexers: readonly (readonly [string, (object: T) => readonly string[]])[];
  readonly #objects = new Map<string, T>();
  /** Index name -> value -> key -> object. */
  readonly #indexes = new Map<string, Map<string, Map<string, T>>>();

  constructor(keyOf: (object: T) => string, indexes: Indexers<T> = {}) {
    this.#keyOf = keyOf;
    this.#indexers = Object.entries(indexes);
    for (const name of Object.keys(indexes)) this.#indexes.set(name, new Map());
  }

  get size(): number {
    return this.#objects.size;
  }

  keyOf(object: T): string {
    return this.#keyOf(object);
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  values(): IterableIterator<T> {
    return this.#objects.values();
  }

  keys(): IterableIterator<string> {
    return this.#objects.keys();
  }

  /**
   * The objects that the index of this name files under the value: a copy, in the order in which they came.
   * @throws TypeError when there is no such index
   */
  byIndex(name: string, value: string): readonly T[] {
    const index = this.#indexes.get(name);
    if (index === undefined) {
      throw new TypeError(`expected one of the indexes ${[...this.#indexes.keys()].join(', ')}, found ${name}`);
    }
    const found = index.get(value);
    return found === undefined ? NOTHING : [...found.values()];
  }

  /** Puts the object in its place and returns the one that was there. */
  set(object: T): T | undefined {
    const key = this.#keyOf(object);
    const previous = this.#objects.get(key);
    if (previous !== undefined) this.#unfile(key, previous);
    this.#objects.set(key, object);
    this.#file(key, object);
    return previous;
  }

  /** Returns what was deleted. */
  delete(key: string): T | undefined {
    const previous = this.#objects.get(key);
    if (previous === undefined) return undefined;
    this.#objects.delete(key);
    this.#unfile(key, previous);
    return previous;
  }

  #file(key: string, object: T): void {
    for (const [name, valuesOf] of this.#indexers) {
      const index = this.#indexes.get(name);
      if (index === undefined) continue;
      for (const value of valuesOf(object)) {
        let filed = index.get(value);
        if (filed === undefined) {
          filed = new Map();
          index.set(value, filed);
        }
        filed.set(key, object);
      }
    }
  }

  #unfile(key: string, object: T): void {
    for (const [name, valuesOf] of this.#indexers) {
      const index = this.#indexes.get(name);
      if (index === undefined) continue;
      for (const value of valuesOf(object)) {
        const filed = index.get(value);
        if (filed === undefined) continue;
        filed.delete(key);
        if (filed.size === 0) index.delete(value);
      }
    }
  }
}
