/** Pods that wait for the name of their Secret, and the watch that says when it is free: at once, not with the next retry. */
import { parseObjectKey, parsePodKey } from '../issued-secret/names.ts';
import type { Logger } from '../kubernetes/log.ts';
import { SecretWatch, type WatchEngine } from './secret-watch.ts';

export interface TakenNamesOptions {
  readonly engine: WatchEngine;
  /** The namespaces that are served; empty: all of them. */
  readonly namespaces: readonly string[];
  readonly log: Logger;
  /** The name that this pod waits for may be free. */
  readonly onFree: (podKey: string) => void;
  readonly signal: AbortSignal;
}

export class TakenNames {
  readonly #options: TakenNamesOptions;
  readonly #secretOf = new Map<string, string>();
  readonly #waiting = new Map<string, Set<string>>();
  readonly #watches = new Map<string, SecretWatch>();

  constructor(options: TakenNamesOptions) {
    this.#options = options;
  }

  /** @param secretKey `namespace/name` */
  wait(podKey: string, secretKey: string): void {
    if (this.#secretOf.get(podKey) === secretKey) return;
    this.release(podKey);
    this.#secretOf.set(podKey, secretKey);
    const pods = this.#waiting.get(secretKey);
    if (pods !== undefined) {
      pods.add(podKey);
      return;
    }
    this.#waiting.set(secretKey, new Set([podKey]));
    this.#watchOf(secretKey).want(secretKey);
  }

  /** The pod waits no longer. */
  release(podKey: string): void {
    const secretKey = this.#secretOf.get(podKey);
    if (secretKey === undefined) return;
    this.#secretOf.delete(podKey);
    const pods = this.#waiting.get(secretKey);
    pods?.delete(podKey);
    if (pods === undefined || pods.size > 0) return;
    this.#waiting.delete(secretKey);
    this.#watchOf(secretKey).unwant(secretKey);
  }

  /** Another replica serves these namespaces now: their pods wait there. */
  releaseNamespaces(isReleased: (namespace: string) => boolean): void {
    for (const podKey of [...this.#secretOf.keys()])
      if (isReleased(parsePodKey(podKey).namespace)) this.release(podKey);
  }

  /** No Secret has this name now, as far as is known. */
  freed(secretKey: string): void {
    for (const podKey of this.#waiting.get(secretKey) ?? []) this.#options.onFree(podKey);
  }

  /** Names that are waited for. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Resolves when every watch has ended, after the signal. */
  async ended(): Promise<void> {
    await Promise.all([...this.#watches.values()].map((watch) => watch.ended()));
  }

  #watchOf(secretKey: string): SecretWatch {
    const { engine, log, namespaces, signal } = this.#options;
    const { namespace } = parseObjectKey(secretKey);
    const scope = namespaces.length === 0 ? undefined : namespace;
    const known = this.#watches.get(scope ?? '');
    if (known !== undefined) return known;
    const watch = new SecretWatch({
      engine,
      log,
      namespace: scope,
      onVersion: (key, version) => {
        if (version === undefined) this.freed(key);
      },
      // Without permission to watch it, the pod's retries find out.
      onVisibility: () => {},
      signal,
    });
    this.#watches.set(scope ?? '', watch);
    return watch;
  }
}
