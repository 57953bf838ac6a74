/** The flags that every command with a cluster shares; they follow kubectl. */

import { hostname } from 'node:os';
import { FIELD_MANAGER } from '../api/keys.ts';
import { ApiClient } from '../kubernetes/client/api-client.ts';
import type { ApiClientOptions } from '../kubernetes/client/api-types.ts';
import { systemClock } from '../kubernetes/clock.ts';
import type { Connection } from '../kubernetes/connection/connection.ts';
import { loadConnection } from '../kubernetes/connection/load-connection.ts';
import { isDnsLabel } from '../text/dns-name.ts';
import { VERSION } from '../version.ts';
import type { CommandArguments, CommandIo, OptionSpec } from './command.ts';

export const KUBERNETES_OPTIONS = {
  kubeconfig: {
    type: 'string',
    value: 'FILE',
    help: 'kubeconfig to use; default: KUBECONFIG, the pod, ~/.kube/config',
  },
  context: { type: 'string', value: 'NAME', help: 'context of the kubeconfig to use' },
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

/** Finds the cluster. Throws ConnectionError with the places that were tried. */
export async function connect(args: CommandArguments, io: CommandIo): Promise<Connection> {
  return await loadConnection({ kubeconfig: args.string('kubeconfig'), context: args.string('context'), env: io.env });
}

export function createClient(
  connection: Connection,
  options: Pick<ApiClientOptions, 'connections' | 'observe'> = {},
): ApiClient {
  return new ApiClient(connection, {
    userAgent: `dcred/${VERSION}`,
    fieldManager: FIELD_MANAGER,
    clock: systemClock,
    random: Math.random,
    ...options,
  });
}

/** The pod's name in a cluster, the host's elsewhere. */
export function instanceName(io: CommandIo): string {
  return io.env['POD_NAME'] ?? hostname();
}
