/** Helpers for tests of the operator's parts with a real API server. */

import { FIELD_MANAGER } from '../../src/api/keys.ts';
import { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { loadConnection } from '../../src/kubernetes/connection/load-connection.ts';
import type { KubernetesObject } from '../../src/kubernetes/objects.ts';
import { PODS } from '../../src/kubernetes/resource-type.ts';
import type { ControlPlane } from '../../testing/controlplane/control-plane.ts';

/** Writes under the operator's name; with the administrator's rights, unless another kubeconfig is given. */
export async function operatorsClient(plane: ControlPlane, kubeconfig = plane.kubeconfig): Promise<ApiClient> {
  const connection = await loadConnection({ kubeconfig, env: {} });
  const options = { userAgent: 'test', fieldManager: FIELD_MANAGER, clock: systemClock, random: Math.random };
  return new ApiClient(connection, options);
}

/** A pod that nothing will ever run. */
export async function createPod(
  client: ApiClient,
  name: string,
  metadata: { readonly labels?: Readonly<Record<string, string>> } = {},
): Promise<{ readonly name: string; readonly uid: string }> {
  const pod = {
    metadata: { name, namespace: 'default', ...metadata },
    spec: { containers: [{ name: 'web', image: 'example.test/web' }] },
  };
  const created = await client.create<KubernetesObject>(PODS, pod, { signal: new AbortController().signal });
  return { name, uid: created.metadata.uid ?? '' };
}
