/** Names for completion, from the cluster and the kubeconfig. A person waits for them: late is as bad as never. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ISSUED_SECRET_TYPE, MANAGED_BY, MANAGED_BY_LABEL } from '../../api/keys.ts';
import { DELEGATED_CREDENTIALS } from '../../api/resource-types.ts';
import type { ListSelection } from '../../kubernetes/client/api-types.ts';
import { listKept } from '../../kubernetes/client/list-all.ts';
import { contextNames, loadConnection } from '../../kubernetes/connection/load-connection.ts';
import { NAMESPACES, PODS, type ResourceType, SECRETS } from '../../kubernetes/resource-type.ts';
import type { CommandIo } from '../command.ts';
import type { LiveKind } from '../expected.ts';
import { parseDuration } from '../options/duration.ts';
import { createClient } from '../options/kubernetes-options.ts';
import type { TypedScope } from './complete.ts';

/** How long completion waits for names, such as `10s` for a cluster that is far away. */
const TIMEOUT_VARIABLE = 'DCRED_COMPLETION_TIMEOUT';
const DEFAULT_WAIT_SECONDS = 2;
const MAX_WAIT_SECONDS = 300;

interface Selected {
  readonly type: ResourceType;
  readonly select?: Pick<ListSelection, 'fieldSelector' | 'labelSelector'>;
}

const LISTED: Readonly<Record<Exclude<LiveKind, 'Context'>, Selected>> = {
  DelegatedCredential: { type: DELEGATED_CREDENTIALS },
  Pod: { type: PODS },
  IssuedSecret: { type: SECRETS, select: { labelSelector: `${MANAGED_BY_LABEL}=${MANAGED_BY}` } },
  CertificateSecret: { type: SECRETS, select: { fieldSelector: `type!=${ISSUED_SECRET_TYPE}` } },
  Namespace: { type: NAMESPACES },
};

/**
 * Those that are there before the time is over, and that I may list; each once. Never throws: there is nobody to read an error while a
 * command is typed.
 */
export async function liveNames(kind: LiveKind, typed: TypedScope, io: CommandIo): Promise<readonly string[]> {
  const names = new Set<string>();
  const timeoutMs = waitSeconds(io) * 1000;
  const signal = AbortSignal.any([io.signal, AbortSignal.timeout(timeoutMs)]);
  const kubeconfig = typed.kubeconfig === undefined ? undefined : withoutTilde(typed.kubeconfig, io);
  const from = { kubeconfig, context: typed.context, env: io.env };
  try {
    if (kind === 'Context') return await contextNames(from);
    const connection = await loadConnection(from);
    const client = createClient(connection, { connections: 1, maxAttempts: 1, timeoutMs });
    try {
      const { select, type } = LISTED[kind];
      const namespace =
        type.namespaced && !typed.allNamespaces ? (typed.namespace ?? connection.defaultNamespace) : undefined;
      const keep = ({ metadata }: { readonly metadata: { readonly name?: string } }) => {
        if (metadata.name !== undefined) names.add(metadata.name);
        return undefined;
      };
      await listKept(client, type, { ...select, namespace, metadataOnly: true }, keep, signal);
    } finally {
      await client.close();
    }
  } catch {
    // Forbidden, no such kind, no cluster, too late.
  }
  return [...names].sort();
}

/** The default for a value that is no duration, or too long: no error is read while a command is typed. */
function waitSeconds({ env }: CommandIo): number {
  try {
    const seconds = parseDuration(env[TIMEOUT_VARIABLE] ?? '', TIMEOUT_VARIABLE);
    return seconds >= 1 && seconds <= MAX_WAIT_SECONDS ? seconds : DEFAULT_WAIT_SECONDS;
  } catch {
    return DEFAULT_WAIT_SECONDS;
  }
}

/** The shell expands it only once the line is run. */
function withoutTilde(path: string, { env }: CommandIo): string {
  return path.startsWith('~/') ? join(env['HOME'] ?? homedir(), path.slice(2)) : path;
}
