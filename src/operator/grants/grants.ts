/**
 * The DelegationGrants of the cluster, and what they mean for the resources that refer to a certificate. Watched by the leader
 * alone. What is said here is what the watches have shown so far; before anything is written, the API server itself is asked
 * (`grant-check.ts`).
 */
import type { DelegationGrantResource } from '../../api/delegation-grant.ts';
import { isReadableGrant, readDelegationGrant, type UnreadableGrant } from '../../api/read-grant.ts';
import { DELEGATION_GRANTS } from '../../api/resource-types.ts';
import { decideGrant, needsNamespace } from '../../grant/decide.ts';
import { certificateOf, needsGrant, type Referrer, requestOf } from '../../grant/request.ts';
import { formatObjectKey, type ObjectKey, parseObjectKey } from '../../issued-secret/names.ts';
import { NamespacedCache, namespacedKey } from '../../kubernetes/cache/namespaced-cache.ts';
import { type Change, Reflector } from '../../kubernetes/cache/reflector.ts';
import type { Logger } from '../../kubernetes/log.ts';
import type { KubernetesObject } from '../../kubernetes/objects.ts';
import { type Access, OWN } from '../core/access.ts';
import type { WatchEngine } from '../secret-watch.ts';
import { Namespaces } from './namespaces.ts';

export interface GrantScope {
  /** The namespaces that are served; empty: all of them. */
  readonly namespaces: readonly string[];
  /** Where else grants are read, beside `namespaces`, when those are a list. */
  readonly certificateNamespaces: readonly string[];
  /** A certificate of the resource's own namespace needs a grant too. */
  readonly requireGrant: boolean;
}

export interface GrantsOptions extends GrantScope {
  readonly engine: (kind: string) => WatchEngine;
  readonly log: Logger;
  /** What a resource may do may have changed. */
  readonly onChange: (resourceKey: string) => void;
  /** A grant is new, changed or gone. */
  readonly onGrant: (grantKey: string) => void;
  readonly signal: AbortSignal;
}

type CachedGrant = ObjectKey & { readonly value: DelegationGrantResource | UnreadableGrant };

export class Grants {
  readonly #options: GrantsOptions;
  readonly #cache: NamespacedCache<CachedGrant>;
  readonly #namespaces: Namespaces;
  readonly #run: Promise<void>;
  /** Resource to its certificate, and both ways back. */
  readonly #certificateOf = new Map<string, string>();
  readonly #byCertificate = new Map<string, Set<string>>();

  constructor(options: GrantsOptions) {
    this.#options = options;
    const { certificateNamespaces, engine, log, namespaces, signal } = options;
    const scopes = namespaces.length === 0 ? [] : [...new Set([...namespaces, ...certificateNamespaces])];
    const watch = engine('delegationgrants');
    this.#cache = new NamespacedCache<CachedGrant>(
      scopes,
      ({ namespace, observe }) =>
        new Reflector<CachedGrant>({
          ...watch,
          observe: (event) => {
            observe(event);
            watch.observe?.(event);
          },
          type: DELEGATION_GRANTS,
          namespace,
          transform: readGrant,
          keyOf: namespacedKey,
          indexes: { certificate: ({ value }) => (isReadableGrant(value) ? [certificateKey(value)] : []) },
          onChange: (change) => this.#changed(change),
        }),
      (namespace, reason) => {
        log.error({ namespace, reason }, 'grants cannot be read: certificates that need one are not served');
        this.#enqueueAll();
      },
      () => this.#enqueueAll(),
    );
    this.#namespaces = new Namespaces({
      engine: engine('namespaces'),
      namespaces,
      log,
      onChange: (name) => this.#namespaceChanged(name),
      signal,
    });
    for (const scope of scopes.length === 0 ? [''] : scopes) {
      void this.#cache.synced(scope).then(() => this.#enqueueAll());
    }
    this.#run = this.#cache.run(signal);
  }

  /** Sets what a resource refers to; undefined when it is gone. */
  follow(resourceKey: string, resource: Referrer | undefined): void {
    const next = resource === undefined ? undefined : formatObjectKey(certificateOf(resource));
    const previous = this.#certificateOf.get(resourceKey);
    if (previous === next) return;
    if (previous !== undefined) {
      const others = this.#byCertificate.get(previous);
      others?.delete(resourceKey);
      if (others?.size === 0) this.#byCertificate.delete(previous);
      this.#certificateOf.delete(resourceKey);
    }
    if (next === undefined) return;
    this.#certificateOf.set(resourceKey, next);
    const all = this.#byCertificate.get(next) ?? new Set();
    this.#byCertificate.set(next, all.add(resourceKey));
  }

  /** What the resource may do with its certificate, as far as is known. */
  decide(resource: Referrer): Access {
    if (!needsGrant(resource, this.#options)) return OWN;
    const certificate = certificateOf(resource);
    const { namespace } = certificate;
    if (!this.#isFollowed(namespace) || this.#isRefused(namespace)) return { kind: 'refused' };
    if (!this.#cache.hasSynced(namespace)) return { kind: 'pending' };
    const grants = [...this.#cache.byIndex(namespace, 'certificate', formatObjectKey(certificate))].flatMap(
      ({ value }) => (isReadableGrant(value) ? [value] : []),
    );
    const own = resource.metadata.namespace;
    const consumer = grants.some(needsNamespace) ? this.#namespaces.get(own) : { uid: undefined, labels: undefined };
    if (consumer === undefined) return { kind: 'pending' };
    const { labels, uid } = consumer;
    const terms = decideGrant(grants, requestOf(resource, { namespace: own, labels, uid }));
    return terms === undefined ? { kind: 'refused' } : { kind: 'granted', terms };
  }

  get({ name, namespace }: ObjectKey): DelegationGrantResource | UnreadableGrant | undefined {
    return this.#cache.get(namespace, name)?.value;
  }

  /** Resolves when every watch has ended, after the signal. */
  async ended(): Promise<void> {
    await Promise.all([this.#run, this.#namespaces.ended()]);
  }

  #isFollowed(namespace: string): boolean {
    const { certificateNamespaces, namespaces } = this.#options;
    return namespaces.length === 0 || namespaces.includes(namespace) || certificateNamespaces.includes(namespace);
  }

  #isRefused(namespace: string): boolean {
    const { refusals } = this.#cache;
    return refusals.has(namespace) || refusals.has('');
  }

  #changed({ current, previous }: Change<CachedGrant>): void {
    const { onChange, onGrant } = this.#options;
    const either = current ?? previous;
    if (either !== undefined) onGrant(formatObjectKey(either));
    if (current !== undefined && previous !== undefined && sameSpec(current, previous)) return;
    const certificates = new Set(
      [current, previous].flatMap((one) => (one && isReadableGrant(one.value) ? [certificateKey(one.value)] : [])),
    );
    for (const certificate of certificates) for (const key of this.#byCertificate.get(certificate) ?? []) onChange(key);
  }

  #namespaceChanged(name: string | undefined): void {
    for (const key of this.#certificateOf.keys()) {
      if (name === undefined || parseObjectKey(key).namespace === name) this.#options.onChange(key);
    }
  }

  #enqueueAll(): void {
    this.#namespaceChanged(undefined);
  }
}

function certificateKey({ metadata: { namespace }, spec }: DelegationGrantResource): string {
  return formatObjectKey({ namespace, name: spec.certificateRef.name });
}

function readGrant(raw: KubernetesObject): CachedGrant {
  const value = readDelegationGrant(raw);
  return { namespace: value.metadata.namespace, name: value.metadata.name, value };
}

/** Writes of the status, which are the operator's own, change nothing for anybody. */
function sameSpec({ value: a }: CachedGrant, { value: b }: CachedGrant): boolean {
  return a.metadata.uid === b.metadata.uid && a.metadata.generation === b.metadata.generation;
}
