/** What a person wants to know of a DelegatedCredential and its pods, from the objects as they are. Pure. */
import type { DelegatedCredentialResource, DelegatedCredentialStatus } from '../api/delegated-credential.ts';
import { selects } from '../api/pod-selector.ts';
import { isReadable, type UnreadableResource } from '../api/read.ts';
import type { Installed } from '../check/installation.ts';
import type { IssuedSecret } from '../issued-secret/issued-secret.ts';
import type { Pod } from '../operator/core/pod.ts';
import { mountedSecret } from '../operator/core/secret-name.ts';
import { ALARMS } from '../operator/core/status.ts';
import type { GrantFact } from './grants.ts';
import { type SignerFact, signerOf } from './signer.ts';

/**
 * `current`: valid and of the certificate that the resource has now. `outdated`: valid, of another certificate. `expired`: no
 * peer accepts it any more. `missing`: there is none. `unknown`: another client changed what dcred wrote on the Secret.
 */
export type CredentialState = 'current' | 'outdated' | 'expired' | 'missing' | 'unknown';

/** Times in seconds since the epoch. */
export interface PodOverview {
  readonly name: string;
  readonly state: CredentialState;
  readonly secret: string | undefined;
  readonly issuedAt: number | undefined;
  readonly renewAt: number | undefined;
  readonly expiresAt: number | undefined;
  /** The pod waits, unscheduled, for its Secret. */
  readonly gated: boolean;
}

export interface ResourceOverview {
  readonly namespace: string;
  readonly name: string;
  readonly ready: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
  /** Conditions other than Ready that say that something is wrong. */
  readonly warnings: readonly { readonly type: string; readonly reason: string; readonly message: string }[];
  readonly suspended: boolean;
  readonly certificateName: string | undefined;
  /** By which a certificate of another namespace is used; undefined where none is needed. */
  readonly grant: GrantFact | undefined;
  /** Undefined where none is used, or none can be seen. */
  readonly signer: SignerFact | undefined;
  readonly status: DelegatedCredentialStatus;
  /** Sorted: what needs attention first, then by name. */
  readonly pods: readonly PodOverview[];
}

export interface OverviewInput {
  readonly resources: readonly (DelegatedCredentialResource | UnreadableResource)[];
  readonly pods: readonly Pod[];
  readonly secrets: readonly IssuedSecret[];
  /** By `namespace/name` of the resource. */
  readonly grants?: ReadonlyMap<string, GrantFact>;
  /** dcred's Deployments, where I may list them. */
  readonly installed?: readonly Installed[] | undefined;
  /** Seconds since the epoch. */
  readonly now: number;
}

const URGENCY = { expired: 0, missing: 1, unknown: 2, outdated: 3, current: 4 } as const satisfies Record<
  CredentialState,
  number
>;

/** Costs one pass over the objects, and one over the pods of a namespace for each of its resources. */
export function overviews({
  grants,
  installed,
  now,
  pods,
  resources,
  secrets,
}: OverviewInput): readonly ResourceOverview[] {
  const podsOf = groupBy(pods, ({ namespace }) => namespace);
  const secretsOf = groupBy(secrets, ({ namespace, resourceName }) => `${namespace}/${resourceName}`);
  return resources.map((resource) => {
    const { name, namespace } = resource.metadata;
    const selected = (podsOf.get(namespace) ?? []).filter((pod) => isSelected(resource, pod));
    const issued = groupBy(secretsOf.get(`${namespace}/${name}`) ?? [], ({ podUid }) => podUid);
    const sha256 = resource.status.certificate?.sha256;
    const rows = selected.map((pod) =>
      podOverview({
        pod,
        resourceName: name,
        secret: mountedSecret(issued.get(pod.uid) ?? [], name, pod),
        sha256,
        now,
      }),
    );
    rows.sort((a, b) => URGENCY[a.state] - URGENCY[b.state] || a.name.localeCompare(b.name));
    const grant = grants?.get(`${namespace}/${name}`);
    return { ...resourceFacts(resource), grant, signer: signerOf(namespace, resource.status, installed), pods: rows };
  });
}

function isSelected(resource: DelegatedCredentialResource | UnreadableResource, pod: Pod): boolean {
  return isReadable(resource) && selects(resource.metadata.name, resource.spec.podSelector, pod);
}

function resourceFacts(
  resource: DelegatedCredentialResource | UnreadableResource,
): Omit<ResourceOverview, 'grant' | 'pods' | 'signer'> {
  const { metadata, status } = resource;
  const conditions = status.conditions ?? [];
  const ready = conditions.find(({ type }) => type === 'Ready');
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    ready: ready?.status ?? 'Unknown',
    reason: ready?.reason ?? 'NotReported',
    message:
      ready?.message ??
      'no operator has reported on this resource yet: is dcred running, and does it serve this namespace?',
    warnings: conditions
      .filter(({ status: is, type }) => type !== 'Ready' && (ALARMS.has(type) ? is === 'True' : is !== 'True'))
      .map(({ message, reason, type }) => ({ type, reason, message })),
    suspended: isReadable(resource) && resource.spec.suspend,
    certificateName: isReadable(resource) ? secretOf(resource) : undefined,
    status,
  };
}

/** With its namespace, where that is another one. */
function secretOf({ metadata, spec }: DelegatedCredentialResource): string {
  const { name, namespace = metadata.namespace } = spec.certificateRef;
  return namespace === metadata.namespace ? name : `${namespace}/${name}`;
}

interface PodInput {
  readonly pod: Pod;
  readonly resourceName: string;
  readonly secret: IssuedSecret | undefined;
  readonly sha256: string | undefined;
  readonly now: number;
}

function podOverview({ now, pod, resourceName, secret, sha256 }: PodInput): PodOverview {
  const facts = secret?.facts;
  return {
    name: pod.name,
    state: stateOf(secret, sha256, now),
    secret: secret?.name,
    issuedAt: facts?.issuedAt,
    renewAt: facts?.renewAt,
    expiresAt: facts?.expiresAt,
    gated: pod.gated.includes(resourceName),
  };
}

function stateOf(secret: IssuedSecret | undefined, sha256: string | undefined, now: number): CredentialState {
  if (secret === undefined) return 'missing';
  if (secret.facts === undefined) return 'unknown';
  if (secret.facts.expiresAt <= now) return 'expired';
  return sha256 === undefined || secret.facts.certificateSha256 === sha256 ? 'current' : 'outdated';
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}
