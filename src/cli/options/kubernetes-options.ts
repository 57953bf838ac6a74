/** The flags that every command with a cluster shares; they follow kubectl. */

import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { isResourceName } from '../../api/injection.ts';
import { FIELD_MANAGER } from '../../api/keys.ts';
import { ApiClient } from '../../kubernetes/client/api-client.ts';
import type { ApiClientOptions } from '../../kubernetes/client/api-types.ts';
import { systemClock } from '../../kubernetes/clock.ts';
import type { Connection } from '../../kubernetes/connection/connection.ts';
import { loadConnection } from '../../kubernetes/connection/load-connection.ts';
import { holderIdentity } from '../../kubernetes/leader/holder-identity.ts';
import { isDnsLabel } from '../../text/dns-name.ts';
import { VERSION } from '../../version.ts';
import { type CommandArguments, CommandError, type CommandIo, type OptionSpec, UsageError } from '../command.ts';

export const KUBERNETES_OPTIONS = {
  kubeconfig: {
    type: 'string',
    value: 'FILE',
    help: 'kubeconfig to use; default: KUBECONFIG, the pod, ~/.kube/config',
  },
  context: { type: 'string', value: 'CONTEXT', help: 'context of the kubeconfig to use' },
} as const satisfies Readonly<Record<string, OptionSpec>>;

/**
 * `-n`. Checked here: an empty namespace would address the whole cluster, and a slash another path of the API.
 */
export const NAMESPACE_OPTION = {
  type: 'string',
  short: 'n',
  value: 'NAMESPACE',
  expects: (value: string) =>
    isDnsLabel(value)
      ? undefined
      : 'the name of one namespace: lower-case letters, digits and "-", at most 63 characters, such as edge',
} as const satisfies Omit<OptionSpec, 'help'>;

export const SYSTEM_NAMESPACE_OPTION = {
  ...NAMESPACE_OPTION,
  short: 's',
  help: 'namespace that dcred is installed in; default: all are searched',
} as const satisfies OptionSpec;

/** @param lease name of the Lease where the command line names none */
export function leaderElectionOptions(lease: string) {
  return {
    'leader-elect': { type: 'boolean', default: true, help: 'enable leader election among replicas, by a Lease' },
    'leader-elect-resource-name': {
      type: 'string',
      value: 'NAME',
      default: lease,
      expects: (value: string) =>
        isDnsLabel(value)
          ? undefined
          : `the name of a Lease: lower-case letters, digits and "-", at most 63 characters, such as ${lease}`,
      help: 'name of the Lease; another for each installation in a namespace',
    },
  } as const satisfies Readonly<Record<string, OptionSpec>>;
}

/** One namespace, or all: as kubectl reads objects. */
export const SCOPE_OPTIONS = {
  namespace: { ...NAMESPACE_OPTION, help: "namespace to read; the context's when absent" },
  'all-namespaces': { type: 'boolean', short: 'A', help: 'read all namespaces' },
} as const satisfies Readonly<Record<string, OptionSpec>>;

/** The namespace of `SCOPE_OPTIONS`; undefined for all. Throws UsageError for both. */
export function readScope(args: CommandArguments, defaultNamespace: string): string | undefined {
  const given = args.string('namespace');
  if (!args.boolean('all-namespaces')) return given ?? defaultNamespace;
  if (given !== undefined) throw new UsageError('expected -n NAMESPACE or -A, not both');
  return undefined;
}

/** For a message; undefined for all namespaces. */
export function inNamespaces(namespaces: string | readonly string[] | undefined): string {
  if (namespaces === undefined) return 'in any namespace';
  return `in namespace ${[namespaces]
    .flat()
    .map((name) => `"${name}"`)
    .join(', ')}`;
}

/** Throws CommandError where one of the wanted names is not among the found ones; where none is wanted, unless there is any. */
export function assertFound(found: readonly string[], wanted: readonly string[] | undefined, where: string): void {
  const missing = wanted?.filter((name) => !found.includes(name)) ?? [];
  if (missing.length > 0) throw new CommandError(`no DelegatedCredential ${missing.join(', ')} ${where}`);
  if (found.length === 0) throw new CommandError(`no DelegatedCredential ${where}`);
}

/** The DelegatedCredentials that the positionals name; undefined for all. Throws UsageError. */
export function resourceNames(args: CommandArguments): readonly string[] | undefined {
  const wrong = args.positionals.find((name) => !isResourceName(name));
  if (wrong !== undefined) throw new UsageError(`"${wrong}" is not the name of a DelegatedCredential`);
  return args.positionals.length > 0 ? args.positionals : undefined;
}

/** Finds the cluster. Throws ConnectionError with the places that were tried. */
export async function connect(args: CommandArguments, io: CommandIo): Promise<Connection> {
  return await loadConnection({ kubeconfig: args.string('kubeconfig'), context: args.string('context'), env: io.env });
}

/** Of a person who waits for one answer: an API server that is silent is reported after 20 s, and not after five tries. */
export const COMMAND_RETRIES = { maxAttempts: 2 } as const;

export function createClient(
  connection: Connection,
  options: Partial<
    Pick<ApiClientOptions, 'connections' | 'fieldManager' | 'maxAttempts' | 'observe' | 'timeoutMs'>
  > = {},
): ApiClient {
  return new ApiClient(connection, {
    userAgent: `dcred/${VERSION}`,
    fieldManager: FIELD_MANAGER,
    clock: systemClock,
    random: Math.random,
    ...options,
  });
}

/** By which this process holds a lease. */
export function leaseIdentity(io: CommandIo): string {
  const podUid = io.env['POD_UID'];
  return holderIdentity({ instance: instanceName(io), podUid, pid: process.pid, unique: randomUUID });
}

/** The pod's name in a cluster, the host's elsewhere. */
export function instanceName(io: CommandIo): string {
  return io.env['POD_NAME'] ?? hostname();
}
