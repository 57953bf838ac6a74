/** The operator's view of the cluster: one reflector for each kind, and for each namespace where it serves a list of them. */

import type { DelegatedCredentialResource } from '../api/delegated-credential.ts';
import { MANAGED_BY, MANAGED_BY_LABEL } from '../api/keys.ts';
import { readDelegatedCredential, type UnreadableResource } from '../api/read.ts';
import { DELEGATED_CREDENTIALS } from '../api/resource-types.ts';
import { type IssuedSecret, podKeyOf, readIssuedSecret } from '../issued-secret/issued-secret.ts';
import { formatObjectKey, type ObjectKey } from '../issued-secret/names.ts';
import { NamespacedCache, namespacedKey, type ReflectorScope } from '../kubernetes/cache/namespaced-cache.ts';
import { type Change, Reflector, type ReflectorOptions } from '../kubernetes/cache/reflector.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { PODS, SECRETS } from '../kubernetes/resource-type.ts';
import { type Pod, readPod } from './core/pod.ts';

type Engine = Pick<ReflectorOptions<never>, 'client' | 'clock' | 'random' | 'log' | 'observe'>;

export interface CachesOptions {
  readonly namespaces: readonly string[];
  readonly engine: (kind: string) => Engine;
  readonly onResource: (change: Change<Resource>) => void;
  readonly onPod: (change: Change<Pod>) => void;
  readonly onSecret: (change: Change<CachedSecret>) => void;
  /** The API server begins to refuse what is needed. */
  readonly onRefused: (refusal: CacheRefusal) => void;
}

export type Resource = ObjectKey & { readonly value: DelegatedCredentialResource | UnreadableResource };

/** A Secret with our label; `issued` is undefined where dcred did not issue it after all. */
export type CachedSecret = ObjectKey & { readonly issued: IssuedSecret | undefined };

export class Caches {
  readonly resources: NamespacedCache<Resource>;
  readonly pods: NamespacedCache<Pod>;
  readonly secrets: NamespacedCache<CachedSecret>;
  readonly #namespaces: readonly string[];

  constructor({ namespaces, engine, onRefused, onResource, onPod, onSecret }: CachesOptions) {
    this.#namespaces = namespaces.length === 0 ? [''] : namespaces;
    const refused = (resource: string) => (namespace: string, reason: string) =>
      onRefused({ resource, namespace, reason });
    this.resources = new NamespacedCache(
      namespaces,
      ({ namespace, observe }) =>
        new Reflector<Resource>({
          ...observed(engine('delegatedcredentials'), observe),
          type: DELEGATED_CREDENTIALS,
          namespace,
          transform: readResource,
          keyOf: namespacedKey,
          onChange: onResource,
        }),
      refused('delegatedcredentials'),
    );
    this.pods = new NamespacedCache(
      namespaces,
      ({ namespace, observe }) =>
        new Reflector<Pod>({
          ...observed(engine('pods'), observe),
          type: PODS,
          namespace,
          fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed',
          metadataOnly: true,
          transform: readPod,
          keyOf: namespacedKey,
          indexes: { namespace: (pod) => [pod.namespace] },
          onChange: onPod,
        }),
      refused('pods'),
    );
    this.secrets = new NamespacedCache(
      namespaces,
      ({ namespace, observe }) =>
        new Reflector<CachedSecret>({
          ...observed(engine('secrets'), observe),
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
      refused('secrets'),
    );
  }

  /** Whether all that a decision in this namespace needs has been listed once. */
  isComplete(namespace: string): boolean {
    return [this.resources, this.pods, this.secrets].every((cache) => cache.hasSynced(namespace));
  }

  /** Where that is not so yet: namespaces, or '' where all of them are in one cache. */
  get incomplete(): readonly string[] {
    return this.#namespaces.filter((namespace) => !this.isComplete(namespace));
  }

  /** Resolves when the namespace is complete. */
  async complete(namespace: string): Promise<void> {
    await Promise.all([this.resources, this.pods, this.secrets].map((cache) => cache.synced(namespace)));
  }

  /** What the API server refuses to show: a kind, in a namespace or ('') in all of them. */
  get refusals(): readonly CacheRefusal[] {
    const kinds = { delegatedcredentials: this.resources, pods: this.pods, secrets: this.secrets };
    return Object.entries(kinds).flatMap(([resource, cache]) =>
      [...cache.refusals].map(([namespace, reason]) => ({ resource, namespace, reason })),
    );
  }

  /** Why something cannot be decided yet, or at all; undefined where everything can. */
  get problem(): string | undefined {
    const [refusal] = this.refusals;
    if (refusal !== undefined) {
      const { namespace, reason, resource } = refusal;
      const where = namespace === '' ? 'any namespace' : `namespace "${namespace}"`;
      return `the API server refuses to list ${resource} in ${where} (${reason}): grant the permission, or leave the namespace out`;
    }
    return this.incomplete.length === 0 ? undefined : 'the caches are not filled yet';
  }

  /** Resolves when every namespace has been listed, or refused, once. */
  async settled(): Promise<void> {
    await Promise.all([this.resources.settled(), this.pods.settled(), this.secrets.settled()]);
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.resources.run(signal), this.pods.run(signal), this.secrets.run(signal)]);
  }
}

export interface CacheRefusal {
  readonly resource: string;
  readonly namespace: string;
  readonly reason: string;
}

/** Two observers of the same events. */
function observed(engine: Engine, observe: ReflectorScope['observe']): Engine {
  return {
    ...engine,
    observe: (event) => {
      observe(event);
      engine.observe?.(event);
    },
  };
}

function readResource(raw: KubernetesObject): Resource {
  const value = readDelegatedCredential(raw);
  return { namespace: value.metadata.namespace, name: value.metadata.name, value };
}

function readSecret(raw: KubernetesObject): CachedSecret {
  const { namespace = '', name = '' } = raw.metadata;
  return { namespace, name, issued: readIssuedSecret(raw) };
}
