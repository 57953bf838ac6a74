/** The operator's view of the cluster: one reflector for each kind, and for each namespace where it serves a list of them. */

import { PLURAL } from '../api/crd.ts';
import { API_VERSION, type DelegatedCredentialResource, KIND } from '../api/delegated-credential.ts';
import { API_GROUP, MANAGED_BY, MANAGED_BY_LABEL } from '../api/keys.ts';
import { readDelegatedCredential, type UnreadableResource } from '../api/read.ts';
import { type IssuedSecret, podKeyOf, readIssuedSecret } from '../issued-secret/issued-secret.ts';
import { formatObjectKey, type ObjectKey } from '../issued-secret/names.ts';
import { NamespacedCache, namespacedKey } from '../kubernetes/cache/namespaced-cache.ts';
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

type Engine = Pick<ReflectorOptions<never>, 'client' | 'clock' | 'random' | 'log' | 'observe'>;

export interface CachesOptions {
  readonly namespaces: readonly string[];
  readonly engine: (kind: string) => Engine;
  readonly onResource: (change: Change<Resource>) => void;
  readonly onPod: (change: Change<Pod>) => void;
  readonly onSecret: (change: Change<CachedSecret>) => void;
}

export type Resource = ObjectKey & { readonly value: DelegatedCredentialResource | UnreadableResource };

/** A Secret with our label; `issued` is undefined where dcred did not issue it after all. */
export type CachedSecret = ObjectKey & { readonly issued: IssuedSecret | undefined };

export class Caches {
  readonly resources: NamespacedCache<Resource>;
  readonly pods: NamespacedCache<Pod>;
  readonly secrets: NamespacedCache<CachedSecret>;

  constructor({ namespaces, engine, onResource, onPod, onSecret }: CachesOptions) {
    this.resources = new NamespacedCache(
      namespaces,
      (namespace) =>
        new Reflector<Resource>({
          ...engine('delegatedcredentials'),
          type: DELEGATED_CREDENTIALS,
          namespace,
          transform: readResource,
          keyOf: namespacedKey,
          onChange: onResource,
        }),
    );
    this.pods = new NamespacedCache(
      namespaces,
      (namespace) =>
        new Reflector<Pod>({
          ...engine('pods'),
          type: PODS,
          namespace,
          fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed',
          metadataOnly: true,
          transform: readPod,
          keyOf: namespacedKey,
          indexes: { namespace: (pod) => [pod.namespace] },
          onChange: onPod,
        }),
    );
    this.secrets = new NamespacedCache(
      namespaces,
      (namespace) =>
        new Reflector<CachedSecret>({
          ...engine('secrets'),
          type: SECRETS,
          namespace,
          labelSelector: `${MANAGED_BY_LABEL}=${MANAGED_BY}`,
          metadataOnly: true,
          transform: readSecret,
          keyOf: namespacedKey,
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
