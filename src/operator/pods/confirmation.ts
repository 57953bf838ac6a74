/**
 * Asks the API server before something is done that cannot be undone and that the caches alone suggest. Secrets, pods and resources
 * come from three watches: one may be ahead of another, and a half-open connection keeps one silent for a minute and more.
 */
import type { DelegatedCredentialResource } from '../../api/delegated-credential.ts';
import { selects } from '../../api/pod-selector.ts';
import { isReadable, readDelegatedCredential, type UnreadableResource } from '../../api/read.ts';
import { DELEGATED_CREDENTIALS } from '../../api/resource-types.ts';
import type { IssuedSecret } from '../../issued-secret/issued-secret.ts';
import type { PodKey } from '../../issued-secret/names.ts';
import { isApiError, isMissing } from '../../kubernetes/api-error.ts';
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import type { KubernetesObject } from '../../kubernetes/objects.ts';
import { PODS, type ResourceType } from '../../kubernetes/resource-type.ts';
import { isDnsSubdomain } from '../../text/dns-name.ts';
import type { GrantProof } from '../certificates/certificates.ts';
import type { DeleteReason } from '../core/plan.ts';
import { type Pod, readPod } from '../core/pod.ts';
import { chosenSecretName } from '../core/secret-name.ts';
import { StaleCacheError } from '../pod-failure.ts';
import { refusal } from '../refusal.ts';

type PodObject = KubernetesObject<{ readonly status?: { readonly phase?: string } }>;

export class Confirmation {
  readonly #client: Pick<ApiClient, 'get'>;
  readonly #grants: Pick<GrantProof, 'isWithdrawn'>;

  constructor(client: Pick<ApiClient, 'get'>, grants: Pick<GrantProof, 'isWithdrawn'>) {
    this.#client = client;
    this.#grants = grants;
  }

  /**
   * That very pod exists and has not ended: a credential for a pod that is gone serves nobody.
   * @throws StaleCacheError otherwise
   */
  async podIsThere({ name, namespace, uid }: Pick<Pod, 'name' | 'namespace' | 'uid'>, signal: AbortSignal) {
    const pod = await this.#livePod(namespace, name, signal);
    if (pod?.uid !== uid) throw new StaleCacheError(`pod "${name}" is gone, and the cache does not show it yet`);
  }

  /**
   * The Secret is not needed, for this reason.
   * @throws StaleCacheError where it is
   */
  async isUnwanted(secret: IssuedSecret, reason: DeleteReason, key: PodKey, signal: AbortSignal): Promise<void> {
    const { namespace, podName, podUid } = secret;
    if (reason === 'ResourceGone') {
      // A label may be empty, or in capitals: no object has such a name, and some are no path to ask for.
      if (!isDnsSubdomain(key.resourceName)) return;
      const resource = await this.#find(DELEGATED_CREDENTIALS, namespace, key.resourceName, signal);
      if (resource === undefined) return;
      throw new StaleCacheError(`DelegatedCredential "${key.resourceName}" exists, and the cache does not show it yet`);
    }
    const pod = await this.#livePod(namespace, podName, signal);
    if (pod === undefined || pod.uid !== podUid) return;
    if (reason === 'PodGone' || reason === 'PodReplaced') {
      throw new StaleCacheError(`pod "${podName}" exists, and the cache does not show it yet`);
    }
    const { resourceName } = key;
    if (reason === 'NotSelected') {
      const resource = await this.#resource(key, signal);
      if (resource === undefined) return;
      if (isReadable(resource) && !selects(resourceName, resource.spec.podSelector, pod)) return;
      throw new StaleCacheError(`pod "${podName}" is selected, and the cache does not show it yet`);
    }
    if (reason === 'GrantWithdrawn') {
      const resource = await this.#resource(key, signal);
      if (resource === undefined) return;
      const leaf = secret.facts?.certificateSha256;
      if (isReadable(resource) && (await this.#grants.isWithdrawn(resource, signal, leaf))) return;
      throw new StaleCacheError("the withdrawal of the certificate's grant is not confirmed");
    }
    if (chosenSecretName(resourceName, pod) !== secret.name) return;
    throw new StaleCacheError(`pod "${podName}" uses Secret "${secret.name}", and the cache does not show it yet`);
  }

  /** Undefined where there is none of that name, or it has ended. */
  async #livePod(namespace: string, name: string, signal: AbortSignal): Promise<Pod | undefined> {
    const pod = await this.#find<PodObject>(PODS, namespace, name, signal);
    const phase = pod?.status?.phase;
    return pod === undefined || phase === 'Succeeded' || phase === 'Failed' ? undefined : readPod(pod);
  }

  async #resource(
    { namespace, resourceName }: PodKey,
    signal: AbortSignal,
  ): Promise<DelegatedCredentialResource | UnreadableResource | undefined> {
    const found = await this.#find(DELEGATED_CREDENTIALS, namespace, resourceName, signal);
    return found === undefined ? undefined : readDelegatedCredential(found);
  }

  async #find<T extends KubernetesObject>(
    type: ResourceType,
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    try {
      return await this.#client.get<T>(type, { namespace, name }, { signal });
    } catch (error) {
      if (isMissing(error)) return undefined;
      if (isApiError(error, 'NotFound')) {
        const message = `the API server does not serve ${type.plural} at the moment: whether "${name}" is gone is not known`;
        throw new StaleCacheError(message, undefined, { cause: error });
      }
      throw refusal(error, 'ReadRefused', `to show ${type.kind} "${name}"`);
    }
  }
}
