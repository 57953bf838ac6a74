/**
 * Removes the scheduling gate that injection gave a pod. Until then no scheduler binds the pod, so no kubelet looks for a Secret
 * that does not exist yet. In any other order that is a race.
 *
 * The annotation that names the gate goes in the same write, so a crash at any moment leaves a gated pod that still says so.
 * Removing a gate that is gone changes nothing.
 */
import { gateName } from '../../api/keys.ts';
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import { PODS } from '../../kubernetes/resource-type.ts';
import type { Pod } from '../core/pod.ts';

/**
 * Returns the pod's new resourceVersion.
 * @throws ApiError: Conflict where another pod of that name has taken its place
 */
export async function liftGate(
  client: Pick<ApiClient, 'strategicMergePatch'>,
  { name, namespace, uid }: Pick<Pod, 'name' | 'namespace' | 'uid'>,
  resourceName: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const gate = gateName(resourceName);
  const patch = {
    metadata: { uid, annotations: { [gate]: null } },
    spec: { schedulingGates: [{ $patch: 'delete', name: gate }] },
  };
  const options = { signal, metadataOnly: true };
  const written = await client.strategicMergePatch(PODS, { namespace, name }, patch, options);
  return written.metadata.resourceVersion;
}
