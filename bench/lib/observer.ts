/** Sees a namespace's issued Secrets as any client would: by a watch of their metadata. */
import type { HttpApi } from './http-api.ts';

/** A contender that writes nothing for this long has stopped: the slowest one writes dozens a second. */
const STALLED_MS = 120_000;
const METADATA = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';

export class Observer implements Disposable {
  readonly #stop = new AbortController();
  readonly #seenMs = new Map<string, number>();
  #wanted = Number.POSITIVE_INFINITY;
  #reached: () => void = () => {};

  private constructor(api: HttpApi, namespace: string, prefix: string) {
    void this.#follow(api, `/api/v1/namespaces/${namespace}/secrets?watch=1&allowWatchBookmarks=false`, prefix);
  }

  /** @param prefix of the names of Secrets that count */
  static start(api: HttpApi, namespace: string, prefix: string): Observer {
    return new Observer(api, namespace, prefix);
  }

  /** When each Secret was first seen since `restart`, by `performance.now()`. */
  get seenMs(): ReadonlyMap<string, number> {
    return this.#seenMs;
  }

  /** Counts from here. */
  restart(): void {
    this.#seenMs.clear();
  }

  /**
   * Resolves once this many different Secrets were written since `restart`, with the time of the last.
   * @throws Error when none was written for two minutes
   */
  async until(count: number): Promise<number> {
    this.#wanted = count;
    const { promise, reject, resolve } = Promise.withResolvers<void>();
    this.#reached = resolve;
    if (this.#seenMs.size >= count) resolve();
    let seen = -1;
    const check = setInterval(() => {
      if (this.#seenMs.size === seen)
        reject(new Error(`${seen} of ${count} Secrets, and none for ${STALLED_MS / 1000} s`));
      seen = this.#seenMs.size;
    }, STALLED_MS);
    await promise.finally(() => clearInterval(check));
    return [...this.#seenMs.values()].reduce((latest, at) => Math.max(latest, at), 0);
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }

  async #follow(api: HttpApi, path: string, prefix: string): Promise<void> {
    const { signal } = this.#stop;
    let version: string | undefined;
    try {
      // An API server ends the watch of a client that falls behind, and this one may while it also creates pods.
      while (!signal.aborted) {
        const from = version === undefined ? '' : `&resourceVersion=${version}`;
        for await (const line of api.lines(`${path}${from}`, METADATA, signal)) {
          if (line.startsWith('{"type":"ERROR"')) throw new Error(`the watch of Secrets cannot be resumed: ${line}`);
          version = /"resourceVersion":"(\d+)"/.exec(line)?.[1] ?? version;
          this.#take(line, prefix);
        }
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  #take(line: string, prefix: string): void {
    if (line.startsWith('{"type":"DELETED"')) return;
    const name = /"name":"([^"]+)"/.exec(line)?.[1];
    if (name === undefined || !name.startsWith(prefix) || this.#seenMs.has(name)) return;
    this.#seenMs.set(name, performance.now());
    if (this.#seenMs.size >= this.#wanted) this.#reached();
  }
}
