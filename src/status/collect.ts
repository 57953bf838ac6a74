/** Reads what an overview is made of. Pods and Secrets as metadata only: no key ever comes here. */

import type { DelegatedCredentialResource } from '../api/delegated-credential.ts';
import { MANAGED_BY, MANAGED_BY_LABEL, RESOURCE_LABEL } from '../api/keys.ts';
import { isReadable, readDelegatedCredential } from '../api/read.ts';
import { DELEGATED_CREDENTIALS } from '../api/resource-types.ts';
import { findInstalled } from '../check/installation.ts';
import { readIssuedSecret } from '../issued-secret/issued-secret.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import { inBatches } from '../kubernetes/client/batches.ts';
import { listKept } from '../kubernetes/client/list-all.ts';
import { PODS, SECRETS } from '../kubernetes/resource-type.ts';
import { readPod } from '../operator/core/pod.ts';
import { type GrantFact, GrantReader } from './grants.ts';
import type { OverviewInput } from './overview.ts';

export interface StatusOptions {
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
  options: StatusOptions,
  signal: AbortSignal,
): Promise<Omit<OverviewInput, 'now'>> {
  const { labelSelector, names, namespace, pods } = options;
  const selection = { namespace, labelSelector };
  const listed = await listKept(client, DELEGATED_CREDENTIALS, selection, readDelegatedCredential, signal);
  const resources = names === undefined ? listed : listed.filter(({ metadata }) => names.includes(metadata.name));
  if (!pods || resources.length === 0) return { resources, pods: [], secrets: [] };
  const installing = findInstalled(client, undefined, signal);
  const [installed, grants, podList, secretList] = await Promise.all([
    installing,
    installing.then((found) => collectGrants(new GrantReader(client, found, signal), resources.filter(isReadable))),
    listKept(client, PODS, { namespace, metadataOnly: true, fieldSelector: LIVE_PODS }, readPod, signal),
    listKept(
      client,
      SECRETS,
      { namespace, metadataOnly: true, labelSelector: secretsOf(names) },
      readIssuedSecret,
      signal,
    ),
  ]);
  return { resources, installed, grants, pods: podList.filter(({ terminating }) => !terminating), secrets: secretList };
}

async function collectGrants(
  reader: GrantReader,
  resources: readonly DelegatedCredentialResource[],
): Promise<ReadonlyMap<string, GrantFact>> {
  const facts = await inBatches(resources, BATCH, async (resource) => {
    const fact = await reader.factOf(resource);
    return fact === undefined ? [] : [[`${resource.metadata.namespace}/${resource.metadata.name}`, fact] as const];
  });
  return new Map(facts.flat());
}

/** Resources whose grants are read at a time. */
const BATCH = 16;

/** Pods that have not ended. */
export const LIVE_PODS = 'status.phase!=Succeeded,status.phase!=Failed';

/** A label selector for the issued Secrets of these resources. */
export function secretsOf(names: readonly string[] | undefined): string {
  const ours = `${MANAGED_BY_LABEL}=${MANAGED_BY}`;
  return names === undefined ? ours : `${ours},${RESOURCE_LABEL} in (${names.join(',')})`;
}
