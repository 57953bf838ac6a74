/**
 * Labels and uids of namespaces, for grants that ask for them: nothing is watched before the first such grant.
 *
 *   every namespace served: one watch of their metadata
 *   a list of namespaces:   each is read by its name every half a minute, because a Role of the namespace permits that much
 *
 * A namespace that is gone, or may not be read, has neither labels nor uid: no such grant covers it.
 */
import { isMissing } from '../../kubernetes/api-error.ts';
import { Reflector } from '../../kubernetes/cache/reflector.ts';
import type { TimerHandle } from '../../kubernetes/clock.ts';
import type { Logger } from '../../kubernetes/log.ts';
import type { KubernetesObject } from '../../kubernetes/objects.ts';
import { NAMESPACES } from '../../kubernetes/resource-type.ts';
import { sameEntries } from '../core/pod.ts';
import type { WatchEngine } from '../secret-watch.ts';

export interface NamespaceFacts {
  readonly name: string;
  readonly uid: string | undefined;
  readonly labels: Readonly<Record<string, string>> | undefined;
}

export interface NamespacesOptions {
  readonly engine: WatchEngine;
  /** Empty: every namespace. */
  readonly namespaces: readonly string[];
  readonly log: Logger;
  /** What is known of a namespace has changed; undefined: of all of them. */
  readonly onChange: (name: string | undefined) => void;
  readonly signal: AbortSignal;
}

const POLL_MS = 30_000;
/** Namespaces have a handful of labels; one with more is matched by no selector. */
const MAX_LABEL_CHARACTERS = 8192;

export class Namespaces {
  readonly #options: NamespacesOptions;
  /** By name, where namespaces are read one by one. */
  readonly #read = new Map<string, NamespaceFacts | undefined>();
  readonly #running = new Set<Promise<void>>();
  readonly #timers = new Map<string, TimerHandle>();
  #reflector: Reflector<NamespaceFacts> | undefined;
  #forbidden = false;

  constructor(options: NamespacesOptions) {
    this.#options = options;
    options.signal.addEventListener('abort', () => {
      for (const timer of this.#timers.values()) timer.cancel();
    });
  }

  /** Undefined while nothing is known yet; `onChange` follows. */
  get(name: string): NamespaceFacts | undefined {
    if (this.#options.namespaces.length > 0) return this.#readOne(name);
    this.#reflector ??= this.#watch();
    if (!this.#reflector.hasSynced && !this.#forbidden) return undefined;
    return this.#reflector.store.get(name) ?? unknown(name);
  }

  /** Resolves when nothing runs any more, after the signal. */
  async ended(): Promise<void> {
    await Promise.all(this.#running);
  }

  #watch(): Reflector<NamespaceFacts> {
    const { engine, log, onChange, signal } = this.#options;
    const reflector = new Reflector<NamespaceFacts>({
      ...engine,
      type: NAMESPACES,
      metadataOnly: true,
      transform: readNamespace,
      keyOf: ({ name }) => name,
      onChange: ({ current, previous }) => {
        if (current !== undefined && previous !== undefined && same(current, previous)) return;
        if (reflector.hasSynced) onChange((current ?? previous)?.name);
      },
      observe: (event) => {
        engine.observe?.(event);
        // One that has been listed stays known, and is read once more in every issue.
        if (reflector.hasSynced || this.#forbidden) return;
        if (event.kind !== 'failure' || event.reason !== 'Forbidden') return;
        this.#forbidden = true;
        log.error({}, 'namespaces cannot be watched: grants with a namespaceSelector or a uid cover nothing');
        onChange(undefined);
      },
    });
    this.#track(reflector.run(signal));
    void reflector.synced.then(() => {
      this.#forbidden = false;
      onChange(undefined);
    });
    return reflector;
  }

  #readOne(name: string): NamespaceFacts | undefined {
    if (!this.#read.has(name)) {
      this.#read.set(name, undefined);
      this.#track(this.#refresh(name));
    }
    return this.#read.get(name);
  }

  /** Never rejects. */
  async #refresh(name: string): Promise<void> {
    const { engine, log, onChange, signal } = this.#options;
    if (signal.aborted) return;
    const before = this.#read.get(name);
    let found = before;
    try {
      found = await readLiveNamespace(engine.client, name, signal);
    } catch (error) {
      // Nothing is known of it: that covers least.
      found ??= unknown(name);
      log.warn({ namespace: name, err: error }, 'failed to read a namespace');
    }
    if (signal.aborted) return;
    this.#timers.set(
      name,
      engine.clock.setTimeout(() => this.#track(this.#refresh(name)), POLL_MS),
    );
    this.#read.set(name, found);
    if (before === undefined || !same(found, before)) onChange(name);
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }
}

/** As the API server has it now. */
export async function readLiveNamespace(
  client: Pick<WatchEngine['client'], 'get'>,
  name: string,
  signal: AbortSignal,
): Promise<NamespaceFacts> {
  try {
    return readNamespace(await client.get(NAMESPACES, { name }, { signal, metadataOnly: true }));
  } catch (error) {
    if (isMissing(error)) return unknown(name);
    throw error;
  }
}

function readNamespace({ metadata }: KubernetesObject): NamespaceFacts {
  const { labels = {}, name = '', uid } = metadata;
  const size = Object.entries(labels).reduce((sum, [key, value]) => sum + key.length + value.length, 0);
  return { name, uid, labels: size <= MAX_LABEL_CHARACTERS ? labels : undefined };
}

function unknown(name: string): NamespaceFacts {
  return { name, uid: undefined, labels: undefined };
}

function same(a: NamespaceFacts, b: NamespaceFacts): boolean {
  if (a.uid !== b.uid || a.labels === undefined || b.labels === undefined)
    return a.uid === b.uid && a.labels === b.labels;
  return sameEntries(a.labels, b.labels);
}
