/**
 * Compares what dcred's accounts did, by the API server's audit log, with what the chart's roles let them do. Both ways: a request that
 * no rule grants is a missing permission, a rule that no request needs is an unnecessary one.
 */
import type { AuditEvent, AuditRule } from '../controlplane/audit.ts';

/** One request, or one permission; `*` stands for every namespace or every name. */
export interface Access {
  /** `system:serviceaccount:NAMESPACE:NAME`. */
  readonly user: string;
  readonly verb: string;
  /** `pods`, `delegatedcredentials.dcred.dev/status`. */
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
}

export interface AccessReport {
  /** Requests that no rule grants. */
  readonly ungranted: readonly string[];
  /** Permissions that no request needed. */
  readonly unused: readonly string[];
}

interface Rule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

/** What is read of Roles, ClusterRoles and their bindings; other kinds are ignored. */
export interface RbacObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly Rule[];
  readonly roleRef?: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly { readonly kind: string; readonly name: string; readonly namespace?: string }[];
}

const ANY = '*';

/** Every permission that the bindings among these objects grant to a service account, one for each verb, resource and name. */
export function grants(objects: readonly RbacObject[]): readonly Access[] {
  return objects.flatMap(({ kind, metadata, roleRef, subjects = [] }) => {
    if (kind !== 'RoleBinding' && kind !== 'ClusterRoleBinding') return [];
    const role = objects.find(
      (one) =>
        one.kind === roleRef?.kind &&
        one.metadata.name === roleRef.name &&
        (one.kind === 'ClusterRole' || one.metadata.namespace === metadata.namespace),
    );
    const namespace = kind === 'RoleBinding' ? (metadata.namespace ?? ANY) : ANY;
    return subjects
      .filter((subject) => subject.kind === 'ServiceAccount')
      .map((subject) => `system:serviceaccount:${subject.namespace}:${subject.name}`)
      .flatMap((user) => (role?.rules ?? []).flatMap((rule) => expand(rule, user, namespace)));
  });
}

function expand(rule: Rule, user: string, namespace: string): readonly Access[] {
  const { apiGroups = [], resourceNames = [ANY], resources = [], verbs } = rule;
  return apiGroups.flatMap((group) =>
    resources.flatMap((path) =>
      verbs.flatMap((verb) =>
        resourceNames.map((name) => ({ user, verb, resource: resourceName(group, path), namespace, name })),
      ),
    ),
  );
}

/** The resources of these requests. A request for no resource, such as `/version`, is open to everyone. */
export function uses(events: readonly AuditEvent[]): readonly Access[] {
  return events.flatMap(({ objectRef: ref, user, verb }) => {
    if (ref?.resource === undefined) return [];
    const path = ref.subresource === undefined ? ref.resource : `${ref.resource}/${ref.subresource}`;
    return [
      {
        user: user.username,
        verb,
        resource: resourceName(ref.apiGroup ?? '', path),
        namespace: ref.namespace ?? ANY,
        name: ref.name ?? ANY,
      },
    ];
  });
}

/** `dcred.dev`, `delegatedcredentials/status` to `delegatedcredentials.dcred.dev/status`, as kubectl writes it. */
function resourceName(group: string, path: string): string {
  const [plural = '', ...sub] = path.split('/');
  return [group === '' ? plural : `${plural}.${group}`, ...sub].join('/');
}

export function compareAccess(granted: readonly Access[], used: readonly Access[]): AccessReport {
  const users = new Set(granted.map(({ user }) => user));
  const relevant = used.filter(({ user }) => users.has(user));
  return {
    ungranted: unique(relevant.filter((use) => !granted.some((grant) => covers(grant, use)))),
    unused: unique(granted.filter((grant) => !relevant.some((use) => covers(grant, use)))),
  };
}

function covers(grant: Access, use: Access): boolean {
  return (
    grant.user === use.user &&
    grant.verb === use.verb &&
    grant.resource === use.resource &&
    (grant.namespace === ANY || grant.namespace === use.namespace) &&
    (grant.name === ANY || grant.name === use.name)
  );
}

function unique(all: readonly Access[]): readonly string[] {
  const lines = all.map(({ name, namespace, resource, user, verb }) => {
    const account = user.slice(user.lastIndexOf(':') + 1);
    return `${account}: ${verb} ${resource} in ${namespace}, name ${name}`;
  });
  return [...new Set(lines)].sort();
}

/** For a control plane's option `audit`: the requests of dcred's accounts, and of no other. */
export const AUDITED_ACCESS: readonly AuditRule[] = [
  { level: 'Metadata', userGroups: ['system:serviceaccounts:dcred-system'] },
  { level: 'None' },
];
