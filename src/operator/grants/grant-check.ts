/**
 * Asks the API server whether a grant still holds. Watches may be silent for a minute and more (a half-open connection), a namespace
 * may have been deleted and created again in between: what they showed last permits nothing by itself.
 */
import type { DelegationGrantResource } from '../../api/delegation-grant.ts';
import { isReadableGrant, mayBeOf, readDelegationGrant } from '../../api/read-grant.ts';
import { DELEGATION_GRANTS } from '../../api/resource-types.ts';
import { decideGrant } from '../../grant/decide.ts';
import { certificateOf, needsGrant, type Referrer, requestOf } from '../../grant/request.ts';
import { isApiError, isMissing } from '../../kubernetes/api-error.ts';
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import { listKept } from '../../kubernetes/client/list-all.ts';
import type { KubernetesObject } from '../../kubernetes/objects.ts';
import type { GrantProof } from '../certificates/certificates.ts';
import type { Access } from '../core/access.ts';
import { StaleCacheError } from '../pod-failure.ts';
import { refusal } from '../refusal.ts';
import { type NamespaceFacts, readLiveNamespace } from './namespaces.ts';

type Granted = Extract<Access, { kind: 'granted' }>;

const CHANGED = 'the grant of the certificate has changed or is gone, and the cache does not show it yet';

interface Found {
  /** Undefined: there is none of that name. */
  readonly grant: KubernetesObject | undefined;
  readonly namespace: NamespaceFacts;
}

export class GrantCheck implements GrantProof {
  readonly #client: Pick<ApiClient, 'get' | 'list'>;
  readonly #requireGrant: boolean;
  /** Reads that have begun, and those that begin when they are done, by what is read. */
  readonly #running = new Map<string, Promise<Found>>();
  readonly #next = new Map<string, Promise<Found>>();

  constructor(client: Pick<ApiClient, 'get' | 'list'>, requireGrant: boolean) {
    this.#client = client;
    this.#requireGrant = requireGrant;
  }

  /**
   * The grant covers this resource now, on these terms or better ones.
   * @param resource with the lifetime that the terms permit
   * @throws StaleCacheError where it does not
   */
  async holds({ terms }: Granted, resource: Referrer, signal: AbortSignal): Promise<void> {
    const { namespace } = resource.metadata;
    if (terms.grant === undefined) throw new StaleCacheError(CHANGED);
    const found = await this.#read(terms.grant.metadata, namespace, signal).catch((error: unknown) => {
      throw refusal(error, 'ReadRefused', 'to show the grant and the namespace');
    });
    const grant = found.grant === undefined ? undefined : readDelegationGrant(found.grant);
    const live =
      grant !== undefined && isReadableGrant(grant)
        ? decideGrant([grant], requestOf(resource, { ...found.namespace, namespace }))
        : undefined;
    const isSame =
      live?.lifetimeSeconds === resource.spec.lifetimeSeconds &&
      live.maxPods === terms.maxPods &&
      live.onWithdraw === terms.onWithdraw;
    if (isSame) return;
    throw new StaleCacheError(CHANGED);
  }

  /**
   * No grant covers the resource, and none that this version cannot read may: after a rollback a grant with a newer field still
   * stands, and nothing is deleted because of it.
   */
  async isWithdrawn(resource: Referrer, signal: AbortSignal): Promise<boolean> {
    if (!needsGrant(resource, { requireGrant: this.#requireGrant })) return false;
    const { namespace } = resource.metadata;
    const certificate = certificateOf(resource);
    try {
      const selection = { namespace: certificate.namespace };
      const all = await listKept(this.#client, DELEGATION_GRANTS, selection, readDelegationGrant, signal);
      const grants: DelegationGrantResource[] = [];
      for (const grant of all) {
        if (isReadableGrant(grant)) grants.push(grant);
        else if (mayBeOf(grant, certificate.name)) return false;
      }
      const facts = await readLiveNamespace(this.#client, namespace, signal);
      return decideGrant(grants, requestOf(resource, { ...facts, namespace })) === undefined;
    } catch (error) {
      // The whole kind is gone: dcred is being uninstalled, which withdraws nothing. Nor does a page in the place of an answer.
      if (isApiError(error, 'NotFound')) return false;
      throw refusal(error, 'ReadRefused', 'to show the grants and the namespace');
    }
  }

  /**
   * Read after this call, never before. Those who ask while a read runs share the next one: a wave costs a few reads for each
   * batch of workers, not two for each pod.
   */
  #read(grant: { readonly namespace: string; readonly name: string }, namespace: string, signal: AbortSignal) {
    const key = `${grant.namespace}/${grant.name}/${namespace}`;
    const waiting = this.#next.get(key);
    if (waiting !== undefined) return waiting;
    const before = this.#running.get(key) ?? Promise.resolve();
    const next = before
      .catch(() => undefined)
      .then(async () => {
        this.#next.delete(key);
        this.#running.set(key, next);
        try {
          return await this.#readNow(grant, namespace, signal);
        } finally {
          if (this.#running.get(key) === next) this.#running.delete(key);
        }
      });
    this.#next.set(key, next);
    return next;
  }

  async #readNow(
    { name, namespace: home }: { readonly namespace: string; readonly name: string },
    namespace: string,
    signal: AbortSignal,
  ): Promise<Found> {
    const [grant, facts] = await Promise.all([
      this.#client
        .get<KubernetesObject>(DELEGATION_GRANTS, { namespace: home, name }, { signal })
        .catch((error: unknown) => {
          if (isMissing(error)) return undefined;
          throw error;
        }),
      readLiveNamespace(this.#client, namespace, signal),
    ]);
    return { grant, namespace: facts };
  }
}
