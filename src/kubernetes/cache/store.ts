/** An in-memory table of objects by key, with indexes that are kept as objects come and go. */

export type Indexers<T> = Readonly<Record<string, (object: T) => readonly string[]>>;

const NOTHING: readonly never[] = Object.freeze([]);

export class Store<T> {
  readonly #keyOf: (object: T) => string;
  readonly #indexers: readonly (readonly [string, (object: T) => readonly string[]])[];
  readonly #objects = new Map<string, T>();
  /** Index name -> value -> keys. Most values of most indexes have one object: its key stands there by itself, which saves 200 bytes. */
  readonly #indexes = new Map<string, Map<string, string | Set<string>>>();

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
   * The objects that the index of this name files under the value: a copy, in the order in which they came there.
   * @throws TypeError when there is no such index
   */
  byIndex(name: string, value: string): readonly T[] {
    const index = this.#indexes.get(name);
    if (index === undefined) {
      throw new TypeError(`expected one of the indexes ${[...this.#indexes.keys()].join(', ')}, found ${name}`);
    }
    const found = index.get(value);
    if (found === undefined) return NOTHING;
    const keys = typeof found === 'string' ? [found] : [...found];
    return keys.map((key) => this.#objects.get(key)).filter((object) => object !== undefined);
  }

  /**
   * Puts the object in its place and returns the one that was there.
   * @param key of the object, where the caller has it: everything that files the object then shares one string
   */
  set(object: T, key = this.#keyOf(object)): T | undefined {
    const previous = this.#objects.get(key);
    this.#objects.set(key, object);
    for (const [name, valuesOf] of this.#indexers) {
      const values = valuesOf(object);
      const before = previous === undefined ? NOTHING : valuesOf(previous);
      if (sameTexts(before, values)) continue;
      this.#unfile(name, before, key);
      this.#file(name, values, key);
    }
    return previous;
  }

  /** Returns what was deleted. */
  delete(key: string): T | undefined {
    const previous = this.#objects.get(key);
    if (previous === undefined) return undefined;
    this.#objects.delete(key);
    for (const [name, valuesOf] of this.#indexers) this.#unfile(name, valuesOf(previous), key);
    return previous;
  }

  #file(name: string, values: readonly string[], key: string): void {
    const index = this.#indexes.get(name);
    for (const value of values) {
      const filed = index?.get(value);
      if (filed === undefined || filed === key) index?.set(value, key);
      else if (typeof filed === 'string') index?.set(value, new Set([filed, key]));
      else filed.add(key);
    }
  }

  #unfile(name: string, values: readonly string[], key: string): void {
    const index = this.#indexes.get(name);
    for (const value of values) {
      const filed = index?.get(value);
      if (filed === key) index?.delete(value);
      if (filed === undefined || typeof filed === 'string') continue;
      filed.delete(key);
      if (filed.size === 0) index?.delete(value);
    }
  }
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, index) => text === b[index]);
}
