/** One kind of object in every namespace that is watched: one reflector for all of them, or one for each of a list. */
import type { Reflector } from './reflector.ts';

interface Named {
  readonly namespace: string;
  readonly name: string;
}

/** The key that the reflectors of a NamespacedCache file their objects under. */
export function namespacedKey({ namespace, name }: Named): string {
  return `${namespace}/${name}`;
}

export class NamespacedCache<T extends Named> {
  readonly #reflectors: ReadonlyMap<string, Reflector<T>>;

  /** `namespaces`: empty for all of them, in one watch. */
  constructor(namespaces: readonly string[], make: (namespace: string | undefined) => Reflector<T>) {
    const scopes = namespaces.length === 0 ? [undefined] : [...new Set(namespaces)];
    this.#reflectors = new Map(scopes.map((namespace) => [namespace ?? '', make(namespace)]));
  }

  get(namespace: string, name: string): T | undefined {
    return this.#scope(namespace)?.store.get(namespacedKey({ namespace, name }));
  }

  byIndex(namespace: string, index: string, value: string): Iterable<T> {
    return this.#scope(namespace)?.store.byIndex(index, value) ?? [];
  }

  *values(): Iterable<T> {
    for (const reflector of this.#reflectors.values()) yield* reflector.store.values();
  }

  /** Whether everything up to that write has been seen. */
  isAtLeast(namespace: string, resourceVersion: string): boolean {
    return this.#scope(namespace)?.isAtLeast(resourceVersion) ?? true;
  }

  get hasSynced(): boolean {
    return [...this.#reflectors.values()].every((reflector) => reflector.hasSynced);
  }

  async synced(): Promise<void> {
    await Promise.all([...this.#reflectors.values()].map((reflector) => reflector.synced));
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#reflectors.values()].map((reflector) => reflector.run(signal)));
  }

  #scope(namespace: string): Reflector<T> | undefined {
    return this.#reflectors.get(namespace) ?? this.#reflectors.get('');
  }
}
