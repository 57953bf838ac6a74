/** What there is to audit: every (resource, pod), with where to probe it and what it should serve. Pure. */
import type { DelegatedCredentialResource } from '../api/delegated-credential.ts';
import { selects } from '../api/pod-selector.ts';
import { isReadable, type UnreadableResource } from '../api/read.ts';
import type { CredentialFacts, IssuedSecret } from '../issued-secret/issued-secret.ts';
import { mountedSecret } from '../operator/core/secret-name.ts';
import { type Endpoint, endpointOf } from './endpoint.ts';
import type { AuditedPod } from './pod.ts';
import type { SecretHolder } from './verdict.ts';

export interface AuditSubject {
  readonly resource: DelegatedCredentialResource;
  readonly pod: AuditedPod;
  readonly endpoint: Endpoint;
  /** Sent as SNI; undefined: none is sent. */
  readonly serverName: string | undefined;
  readonly secretName: string | undefined;
  readonly facts: CredentialFacts | undefined;
}

export interface SubjectInput {
  readonly resources: readonly (DelegatedCredentialResource | UnreadableResource)[];
  readonly pods: readonly AuditedPod[];
  readonly secrets: readonly IssuedSecret[];
}

/** Resources for clients have nothing that could be probed, and none of the pods of a spec that cannot be read are known. */
export function auditable(
  resources: readonly (DelegatedCredentialResource | UnreadableResource)[],
): readonly DelegatedCredentialResource[] {
  return resources.filter(isReadable).filter(({ spec }) => spec.usage === 'Server');
}

/** Costs one pass over the objects, and one over the pods of a namespace for each of its resources. */
export function auditSubjects({ pods, resources, secrets }: SubjectInput): readonly AuditSubject[] {
  const podsOf = Map.groupBy(pods, ({ namespace }) => namespace);
  const secretsOf = Map.groupBy(
    secrets,
    ({ namespace, podUid, resourceName }) => `${namespace}/${resourceName}/${podUid}`,
  );
  return auditable(resources).flatMap((resource) => {
    const { name, namespace } = resource.metadata;
    const serverName = serverNameOf(resource);
    return (podsOf.get(namespace) ?? [])
      .filter((pod) => selects(name, resource.spec.podSelector, pod))
      .map((pod) => {
        const secret = mountedSecret(secretsOf.get(`${namespace}/${name}/${pod.uid}`) ?? [], name, pod);
        return {
          resource,
          pod,
          endpoint: endpointOf(name, pod.portAnnotations.get(name), pod.ports),
          serverName,
          secretName: secret?.name,
          facts: secret?.facts,
        };
      });
  });
}

/** A server with several certificates chooses by the name. For a wildcard, any label does. */
function serverNameOf({ status }: DelegatedCredentialResource): string | undefined {
  const [name] = status.certificate?.dnsNames ?? [];
  return name?.startsWith('*.') ? `dcred-audit${name.slice(1)}` : name;
}

/**
 * By the hash of the credential that the Secret holds. Not by what another client has written on a Secret: the hash of a served
 * credential is no secret, and a tenant who claims it would have another pod reported.
 */
export function credentialHolders(secrets: readonly IssuedSecret[]): ReadonlyMap<string, SecretHolder> {
  return new Map(
    secrets.flatMap(({ facts, intact, namespace, podName, resourceName }) =>
      !intact || facts?.credentialSha256 === undefined
        ? []
        : [[facts.credentialSha256, { pod: `${namespace}/${podName}`, resource: resourceName }] as const],
    ),
  );
}
