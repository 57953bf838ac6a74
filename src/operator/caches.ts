/** What the operator sees of the cluster: one reflector a kind, or one a kind and namespace where it serves a list of them. */

import { PLURAL } from '../api/crd.ts';
import { API_VERSION, type DelegatedCredentialResource, KIND } from '../api/delegated-credential.ts';
import { API_GROUP, MANAGED_BY, MANAGED_BY_LABEL } from '../api/keys.ts';
import { readDelegatedCredential, type UnreadableResource } from '../api/read.ts';
import { type IssuedSecret, podKeyOf, readIssuedSecret } from '../issued-secret/issued-secret.ts';
import { formatObjectKey, type ObjectKey } from '../issued-secret/names.ts';
import { type Change, Reflector, type ReflectorOptions } from '../kubernetes/cache/reflector.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { PODS, type ResourceType, SECRETS } from '../kubernetes/resource-type.ts';
import { type Pod, readPod } from './core/pod.ts';

export const DELEGATED_CREDENTIALS: ResourceType = {
  group: API_GROUP,
  version: API_VERSION,
  plural: PLURAL,
  kind: KIND,
  namespaced: true,
};

type Named = ObjectKey;
type Common = 'client' | 'clock' | 'random' | 'log' | 'observe';
type Engine = Pick<ReflectorOptions<never>, Common>;

/** One kind in every namespace that is served. */
export class Cache<T extends Named> {
  readonly #reflectors: ReadonlyMap<string, Reflector<T>>;

  /** `namespaces`: empty for all of them, in one watch. */
  constructor(namespaces: readonly string[], make: (namespace: string | undefined) => Reflector<T>) {
    const scopes = namespaces.length === 0 ? [undefined] : [...new Set(namespaces)];
    this.#reflectors = new Map(scopes.map((namespace) => [namespace ?? '', make(namespace)]));
  }

  get(namespace: string, name: string): T | undefined {
    return this.#scope(namespace)?.store.get(formatObjectKey({ namespace, name }));
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

export interface CachesOptions {
  readonly namespaces: readonly string[];
  readonly engine: (kind: string) => Engine;
  readonly onResource: (change: Change<Resource>) => void;
  readonly onPod: (change: Change<Pod>) => void;
  readonly onSecret: (change: Change<CachedSecret>) => void;
}

export type Resource = Named & { readonly value: DelegatedCredentialResource | UnreadableResource };

/** A Secret with our label; `issued` is undefined where it is not one of ours after all. */
export type CachedSecret = Named & { readonly issued: IssuedSecret | undefined };

export class Caches {
  readonly resources: Cache<Resource>;
  readonly pods: Cache<Pod>;
  readonly secrets: Cache<CachedSecret>;

  constructor({ namespaces, engine, onResource, onPod, onSecret }: CachesOptions) {
    this.resources = new Cache(
      namespaces,
      (namespace) =>
        new Reflector<Resource>({
          ...engine('delegatedcredentials'),
          type: DELEGATED_CREDENTIALS,
          namespace,
          transform: readResource,
          keyOf: formatObjectKey,
          onChange: onResource,
        }),
    );
    this.pods = new Cache(
      namespaces,
      (namespace) =>
        new Reflector<Pod>({
          ...engine('pods'),
          type: PODS,
          namespace,
          fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed',
          metadataOnly: true,
          transform: readPod,
          keyOf: formatObjectKey,
          indexes: { namespace: (pod) => [pod.namespace] },
          onChange: onPod,
        }),
    );
    this.secrets = new Cache(
      namespaces,
      (namespace) =>
        new Reflector<CachedSecret>({
          ...engine('secrets'),
          type: SECRETS,
          namespace,
          labelSelector: `${MANAGED_BY_LABEL}=${MANAGED_BY}`,
          metadataOnly: true,
          transform: readSecret,
          keyOf: formatObjectKey,
          indexes: {
            podKey: ({ issued }) => (issued === undefined ? [] : [podKeyOf(issued)]),
            resource: ({ issued }) =>
              issued === undefined ? [] : [formatObjectKey({ namespace: issued.namespace, name: issued.resourceName })],
          },
          onChange: onSecret,
        }),
    );
  }

  get hasSynced(): boolean {
    return this.resources.hasSynced && this.pods.hasSynced && this.secrets.hasSynced;
  }

  async synced(): Promise<void> {
    await Promise.all([this.resources.synced(), this.pods.synced(), this.secrets.synced()]);
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.resources.run(signal), this.pods.run(signal), this.secrets.run(signal)]);
  }
}

function readResource(raw: KubernetesObject): Resource {
  const value = readDelegatedCredential(raw);
  return { namespace: value.metadata.namespace, name: value.metadata.name, value };
}

function readSecret(raw: KubernetesObject): CachedSecret {
  const { namespace = '', name = '' } = raw.metadata;
  return { namespace, name, issued: readIssuedSecret(raw) };
}
