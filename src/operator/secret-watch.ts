/**
 * Says which of the wanted Secrets changed, by their metadata alone. One of these for each scope: a namespace, or all of them.
 *
 *   up to MAX_SINGLE wanted: one watch for each, by name ---more---> one watch of the whole scope ---Forbidden---> by name again
 *                                                                        ^--five minutes later, once, where it had worked--'
 *
 * A watch by name is all that RBAC has to allow, and receives nothing of other Secrets; a watch of the scope costs one connection
 * for any number of certificates. See docs/adr/0021.
 */
import { RESOURCE_LABEL } from '../api/keys.ts';
import { formatObjectKey, parseObjectKey } from '../issued-secret/names.ts';
import { Reflector, type ReflectorEvent, type ReflectorOptions } from '../kubernetes/cache/reflector.ts';
import type { TimerHandle } from '../kubernetes/clock.ts';
import type { Logger } from '../kubernetes/log.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { SECRETS } from '../kubernetes/resource-type.ts';
import { NEVER_CERTIFICATES } from './core/certificate-state.ts';

export type WatchEngine = Pick<ReflectorOptions<never>, 'client' | 'clock' | 'random' | 'log' | 'observe'>;

/** `forbidden`: RBAC. `unseen`: the watch has failed for some time. `seen`: it works again, read the Secret once more. */
export type Visibility = 'forbidden' | 'unseen' | 'seen';

export interface SecretWatchOptions {
  readonly engine: WatchEngine;
  readonly log: Logger;
  /** Undefined: every namespace. */
  readonly namespace: string | undefined;
  /** A wanted Secret is at this version now; undefined: there is none. May repeat itself. */
  readonly onVersion: (secretKey: string, resourceVersion: string | undefined) => void;
  readonly onVisibility: (secretKey: string, visibility: Visibility) => void;
  readonly signal: AbortSignal;
}

/** A connection, a goroutine and some kilobytes each, here and in the API server. */
const MAX_SINGLE = 8;
/** Longer than a restart of the API server, shorter than anything that expires. */
const UNSEEN_MS = 120_000;
/** A watch that was accepted and has lived for so long works: what it had missed has come, and most have nothing more to say for minutes. */
const SETTLED_MS = 1_000;
/**
 * A watch that has worked is forbidden once it has been refused, and nothing else, for so long: an API server that starts refuses
 * everybody until it has read the roles.
 */
export const REFUSED_MS = 5_000;
const WIDE_RETRY_MS = 300_000;

interface Running {
  readonly reflector: Reflector<Version>;
  readonly stop: AbortController;
  failingSince: number | undefined;
  /** From the acceptance of the watch until it has settled. */
  timer: TimerHandle | undefined;
  /** Since when every failure was Forbidden. */
  refusedSince: number | undefined;
}

interface Version {
  readonly key: string;
  readonly resourceVersion: string;
}

export class SecretWatch {
  readonly #options: SecretWatchOptions;
  readonly #wanted = new Set<string>();
  /** Reported as forbidden or unseen, and not as seen since: whichever watch follows them next has to report that. */
  readonly #blocked = new Set<string>();
  readonly #singles = new Map<string, Running>();
  readonly #running = new Set<Promise<void>>();
  #wide: Running | undefined;
  #wideForbiddenAt = Number.NEGATIVE_INFINITY;
  #widening: TimerHandle | undefined;

  constructor(options: SecretWatchOptions) {
    this.#options = options;
    options.signal.addEventListener('abort', () => this.#widening?.cancel());
  }

  /** How many watches there are now. */
  get size(): number {
    return this.#singles.size + (this.#wide === undefined ? 0 : 1);
  }

  want(secretKey: string): void {
    this.#wanted.add(secretKey);
    if (this.#wide !== undefined) return;
    if (this.#singles.size < MAX_SINGLE || !this.#mayWiden()) {
      this.#startSingle(secretKey);
      return;
    }
    this.#startWide();
  }

  unwant(secretKey: string): void {
    this.#wanted.delete(secretKey);
    this.#blocked.delete(secretKey);
    this.#stopSingle(secretKey);
    if (this.#wanted.size === 0) this.#stopWide();
  }

  /** Resolves when every watch has ended, after the signal. */
  async ended(): Promise<void> {
    await Promise.all(this.#running);
  }

  #mayWiden(): boolean {
    return this.#options.engine.clock.monotonic() - this.#wideForbiddenAt >= WIDE_RETRY_MS;
  }

  #startSingle(secretKey: string): void {
    if (this.#singles.has(secretKey)) return;
    const { namespace, name } = parseObjectKey(secretKey);
    const single = this.#start({ namespace, fieldSelector: `metadata.name=${name}` }, () => [secretKey]);
    this.#singles.set(secretKey, single);
  }

  #stopSingle(secretKey: string): void {
    stop(this.#singles.get(secretKey));
    this.#singles.delete(secretKey);
  }

  #startWide(): void {
    const fieldSelector = NEVER_CERTIFICATES.map((type) => `type!=${type}`).join(',');
    const labelSelector = `!${RESOURCE_LABEL}`;
    const { namespace } = this.#options;
    // Until it has listed, those with a watch by name are followed by that one.
    const keys = () => [...this.#wanted].filter((key) => !this.#singles.has(key));
    this.#wide = this.#start({ namespace, fieldSelector, labelSelector }, keys);
  }

  #stopWide(): void {
    stop(this.#wide);
    this.#wide = undefined;
  }

  #start(
    selection: Pick<ReflectorOptions<Version>, 'namespace' | 'fieldSelector' | 'labelSelector'>,
    keys: () => readonly string[],
  ): Running {
    const { engine, log, onVersion, signal } = this.#options;
    const reflector = new Reflector<Version>({
      ...engine,
      ...selection,
      type: SECRETS,
      metadataOnly: true,
      transform: versionOf,
      keyOf: ({ key }) => key,
      onChange: ({ current, previous }) => {
        const key = (current ?? previous)?.key;
        if (key !== undefined && this.#wanted.has(key)) onVersion(key, current?.resourceVersion);
        this.#works(running, keys);
      },
      observe: (event) => this.#observe(event, running, keys),
    });
    const running: Running = {
      reflector,
      stop: new AbortController(),
      failingSince: undefined,
      timer: undefined,
      refusedSince: undefined,
    };
    const run = reflector.run(AbortSignal.any([signal, running.stop.signal])).catch((error: unknown) => {
      log.error({ err: error }, 'a watch of certificates ended');
    });
    this.#running.add(run);
    void run.finally(() => {
      running.timer?.cancel();
      this.#running.delete(run);
    });
    return running;
  }

  #observe(event: ReflectorEvent, running: Running, keys: () => readonly string[]): void {
    this.#options.engine.observe?.(event);
    if (running.stop.signal.aborted) return;
    if (event.kind === 'failure') this.#fails(event.reason, running, keys);
    if (event.kind === 'watch') this.#accepted(running, keys);
    // The list is in the store, and every difference to what the store had before is yet to be reported.
    if (event.kind === 'list') queueMicrotask(() => this.#listed(running, keys));
  }

  /** Whoever read a Secret before this list did may have missed its deletion: there is no change to report then. */
  #listed(running: Running, keys: () => readonly string[]): void {
    if (running.stop.signal.aborted) return;
    if (running === this.#wide) for (const key of [...this.#singles.keys()]) this.#stopSingle(key);
    this.#works(running, keys);
    for (const key of keys()) this.#options.onVersion(key, running.reflector.store.get(key)?.resourceVersion);
  }

  #fails(reason: string | undefined, running: Running, keys: () => readonly string[]): void {
    const { clock } = this.#options.engine;
    const now = clock.monotonic();
    running.timer?.cancel();
    running.refusedSince = reason === 'Forbidden' ? (running.refusedSince ?? now) : undefined;
    if (running.refusedSince !== undefined) {
      if (!running.reflector.hasSynced || now - running.refusedSince >= REFUSED_MS) this.#forbidden(running, keys);
      return;
    }
    running.failingSince ??= now;
    if (now - running.failingSince < UNSEEN_MS) return;
    for (const key of keys()) if (!this.#blocked.has(key)) this.#block(key, 'unseen');
  }

  #forbidden(running: Running, keys: () => readonly string[]): void {
    if (running === this.#wide) {
      this.#fallBack(running);
      return;
    }
    for (const key of keys()) this.#block(key, 'forbidden');
  }

  #accepted(running: Running, keys: () => readonly string[]): void {
    running.timer?.cancel();
    running.refusedSince = undefined;
    running.timer = this.#options.engine.clock.setTimeout(() => this.#works(running, keys), SETTLED_MS);
  }

  #block(key: string, visibility: 'forbidden' | 'unseen'): void {
    this.#blocked.add(key);
    this.#options.onVisibility(key, visibility);
  }

  #works(running: Running, keys: () => readonly string[]): void {
    running.timer?.cancel();
    running.refusedSince = undefined;
    running.failingSince = undefined;
    if (this.#blocked.size === 0) return;
    for (const key of keys()) if (this.#blocked.delete(key)) this.#options.onVisibility(key, 'seen');
  }

  /** The whole scope may not be watched (any more): each certificate by its name, as far as that is permitted. */
  #fallBack({ reflector }: Running): void {
    const { engine, log, namespace } = this.#options;
    log.info({ namespace }, 'no permission to watch all Secrets, watching certificates one by one');
    this.#wideForbiddenAt = engine.clock.monotonic();
    this.#stopWide();
    for (const key of this.#wanted) this.#startSingle(key);
    // It was permitted once, and may be again. What never was is for a person to permit: asking for it is a warning in the log.
    if (reflector.hasSynced) this.#widening = engine.clock.setTimeout(() => this.#widen(), WIDE_RETRY_MS);
  }

  #widen(): void {
    if (this.#wide === undefined && this.#wanted.size > MAX_SINGLE) this.#startWide();
  }
}

function stop(running: Running | undefined): void {
  if (running === undefined) return;
  running.timer?.cancel();
  running.stop.abort();
}

function versionOf({ metadata }: KubernetesObject): Version {
  const { namespace = '', name = '', resourceVersion = '' } = metadata;
  return { key: formatObjectKey({ namespace, name }), resourceVersion };
}
