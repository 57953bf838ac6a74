/**
 * Certificate Secrets, each watched by its own name, so that RBAC can name them, and only for as long as a resource refers to it.
 */

import type { DelegatedCredentialResource } from '../api/delegated-credential.ts';
import { formatObjectKey, type ObjectKey, parseObjectKey } from '../issued-secret/names.ts';
import { Reflector, type ReflectorOptions } from '../kubernetes/cache/reflector.ts';
import type { Logger } from '../kubernetes/log.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { SECRETS } from '../kubernetes/resource-type.ts';
import {
  type CertificateSecret,
  type CertificateState,
  PENDING,
  readCertificateSecret,
  refused,
} from './core/certificate-state.ts';

type Engine = Pick<ReflectorOptions<never>, 'client' | 'clock' | 'random' | 'log' | 'observe'>;

interface Watched {
  readonly referrers: Set<string>;
  readonly stop: AbortController;
  state: CertificateState;
}

export interface CertificateWatcherOptions {
  readonly engine: Engine;
  readonly log: Logger;
  /** The state of a resource's certificate has changed. */
  readonly onChange: (resourceKey: string) => void;
  /** Ends every watch. */
  readonly signal: AbortSignal;
}

export class CertificateWatcher {
  readonly #options: CertificateWatcherOptions;
  readonly #watched = new Map<string, Watched>();
  /** Resource to the Secret that it refers to. */
  readonly #references = new Map<string, string>();
  readonly #running = new Set<Promise<void>>();

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
    return this.#watched.get(formatObjectKey(secret))?.state ?? PENDING;
  }

  /** The certificate of a resource, as far as the resource may use it. Ignores the clock: see `stateAt`. */
  resolve({ metadata, spec }: Pick<DelegatedCredentialResource, 'metadata' | 'spec'>): CertificateState {
    const { name, namespace = metadata.namespace } = spec.certificateRef;
    if (namespace === metadata.namespace) return this.state({ namespace, name });
    return refused(
      'CertificateNotPermitted',
      `spec.certificateRef names a Secret in namespace "${namespace}", which has not granted it to namespace ` +
        `"${metadata.namespace}": put the certificate into a Secret of this namespace and leave certificateRef.namespace out`,
    );
  }

  get size(): number {
    return this.#watched.size;
  }

  /** Resolves when every watch has ended, after the signal. */
  async ended(): Promise<void> {
    await Promise.all(this.#running);
  }

  #release(secretKey: string, resourceKey: string): void {
    const watched = this.#watched.get(secretKey);
    watched?.referrers.delete(resourceKey);
    if (watched === undefined || watched.referrers.size > 0) return;
    watched.stop.abort();
    this.#watched.delete(secretKey);
  }

  #start(secretKey: string): Watched {
    const watched: Watched = { referrers: new Set(), stop: new AbortController(), state: PENDING };
    this.#watched.set(secretKey, watched);
    const run = this.#watch(secretKey, watched).catch((error: unknown) => {
      this.#options.log.error({ err: error, certificate: secretKey }, 'the watch of a certificate ended');
    });
    this.#running.add(run);
    void run.finally(() => this.#running.delete(run));
    return watched;
  }

  async #watch(secretKey: string, watched: Watched): Promise<void> {
    const { engine, signal: parent } = this.#options;
    const { namespace, name } = parseObjectKey(secretKey);
    const signal = AbortSignal.any([parent, watched.stop.signal]);
    // Reading is asynchronous (a signer may be far away): the last one to begin is the one that counts.
    let turn = 0;
    const refresh = async (): Promise<void> => {
      turn += 1;
      const own = turn;
      const secret = reflector.store.get(secretKey);
      const state = await this.#read(secret, name, signal);
      if (own === turn && !signal.aborted) this.#set(watched, state);
    };
    const reflector = new Reflector<CertificateSecret>({
      ...engine,
      type: SECRETS,
      namespace,
      fieldSelector: `metadata.name=${name}`,
      transform: keepCertificate,
      keyOf: () => secretKey,
      onChange: () => void refresh(),
      observe: (event) => {
        engine.observe?.(event);
        if (event.kind === 'failure' && event.reason === 'Forbidden' && !reflector.hasSynced) {
          this.#set(watched, notReadable(name, namespace));
        }
      },
    });
    const running = reflector.run(signal);
    await Promise.race([reflector.synced, running]);
    if (reflector.hasSynced && reflector.store.size === 0) await refresh();
    await running;
  }

  async #read(secret: CertificateSecret | undefined, name: string, signal: AbortSignal): Promise<CertificateState> {
    try {
      return await readCertificateSecret(secret, name, signal);
    } catch (error) {
      // The error may come from a parser that has seen the key: only its kind is told.
      const kind = error instanceof Error ? error.name : 'unknown error';
      return refused('CertificateInvalid', `Secret "${name}": the certificate or its key cannot be read (${kind})`);
    }
  }

  #set(watched: Watched, state: CertificateState): void {
    watched.state = state;
    for (const resourceKey of watched.referrers) this.#options.onChange(resourceKey);
  }
}

function notReadable(name: string, namespace: string): CertificateState {
  return refused(
    'CertificateNotPermitted',
    `dcred may not read Secret "${name}" in namespace "${namespace}": grant its service account get, list and watch on it`,
  );
}

/** Two entries of the data; everything else of the Secret is of no use here. */
function keepCertificate(raw: KubernetesObject): CertificateSecret {
  const { data = {} } = raw as CertificateSecret;
  const kept = Object.entries(data).filter(([key]) => key === 'tls.crt' || key === 'tls.key');
  return { metadata: {}, data: Object.fromEntries(kept) };
}
