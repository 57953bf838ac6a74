/** By which grant a resource has credentials of a certificate in another namespace: decided by the operator's own code. */
import type { DelegationGrantResource } from '../api/delegation-grant.ts';
import { isReadableGrant, readDelegationGrant } from '../api/read-grant.ts';
import { DELEGATION_GRANTS } from '../api/resource-types.ts';
import { type Installed, isOn, operatorOf, signerUrl } from '../check/installation.ts';
import { decideGrant } from '../grant/decide.ts';
import { certificateOf, needsGrant, type Referrer, requestOf } from '../grant/request.ts';
import { isApiError } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import { listKept } from '../kubernetes/client/list-all.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { NAMESPACES } from '../kubernetes/resource-type.ts';

/** `unseen`: I may not read what decides it. `signer`: no DelegationGrant of this cluster covers it, and a signer may have other grants. */
export type GrantFact =
  | {
      readonly kind: 'granted';
      readonly grant: string;
      readonly lifetimeSeconds: number;
      readonly maxPods: number | undefined;
    }
  | { readonly kind: 'refused' | 'signer' | 'unseen' };

type Client = Pick<ApiClient, 'get' | 'list'>;

/** Reads each namespace once, however many resources ask. */
export class GrantReader {
  readonly #client: Client;
  readonly #installed: readonly Installed[] | undefined;
  readonly #signal: AbortSignal;
  readonly #grants = new Map<string, Promise<readonly DelegationGrantResource[] | undefined>>();
  readonly #namespaces = new Map<string, Promise<KubernetesObject | undefined>>();

  /** @param installed dcred's Deployments; undefined where I may not list them */
  constructor(client: Client, installed: readonly Installed[] | undefined, signal: AbortSignal) {
    this.#client = client;
    this.#installed = installed;
    this.#signal = signal;
  }

  /** Undefined where no grant of this cluster is needed: the operator signs by a certificate of the resource's namespace. Throws ApiError. */
  async factOf(resource: Referrer): Promise<GrantFact | undefined> {
    const { namespace } = resource.metadata;
    const { args = [] } = operatorOf(namespace, this.#installed) ?? {};
    const bySigner = signerUrl(args) !== undefined;
    if (!needsGrant(resource, { requireGrant: !bySigner && isOn(args, '--require-grant', false) })) return undefined;
    const [grants, own] = await Promise.all([
      remembered(this.#grants, certificateOf(resource).namespace, (one) => this.#listGrants(one)),
      remembered(this.#namespaces, namespace, (one) => this.#getNamespace(one)),
    ]);
    if (grants === undefined) return { kind: 'unseen' };
    const consumer = { namespace, uid: own?.metadata.uid, labels: own?.metadata.labels };
    const terms = decideGrant(grants, requestOf(resource, consumer));
    if (terms === undefined && bySigner) return { kind: 'signer' };
    // A signer that I may not see, or a namespace whose labels I may not see, may make the difference.
    if (terms === undefined) return { kind: this.#installed && own ? 'refused' : 'unseen' };
    const { maxPods } = terms;
    const grant = `${terms.grant.metadata.namespace}/${terms.grant.metadata.name}`;
    return { kind: 'granted', grant, lifetimeSeconds: terms.lifetimeSeconds, maxPods };
  }

  async #listGrants(namespace: string): Promise<readonly DelegationGrantResource[] | undefined> {
    const listing = listKept(this.#client, DELEGATION_GRANTS, { namespace }, readDelegationGrant, this.#signal);
    return (await unlessForbidden(listing))?.filter(isReadableGrant);
  }

  #getNamespace(name: string): Promise<KubernetesObject | undefined> {
    const options = { signal: this.#signal, metadataOnly: true };
    return unlessForbidden(this.#client.get<KubernetesObject>(NAMESPACES, { name }, options));
  }
}

function remembered<T>(all: Map<string, Promise<T>>, key: string, read: (key: string) => Promise<T>): Promise<T> {
  const before = all.get(key);
  if (before !== undefined) return before;
  const reading = read(key);
  all.set(key, reading);
  return reading;
}

/** No definition of grants means no grants, and an operator that knows of none. */
async function unlessForbidden<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isApiError(error, 'Forbidden') || isApiError(error, 'NotFound')) return undefined;
    throw error;
  }
}
