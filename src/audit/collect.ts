/** Reads what an audit needs. Secrets as metadata only: no key ever comes here. Lists only, so that no other verb need be granted. */
import { readDelegatedCredential } from '../api/read.ts';
import { DELEGATED_CREDENTIALS } from '../api/resource-types.ts';
import { readIssuedSecret } from '../issued-secret/issued-secret.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import { listKept } from '../kubernetes/client/list-all.ts';
import { PODS, SECRETS } from '../kubernetes/resource-type.ts';
import { LIVE_PODS, secretsOf } from '../status/collect.ts';
import { type PodObject, readAuditedPod } from './pod.ts';
import { type AuditSubject, auditSubjects, type SubjectInput } from './subject.ts';

export interface AuditScope {
  /** Undefined: all namespaces. */
  readonly namespaces: readonly string[] | undefined;
  /** Undefined: all that the label selector leaves. */
  readonly names: readonly string[] | undefined;
  readonly labelSelector: string | undefined;
}

type Client = Pick<ApiClient, 'list'>;

/** Throws ApiError. Names that do not exist are left out. */
export async function collectAudit(client: Client, scope: AuditScope, signal: AbortSignal): Promise<SubjectInput> {
  const namespaces: readonly (string | undefined)[] = scope.namespaces ?? [undefined];
  const inputs = await Promise.all(namespaces.map((namespace) => collectIn(client, namespace, scope, signal)));
  return {
    resources: inputs.flatMap(({ resources }) => resources),
    pods: inputs.flatMap(({ pods }) => pods),
    secrets: inputs.flatMap(({ secrets }) => secrets),
  };
}

async function collectIn(
  client: Client,
  namespace: string | undefined,
  { labelSelector, names }: AuditScope,
  signal: AbortSignal,
): Promise<SubjectInput> {
  const found = await listKept(
    client,
    DELEGATED_CREDENTIALS,
    { namespace, labelSelector },
    readDelegatedCredential,
    signal,
  );
  const resources = names === undefined ? found : found.filter(({ metadata }) => names.includes(metadata.name));
  if (resources.length === 0) return { resources, pods: [], secrets: [] };
  // Of all resources, whatever was named: a pod may serve the credential of another one.
  const selection = { namespace, metadataOnly: true, labelSelector: secretsOf(undefined) };
  const [pods, secrets] = await Promise.all([
    listKept(client, PODS, { namespace, fieldSelector: LIVE_PODS }, keptPod, signal),
    listKept(client, SECRETS, selection, readIssuedSecret, signal),
  ]);
  return { resources, pods, secrets };
}

function keptPod(object: PodObject) {
  const pod = readAuditedPod(object);
  return pod.terminating ? undefined : pod;
}

/**
 * The same subject as it is now: an audit takes a while, and a pod may have gone or a credential may have been re-issued since the lists
 * were read. Undefined: there is no such pod any more.
 */
export async function refresh(
  client: Client,
  subject: AuditSubject,
  signal: AbortSignal,
): Promise<AuditSubject | undefined> {
  const { pod, resource, secretName } = subject;
  const { namespace } = pod;
  const [pods, secrets] = await Promise.all([
    listKept(client, PODS, { namespace, fieldSelector: `metadata.name=${pod.name},${LIVE_PODS}` }, keptPod, signal),
    secretName === undefined
      ? listKept(
          client,
          SECRETS,
          { namespace, metadataOnly: true, labelSelector: secretsOf([resource.metadata.name]) },
          readIssuedSecret,
          signal,
        )
      : listKept(
          client,
          SECRETS,
          { namespace, metadataOnly: true, fieldSelector: `metadata.name=${secretName}` },
          readIssuedSecret,
          signal,
        ),
  ]);
  const same = pods.filter(({ uid }) => uid === pod.uid);
  return auditSubjects({ resources: [resource], pods: same, secrets })[0];
}
