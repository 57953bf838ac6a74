/**
 * The certificates that resources refer to, each read whenever its Secret changes, and only for as long as a resource refers to
 * it. Secrets are watched as metadata (`secret-watch.ts`); what is read is the one Secret, by its name, and of it two entries,
 * which are dropped as soon as a certificate and a signer are made from them.
 *
 *   refer -> pending --GET--> usable | refused --Secret changed--> GET (a few at once, then one in ten seconds)
 *                                |--no permission, or no watch for two minutes--> blocked --works again--> GET
 */
import { createHash } from 'node:crypto';
import { formatObjectKey, type ObjectKey, parseObjectKey } from '../../issued-secret/names.ts';
import { isApiError, isMissing } from '../../kubernetes/api-error.ts';
import { Backoff } from '../../kubernetes/backoff.ts';
import type { TimerHandle } from '../../kubernetes/clock.ts';
import { TokenBucket } from '../../kubernetes/events/token-bucket.ts';
import type { Logger } from '../../kubernetes/log.ts';
import { SECRETS } from '../../kubernetes/resource-type.ts';
import {
  type CertificateSecret,
  type CertificateState,
  isNeverCertificate,
  notReadable,
  PENDING,
  readCertificateSecret,
  UNSEEN,
  unreadable,
} from '../core/certificate-state.ts';
import { NEXT_CERTIFICATE_KEY, NEXT_KEY_KEY } from '../core/next-certificate.ts';
import { REFUSED_MS, SecretWatch, type Visibility, type WatchEngine } from '../secret-watch.ts';

interface Watched {
  readonly key: string;
  readonly referrers: Set<string>;
  readonly stop: AbortController;
  /** Reading costs milliseconds of CPU: who rewrites a Secret all the time waits for the next token. */
  readonly bucket: TokenBucket;
  readonly backoff: Backoff;
  /** The Secret may not be watched, or the watch fails. */
  watchFails: boolean;
  /** What was read last; `blocked` counts before it. */
  read: CertificateState;
  blocked: CertificateState | undefined;
  /** Of the Secret that was read; undefined: there was none. */
  resourceVersion: string | undefined;
  /** Hash of the entries that are read: others may change without consequence. Undefined: there was no certificate to read. */
  fingerprint: string | undefined;
  failingSince: number | undefined;
  /** Since when every read was Forbidden. */
  refusedSince: number | undefined;
  work: 'idle' | 'queued' | 'reading' | 'outdated';
  timer: TimerHandle | undefined;
}

export interface CertificateWatcherOptions {
  readonly engine: WatchEngine;
  /** The namespaces that are served; empty: all of them. */
  readonly namespaces: readonly string[];
  readonly log: Logger;
  /** The state of a resource's certificate has changed. */
  readonly onChange: (resourceKey: string) => void;
  /** Ends every watch. */
  readonly signal: AbortSignal;
}

/** At once: a start with thousands of resources is no burst of as many requests. */
const MAX_READS = 8;
const READ_BURST = 10;
const READS_PER_SECOND = 0.1;
/** A Secret that cannot be read for so long is treated as one that cannot be watched. */
const UNSEEN_MS = 120_000;

export class CertificateWatcher {
  readonly #options: CertificateWatcherOptions;
  readonly #watched = new Map<string, Watched>();
  /** Resource to the Secret that it refers to. */
  readonly #references = new Map<string, string>();
  readonly #watches = new Map<string | undefined, SecretWatch>();
  readonly #queue: Watched[] = [];
  readonly #reading = new Set<Promise<void>>();

  constructor(options: CertificateWatcherOptions) {
    this.#options = options;
  }

  /** Sets the Secret that a resource refers to; undefined when the resource is gone. Starts and stops watches as needed. */
  refer(resourceKey: string, secret: ObjectKey | undefined): void {
    const next = secret === undefined ? undefined : formatObjectKey(secret);
    const previous = this.#references.get(resourceKey);
    if (previous === next) return;
    if (previous !== undefined) this.#release(previous, resourceKey);
    if (next === undefined) {
      this.#references.delete(resourceKey);
      return;
    }
    this.#references.set(resourceKey, next);
    const watched = this.#watched.get(next) ?? this.#start(next);
    watched.referrers.add(resourceKey);
  }

  state(secret: ObjectKey): CertificateState {
    const watched = this.#watched.get(formatObjectKey(secret));
    return watched?.blocked ?? watched?.read ?? PENDING;
  }

  /** How many certificates are followed, and by how many watches. */
  get size(): { readonly certificates: number; readonly watches: number } {
    const watches = [...this.#watches.values()].reduce((sum, { size }) => sum + size, 0);
    return { certificates: this.#watched.size, watches };
  }

  /** Resolves when every watch has ended, after the signal. */
  async ended(): Promise<void> {
    for (const watched of this.#watched.values()) watched.timer?.cancel();
    await Promise.all([...this.#reading, ...[...this.#watches.values()].map((watch) => watch.ended())]);
  }

  #start(key: string): Watched {
    const { clock, random } = this.#options.engine;
    const watched: Watched = {
      key,
      referrers: new Set(),
      stop: new AbortController(),
      bucket: new TokenBucket({ clock, burst: READ_BURST, perSecond: READS_PER_SECOND }),
      backoff: new Backoff({ baseMs: 1_000, maxMs: 30_000, random }),
      watchFails: false,
      read: PENDING,
      blocked: undefined,
      resourceVersion: undefined,
      fingerprint: undefined,
      failingSince: undefined,
      refusedSince: undefined,
      work: 'idle',
      timer: undefined,
    };
    this.#watched.set(key, watched);
    this.#watchOf(key).want(key);
    this.#enqueue(watched);
    return watched;
  }

  #release(key: string, resourceKey: string): void {
    const watched = this.#watched.get(key);
    watched?.referrers.delete(resourceKey);
    if (watched === undefined || watched.referrers.size > 0) return;
    watched.stop.abort();
    watched.timer?.cancel();
    this.#watched.delete(key);
    this.#watchOf(key).unwant(key);
  }

  #watchOf(key: string): SecretWatch {
    const { engine, log, namespaces, signal } = this.#options;
    const namespace = namespaces.length === 0 ? undefined : parseObjectKey(key).namespace;
    const existing = this.#watches.get(namespace);
    if (existing !== undefined) return existing;
    const watch = new SecretWatch({
      engine,
      log,
      namespace,
      signal,
      onVersion: (changed, resourceVersion) => this.#versionSeen(changed, resourceVersion),
      onVisibility: (changed, visibility) => this.#visibility(changed, visibility),
    });
    this.#watches.set(namespace, watch);
    return watch;
  }

  #versionSeen(key: string, resourceVersion: string | undefined): void {
    const watched = this.#watched.get(key);
    if (watched !== undefined && watched.resourceVersion !== resourceVersion) this.#enqueue(watched);
  }

  #visibility(key: string, visibility: Visibility): void {
    const watched = this.#watched.get(key);
    if (watched === undefined) return;
    watched.watchFails = visibility !== 'seen';
    if (visibility === 'seen') this.#enqueue(watched);
    else this.#block(watched, visibility === 'forbidden' ? notReadable(parseObjectKey(key)) : UNSEEN);
  }

  /** Nothing is issued from a certificate that can no longer be seen: it may have been replaced or withdrawn. */
  #block(watched: Watched, state: CertificateState): void {
    const was = watched.blocked;
    watched.blocked = state;
    if (was?.kind !== state.kind) this.#changed(watched);
  }

  #enqueue(watched: Watched): void {
    if (watched.work === 'reading') watched.work = 'outdated';
    if (watched.work !== 'idle' || this.#options.signal.aborted) return;
    watched.work = 'queued';
    this.#whenAllowed(watched);
  }

  #whenAllowed(watched: Watched): void {
    const { clock } = this.#options.engine;
    if (watched.stop.signal.aborted) return;
    const waitMs = watched.bucket.take();
    if (waitMs > 0) {
      watched.timer = clock.setTimeout(() => this.#whenAllowed(watched), waitMs);
      return;
    }
    this.#queue.push(watched);
    this.#readNext();
  }

  #readNext(): void {
    if (this.#reading.size >= MAX_READS || this.#options.signal.aborted) return;
    const watched = this.#queue.shift();
    if (watched === undefined) return;
    const reading = this.#read(watched).finally(() => {
      this.#reading.delete(reading);
      this.#readNext();
    });
    this.#reading.add(reading);
    this.#readNext();
  }

  /** Never rejects. */
  async #read(watched: Watched): Promise<void> {
    const signal = AbortSignal.any([this.#options.signal, watched.stop.signal]);
    if (signal.aborted) return;
    watched.work = 'reading';
    let failure: unknown;
    try {
      await this.#refresh(watched, signal);
    } catch (error) {
      failure = error;
    }
    if (signal.aborted) return;
    const outdated = (watched.work as Watched['work']) === 'outdated';
    watched.work = 'idle';
    if (failure !== undefined) this.#failed(watched, failure);
    else if (outdated) this.#enqueue(watched);
  }

  async #refresh(watched: Watched, signal: AbortSignal): Promise<void> {
    const { namespace, name } = parseObjectKey(watched.key);
    const secret = await this.#get({ namespace, name }, signal);
    const fingerprint = fingerprintOf(secret);
    watched.failingSince = undefined;
    watched.refusedSince = undefined;
    watched.backoff.reset();
    watched.resourceVersion = secret?.metadata.resourceVersion;
    const same = watched.read.kind !== 'pending' && fingerprint === watched.fingerprint;
    const unblocks = watched.blocked !== undefined && !watched.watchFails;
    if (same && !unblocks) return;
    // A new object even where nothing differs: pods that were planned for while it was blocked have to be planned again.
    const state = same ? { ...watched.read } : await this.#stateOf(secret, name, signal);
    if (signal.aborted) return;
    watched.fingerprint = fingerprint;
    watched.read = state;
    if (!watched.watchFails) watched.blocked = undefined;
    if (watched.blocked === undefined) this.#changed(watched);
  }

  async #get(ref: ObjectKey, signal: AbortSignal): Promise<CertificateSecret | undefined> {
    try {
      return await this.#options.engine.client.get<CertificateSecret>(SECRETS, ref, { signal });
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async #stateOf(secret: CertificateSecret | undefined, name: string, signal: AbortSignal): Promise<CertificateState> {
    try {
      return await readCertificateSecret(secret, name, signal);
    } catch (error) {
      // The error may come from a parser that has seen the key: only its kind is shown.
      return unreadable(name, error instanceof Error ? error.name : 'unknown error');
    }
  }

  #failed(watched: Watched, error: unknown): void {
    const { engine, log } = this.#options;
    const now = engine.clock.monotonic();
    watched.failingSince ??= now;
    watched.refusedSince = isApiError(error, 'Forbidden') ? (watched.refusedSince ?? now) : undefined;
    if (
      watched.refusedSince !== undefined &&
      (watched.read.kind === 'pending' || now - watched.refusedSince >= REFUSED_MS)
    ) {
      this.#block(watched, notReadable(parseObjectKey(watched.key)));
    } else if (now - watched.failingSince >= UNSEEN_MS) this.#block(watched, UNSEEN);
    const waitMs = watched.backoff.next();
    const reason = isApiError(error) ? error.reason : 'Unknown';
    log.debug({ secret: watched.key, reason, retryInMs: Math.round(waitMs) }, 'failed to read a certificate');
    watched.work = 'queued';
    watched.timer = engine.clock.setTimeout(() => this.#whenAllowed(watched), waitMs);
  }

  #changed(watched: Watched): void {
    for (const resourceKey of watched.referrers) this.#options.onChange(resourceKey);
  }
}

/** By its type and its labels too, a Secret is none that is read as a certificate. */
function fingerprintOf(secret: CertificateSecret | undefined): string | undefined {
  if (secret === undefined || isNeverCertificate(secret)) return undefined;
  const { data = {} } = secret;
  const hash = createHash('sha256');
  for (const key of ['tls.crt', 'tls.key', NEXT_CERTIFICATE_KEY, NEXT_KEY_KEY]) hash.update(`${data[key] ?? ''}\0`);
  return hash.digest('base64');
}
