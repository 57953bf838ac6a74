/**
 * One kind of object in every namespace that is watched: one reflector for all of them, or one for each of a list. Also of a kind
 * without namespaces: then that is ''.
 */
import type { Reflector, ReflectorEvent } from './reflector.ts';
import { RefusalCount } from './refusal-count.ts';

interface Named {
  readonly namespace: string;
  readonly name: string;
}

/**
 * The key that the reflectors of a NamespacedCache file their objects under. Joined: V8 keeps a template as a tree of its parts beside the
 * text that a Map makes of it, 90 bytes more for each object.
 */
export function namespacedKey({ namespace, name }: Named): string {
  return [namespace, name].join('/');
}

/** What only a person can change: until then the namespace cannot be read. */
const REFUSALS: ReadonlySet<string> = new Set(['Forbidden', 'NotFound']);

export interface ReflectorScope {
  /** Undefined: all namespaces. */
  readonly namespace: string | undefined;
  /** To be called with every event of the reflector. */
  readonly observe: (event: ReflectorEvent) => void;
}

interface Scope<T> {
  readonly reflector: Reflector<T>;
  /** Resolves when the first list was taken over, or was refused. */
  readonly settled: Promise<void>;
}

export class NamespacedCache<T> {
  /** By namespace; '' for all of them. */
  readonly #scopes = new Map<string, Scope<T>>();
  readonly #refusals = new Map<string, string>();
  /** That were refused at least once. */
  readonly #refused = new Set<string>();

  /**
   * @param namespaces empty for all of them, in one watch
   * @param onRefused called once when the API server begins to refuse a namespace ('': all of them)
   * @param onReadable called when it no longer does
   */
  constructor(
    namespaces: readonly string[],
    make: (scope: ReflectorScope) => Reflector<T>,
    onRefused: (namespace: string, reason: string) => void = () => {},
    onReadable: (namespace: string) => void = () => {},
  ) {
    for (const namespace of namespaces.length === 0 ? [''] : new Set(namespaces)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const count = new RefusalCount(REFUSALS);
      const observe = (event: ReflectorEvent): void => {
        const { kind } = event;
        if ((kind === 'list' || kind === 'watch') && this.#refusals.delete(namespace)) onReadable(namespace);
        const reason = count.refusal(event, reflector);
        if (reason === undefined) return;
        if (!this.#refusals.has(namespace)) onRefused(namespace, reason);
        this.#refusals.set(namespace, reason);
        this.#refused.add(namespace);
        resolve();
      };
      const reflector = make({ namespace: namespace === '' ? undefined : namespace, observe });
      const settled = Promise.race([reflector.synced, promise]);
      this.#scopes.set(namespace, { reflector, settled });
    }
  }

  get(namespace: string, name: string): T | undefined {
    return this.#scope(namespace)?.store.get(namespacedKey({ namespace, name }));
  }

  byIndex(namespace: string, index: string, value: string): Iterable<T> {
    return this.#scope(namespace)?.store.byIndex(index, value) ?? [];
  }

  *values(): Iterable<T> {
    for (const { reflector } of this.#scopes.values()) yield* reflector.store.values();
  }

  /** Whether everything up to that write has been seen. */
  isAtLeast(namespace: string, resourceVersion: string): boolean {
    return this.#scope(namespace)?.isAtLeast(resourceVersion) ?? true;
  }

  /** Whether the namespace has been listed once. */
  hasSynced(namespace: string): boolean {
    return this.#scope(namespace)?.hasSynced ?? false;
  }

  /** Whether the namespace has been listed, or refused, once: waiting for it longer may be waiting for a person. */
  hasSettled(namespace: string): boolean {
    return this.hasSynced(namespace) || this.#refused.has(namespace);
  }

  /** Namespaces that the API server refuses to list or watch, with its reason; '' for all of them. */
  get refusals(): ReadonlyMap<string, string> {
    return this.#refusals;
  }

  /** Resolves when the namespace has been listed once. */
  async synced(namespace: string): Promise<void> {
    await this.#scope(namespace)?.synced;
  }

  /** Resolves when every namespace has been listed, or refused, once. */
  async settled(): Promise<void> {
    await Promise.all([...this.#scopes.values()].map(({ settled }) => settled));
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#scopes.values()].map(({ reflector }) => reflector.run(signal)));
  }

  #scope(namespace: string): Reflector<T> | undefined {
    return (this.#scopes.get(namespace) ?? this.#scopes.get(''))?.reflector;
  }
}
