/**
 * An issued Secret that came back from a backup without its owner. Tools such as Velero drop ownerReferences, so no garbage collector
 * takes it away, and in the way of a StatefulSet's new pod of the same name it would stay until somebody deletes it. See ADR 60.
 */
import {
  ISSUED_SECRET_TYPE,
  MANAGED_BY,
  MANAGED_BY_LABEL,
  RESOURCE_LABEL,
  SECRET_ANNOTATIONS,
} from '../../api/keys.ts';
import { isApiError, isMissing } from '../../kubernetes/api-error.ts';
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import type { KubernetesObject } from '../../kubernetes/objects.ts';
import { PODS, SECRETS } from '../../kubernetes/resource-type.ts';
import { isDnsSubdomain } from '../../text/dns-name.ts';

interface Ownerless {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  /** The pod that it was issued for. */
  readonly podName: string;
  readonly podUid: string;
}

/** Undefined for every Secret that says anything else than: issued by dcred, for a pod, and owned by nobody. */
function ownerlessSecret({ metadata }: KubernetesObject): Ownerless | undefined {
  const { annotations = {}, deletionTimestamp, labels = {}, ownerReferences = [] } = metadata;
  const { name, namespace, resourceVersion, uid } = metadata;
  if (labels[MANAGED_BY_LABEL] !== MANAGED_BY || labels[RESOURCE_LABEL] === undefined) return undefined;
  if (ownerReferences.length > 0 || deletionTimestamp !== undefined) return undefined;
  const podName = annotations[SECRET_ANNOTATIONS.podName] ?? '';
  const podUid = annotations[SECRET_ANNOTATIONS.podUid] ?? '';
  if (!isDnsSubdomain(podName) || podUid === '') return undefined;
  if (name === undefined || namespace === undefined || resourceVersion === undefined || uid === undefined)
    return undefined;
  return { namespace, name, uid, resourceVersion, podName, podUid };
}

/**
 * Deletes that Secret, in that very state, once the API server has confirmed its type and that its pod is gone. Three requests, and
 * only where a name is taken.
 * @returns whether the name is free now, as far as this Secret is concerned
 * @throws ApiError
 */
export async function removeRestored(
  existing: KubernetesObject,
  client: Pick<ApiClient, 'delete' | 'get' | 'list'>,
  signal: AbortSignal,
): Promise<boolean> {
  const secret = ownerlessSecret(existing);
  if (secret === undefined) return false;
  if (!(await isOfOurType(secret, client, signal)) || (await podExists(secret, client, signal))) return false;
  const { name, namespace, resourceVersion, uid } = secret;
  try {
    await client.delete(SECRETS, { namespace, name }, { signal, preconditions: { uid, resourceVersion } });
  } catch (error) {
    // Gone already. A Conflict says that it has changed: not what was examined.
    if (isApiError(error, 'Conflict')) return false;
    if (!isMissing(error)) throw error;
  }
  return true;
}

/** By a selector, because the Secret itself holds a key: only its metadata is read. */
async function isOfOurType(
  { name, namespace, resourceVersion, uid }: Ownerless,
  client: Pick<ApiClient, 'list'>,
  signal: AbortSignal,
): Promise<boolean> {
  const fieldSelector = `metadata.name=${name},type=${ISSUED_SECRET_TYPE}`;
  const { items } = await client.list(SECRETS, { namespace, fieldSelector, metadataOnly: true }, { signal });
  return items.some(({ metadata }) => metadata.uid === uid && metadata.resourceVersion === resourceVersion);
}

async function podExists(
  { namespace, podName, podUid }: Ownerless,
  client: Pick<ApiClient, 'get'>,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const { metadata } = await client.get(PODS, { namespace, name: podName }, { signal, metadataOnly: true });
    return metadata.uid === podUid;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
