/**
 * What dcred's accounts and the people who use it need to be allowed. The chart's roles say the same in YAML: a test compares the two,
 * both ways.
 */
import { PLURAL } from '../api/crd.ts';
import { GRANT_PLURAL } from '../api/delegation-grant.ts';
import { API_GROUP } from '../api/keys.ts';
import { CLUSTER_DELEGATION_ISSUERS, DELEGATION_ISSUERS } from '../api/resource-types.ts';

const ISSUER_PLURAL = DELEGATION_ISSUERS.plural;
const CLUSTER_ISSUER_PLURAL = CLUSTER_DELEGATION_ISSUERS.plural;
const CERT_MANAGER_GROUP = 'cert-manager.io';

export interface Permission {
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly verb: string;
  /** Only of the object with this name. */
  readonly name?: string;
}

function permissions(
  group: string,
  resource: string,
  verbs: readonly string[],
  more: Pick<Permission, 'name' | 'subresource'> = {},
): readonly Permission[] {
  return verbs.map((verb) => ({ group, resource, verb, ...more }));
}

const READ = ['get', 'list', 'watch'];

export interface OperatorTasks {
  /** It annotates pods after a re-issue, or lifts their scheduling gates. */
  readonly patchPods: boolean;
  /** One of a list that it serves; undefined: it serves all of them. */
  readonly namespace?: string | undefined;
}

export function operatorPermissions({ namespace, patchPods }: OperatorTasks): readonly Permission[] {
  return [
    ...permissions(API_GROUP, PLURAL, READ),
    ...permissions(API_GROUP, PLURAL, ['patch'], { subresource: 'status' }),
    ...permissions(API_GROUP, GRANT_PLURAL, READ),
    ...permissions(API_GROUP, GRANT_PLURAL, ['patch'], { subresource: 'status' }),
    ...(namespace === undefined
      ? permissions('', 'namespaces', READ)
      : permissions('', 'namespaces', ['get'], { name: namespace })),
    ...permissions('', 'pods', patchPods ? [...READ, 'patch'] : READ),
    ...permissions('', 'secrets', [...READ, 'create', 'update', 'patch', 'delete']),
    ...permissions('events.k8s.io', 'events', ['create', 'patch']),
  ];
}

/** In the operator's own namespace. With shards, a Lease for each of them, and one for each replica. */
export function leaderElectionPermissions(lease: string, shards = 1): readonly Permission[] {
  if (shards > 1) return permissions('coordination.k8s.io', 'leases', ['create', 'get', 'list', 'update']);
  return [
    ...permissions('coordination.k8s.io', 'leases', ['create']),
    ...permissions('coordination.k8s.io', 'leases', ['get', 'update'], { name: lease }),
  ];
}

export function issuerPermissions(): readonly Permission[] {
  const issuers = [ISSUER_PLURAL, CLUSTER_ISSUER_PLURAL];
  return [
    ...permissions(CERT_MANAGER_GROUP, 'certificaterequests', ['list', 'watch']),
    ...permissions(CERT_MANAGER_GROUP, 'certificaterequests', ['patch'], { subresource: 'status' }),
    ...issuers.flatMap((plural) => permissions(API_GROUP, plural, ['list', 'watch'])),
    ...issuers.flatMap((plural) => permissions(API_GROUP, plural, ['patch'], { subresource: 'status' })),
  ];
}

export function secretPermission(name: string): Permission {
  return { group: '', resource: 'secrets', verb: 'get', name };
}

/** Of cert-manager's own approver: https://cert-manager.io/docs/usage/certificaterequest/#rbac-syntax */
export function approvalPermissions(): readonly Permission[] {
  return [ISSUER_PLURAL, CLUSTER_ISSUER_PLURAL].flatMap((plural) =>
    permissions(CERT_MANAGER_GROUP, 'signers', ['approve'], { name: `${plural}.${API_GROUP}/*` }),
  );
}

export interface UserTask {
  /** The commands that need it. */
  readonly command: string;
  readonly permissions: readonly Permission[];
}

/** What the commands need of whoever runs them, in the namespace that they are run for. */
export const USER_TASKS: readonly UserTask[] = [
  {
    command: 'dcred status',
    permissions: [
      ...permissions(API_GROUP, PLURAL, ['list']),
      ...permissions('', 'pods', ['list']),
      ...permissions('', 'secrets', ['list']),
    ],
  },
  {
    command: 'dcred renew, suspend and resume',
    permissions: permissions(API_GROUP, PLURAL, ['list', 'patch']),
  },
  { command: 'dcred renew --wait', permissions: permissions('', 'secrets', ['list', 'watch']) },
  {
    command: 'dcred inspect secret/NAME and pod/NAME',
    permissions: [...permissions('', 'pods', ['get']), ...permissions('', 'secrets', ['get', 'list'])],
  },
  {
    command: 'dcred audit',
    permissions: [
      ...permissions(API_GROUP, PLURAL, ['list']),
      ...permissions('', 'pods', ['list']),
      ...permissions('', 'secrets', ['list']),
      ...permissions('', 'pods', ['get', 'create'], { subresource: 'portforward' }),
    ],
  },
  { command: 'dcred dev-ca --secret', permissions: permissions('', 'secrets', ['create']) },
  { command: 'dcred events', permissions: permissions('events.k8s.io', 'events', ['list']) },
];

/** As kubectl writes it: `patch delegatedcredentials.dcred.dev/status`. */
export function describePermission({ group, name, resource, subresource, verb }: Permission): string {
  const plural = group === '' ? resource : `${resource}.${group}`;
  const path = subresource === undefined ? plural : `${plural}/${subresource}`;
  return `${verb} ${path}${name === undefined ? '' : ` ${name}`}`;
}
