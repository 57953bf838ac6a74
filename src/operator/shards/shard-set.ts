/**
 * The shards of namespaces that this process serves now, and the work in progress in each. Nothing is begun in another, and nothing
 * is written there: see `ownedClient`.
 *
 *     open (keys are taken) --hand-over--> finishing (what is in progress may write) --> closed
 *                           '---lost---------------------------------------------------^
 */
import type { Clock } from '../../kubernetes/clock.ts';
import { shardOf } from '../../kubernetes/leader/shards.ts';

/** Which namespaces this process serves. */
export interface NamespaceOwnership {
  /** Whether keys of the namespace may be taken. */
  serves(namespace: string): boolean;
  /** Whether something may be written there: also while what is in progress is finished. */
  mayWrite(namespace: string): boolean;
  /** Does the work, unless the namespace is not served; undefined then. The signal, where there is one, aborts when it has to stop. */
  during<T>(namespace: string, work: (signal?: AbortSignal) => Promise<T>): Promise<T | undefined>;
}

interface Shard {
  readonly working: AbortController;
  finishing: boolean;
  busy: number;
  /** Resolves when nothing is in progress. */
  readonly idle: PromiseWithResolvers<void>;
}

/** Namespaces come and go. */
const MAX_REMEMBERED = 100_000;

export class ShardSet implements NamespaceOwnership {
  readonly #shards: number;
  readonly #served = new Map<number, Shard>();
  readonly #shardOf = new Map<string, number>();

  constructor(shards: number) {
    this.#shards = shards;
  }

  serves(namespace: string): boolean {
    return this.#served.get(this.#of(namespace))?.finishing === false;
  }

  mayWrite(namespace: string): boolean {
    return this.#served.has(this.#of(namespace));
  }

  isOf(shard: number, namespace: string): boolean {
    return this.#of(namespace) === shard;
  }

  async during<T>(namespace: string, work: (signal?: AbortSignal) => Promise<T>): Promise<T | undefined> {
    const shard = this.#served.get(this.#of(namespace));
    if (shard === undefined || shard.finishing) return undefined;
    shard.busy += 1;
    try {
      return await work(shard.working.signal);
    } finally {
      shard.busy -= 1;
      if (shard.finishing && shard.busy === 0) shard.idle.resolve();
    }
  }

  /** @throws TypeError when it is served already */
  begin(shard: number): void {
    if (this.#served.has(shard)) throw new TypeError(`expected shard ${shard} to be free`);
    const working = new AbortController();
    this.#served.set(shard, { working, finishing: false, busy: 0, idle: Promise.withResolvers() });
  }

  /** Resolves when what was in progress is done, or was given up after `withinMs`. */
  async end(shard: number, clock: Clock, withinMs: number): Promise<void> {
    const served = this.#served.get(shard);
    if (served === undefined) return;
    served.finishing = true;
    if (served.busy === 0) served.idle.resolve();
    const close = (): void => {
      this.#served.delete(shard);
      served.working.abort();
    };
    if (withinMs <= 0) close();
    const timer = clock.setTimeout(close, withinMs);
    await served.idle.promise;
    timer.cancel();
    close();
  }

  #of(namespace: string): number {
    const known = this.#shardOf.get(namespace);
    if (known !== undefined) return known;
    if (this.#shardOf.size >= MAX_REMEMBERED) this.#shardOf.clear();
    const shard = shardOf(namespace, this.#shards);
    this.#shardOf.set(namespace, shard);
    return shard;
  }
}

/** One leader serves every namespace. */
export const EVERYTHING: NamespaceOwnership = {
  serves: () => true,
  mayWrite: () => true,
  during: (_namespace, work) => work(),
};
