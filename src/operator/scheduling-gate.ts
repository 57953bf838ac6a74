/**
 * Lifts the scheduling gate that injection gave a pod. Until then no scheduler binds the pod, so that no kubelet ever looks for a
 * Secret that is not there yet: what is a race in any other order.
 *
 * The annotation that tells of the gate goes in the same write, so that a crash at any moment leaves a pod that waits and says so.
 * Lifting one that is lifted changes nothing.
 */
import { gateName } from '../api/keys.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import { PODS } from '../kubernetes/resource-type.ts';
import type { Pod } from './core/pod.ts';

/**
 * Returns the pod's new resourceVersion.
 * @throws ApiError; Conflict where another pod has taken this one's place
 */
export async function liftGate(
  client: Pick<ApiClient, 'strategicMergePatch'>,
  { name, namespace, uid }: Pick<Pod, 'name' | 'namespace' | 'uid'>,
  resource: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const gate = gateName(resource);
  const patch = {
    metadata: { uid, annotations: { [gate]: null } },
    spec: { schedulingGates: [{ $patch: 'delete', name: gate }] },
  };
  const options = { signal, metadataOnly: true };
  const written = await client.strategicMergePatch(PODS, { namespace, name }, patch, options);
  return written.metadata.resourceVersion;
}
