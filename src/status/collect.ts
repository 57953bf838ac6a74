/** Reads what an overview is made of. Pods and Secrets as metadata only: no key ever comes here. */
import { MANAGED_BY, MANAGED_BY_LABEL, RESOURCE_LABEL } from '../api/keys.ts';
import { readDelegatedCredential } from '../api/read.ts';
import { type IssuedSecret, readIssuedSecret } from '../issued-secret/issued-secret.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import { listAll } from '../kubernetes/client/list-all.ts';
import { PODS, SECRETS } from '../kubernetes/resource-type.ts';
import { DELEGATED_CREDENTIALS } from '../operator/caches.ts';
import { readPod } from '../operator/core/pod.ts';
import type { OverviewInput } from './overview.ts';

export interface CollectOptions {
  /** Undefined: all namespaces. */
  readonly namespace: string | undefined;
  /** Undefined: all that the label selector leaves. */
  readonly names: readonly string[] | undefined;
  readonly labelSelector: string | undefined;
  /** Whether the pods are wanted too, and not only what the resources say of them. */
  readonly pods: boolean;
}

/** Throws ApiError. Names that do not exist are left out. */
export async function collect(
  client: ApiClient,
  options: CollectOptions,
  signal: AbortSignal,
): Promise<Omit<OverviewInput, 'now'>> {
  const { labelSelector, names, namespace, pods } = options;
  const found = (await listAll(client, DELEGATED_CREDENTIALS, { namespace, labelSelector }, signal)).map((raw) =>
    readDelegatedCredential(raw),
  );
  const resources = names === undefined ? found : found.filter(({ metadata }) => names.includes(metadata.name));
  if (!pods || resources.length === 0) return { resources, pods: [], secrets: [] };
  const [podList, secretList] = await Promise.all([
    listAll(client, PODS, { namespace, metadataOnly: true, fieldSelector: LIVE_PODS }, signal),
    listAll(client, SECRETS, { namespace, metadataOnly: true, labelSelector: secretsOf(names) }, signal),
  ]);
  return {
    resources,
    pods: podList.map(readPod).filter(({ terminating }) => !terminating),
    secrets: secretList.map(readIssuedSecret).filter((secret): secret is IssuedSecret => secret !== undefined),
  };
}

const LIVE_PODS = 'status.phase!=Succeeded,status.phase!=Failed';

function secretsOf(names: readonly string[] | undefined): string {
  const ours = `${MANAGED_BY_LABEL}=${MANAGED_BY}`;
  return names === undefined ? ours : `${ours},${RESOURCE_LABEL} in (${names.join(',')})`;
}
