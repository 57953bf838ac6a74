/** Reads what a support archive is made of. Secrets as metadata only: no key ever comes here. */
import { WEBHOOK_NAME } from '../api/keys.ts';
import { DELEGATED_CREDENTIALS } from '../api/resource-types.ts';
import type { Finding } from '../check/finding.ts';
import { DEPLOYMENTS, PART_OF_DCRED } from '../check/installation.ts';
import { ApiError } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import { inBatches } from '../kubernetes/client/batches.ts';
import { listAll } from '../kubernetes/client/list-all.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { MUTATING_WEBHOOK_CONFIGURATIONS, PODS, type ResourceType } from '../kubernetes/resource-type.ts';
import { collect } from '../status/collect.ts';
import { collectEvents } from '../status/events.ts';
import { overviews } from '../status/overview.ts';
import { firstItems, printable } from '../text/printable.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import type { Collected } from './archive.ts';

export interface BundleOptions {
  readonly client: ApiClient;
  /** Whose resources. Undefined: all namespaces. */
  readonly namespace: string | undefined;
  /** Where dcred is installed. Undefined: it is looked for. */
  readonly systemNamespace: string | undefined;
  readonly versions: Readonly<Record<string, string>>;
  readonly findings: readonly Finding[];
  /** Seconds since the epoch. */
  readonly now: number;
  readonly signal: AbortSignal;
}

const LOG_LINES = 2_000;
const LOG_BYTES = 1_048_576;
/** An operator and a webhook have two pods each. */
const MAX_PODS_WITH_LOGS = 16;
/** The archive is made in memory: 32 MiB of logs at most. A pod of dcred's has one container, and what a mesh adds to it. */
const MAX_LOGS = 32;
const LOGS_AT_ONCE = 4;

/** What cannot be read is named among the failures. Throws the signal's reason. */
export async function collectBundle(options: BundleOptions): Promise<Collected> {
  const { client, findings, namespace, now, signal, systemNamespace, versions } = options;
  const failures: string[] = [];
  let attempts = 0;
  const attempt = async <T>(what: string, empty: T, read: () => Promise<T>): Promise<T> => {
    attempts += 1;
    try {
      return await read();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ApiError)) throw error;
      failures.push(`${what}: ${printable(error.message, 512)}`);
      return empty;
    }
  };
  const all = (what: string, type: ResourceType, place: string | undefined, labelSelector?: string) =>
    attempt<readonly KubernetesObject[]>(what, [], () =>
      listAll(client, type, { ...(type.namespaced && { namespace: place }), labelSelector }, signal),
    );
  const selection = { namespace, names: undefined, labelSelector: undefined, pods: true };
  const [resources, facts, events, deployments, pods, configurations] = await Promise.all([
    all('delegatedcredentials', DELEGATED_CREDENTIALS, namespace),
    attempt('pods and secrets', undefined, () => collect(client, selection, signal)),
    attempt('events', [], () => collectEvents(client, { namespace, names: undefined, type: undefined }, signal)),
    all('deployments', DEPLOYMENTS, systemNamespace, PART_OF_DCRED),
    all('pods of dcred', PODS, systemNamespace, PART_OF_DCRED),
    all('webhook configuration', MUTATING_WEBHOOK_CONFIGURATIONS, undefined),
  ]);
  const isEmpty = failures.length === attempts;
  // Anybody may put dcred's label on a pod of their own: those that are not beside a Deployment of dcred come last.
  const places = new Set(deployments.map(({ metadata }) => metadata.namespace));
  const rank = ({ metadata }: KubernetesObject) => (places.has(metadata.namespace) ? 0 : 1);
  const { omitted, shown } = firstItems(
    pods.toSorted((a, b) => rank(a) - rank(b)),
    MAX_PODS_WITH_LOGS,
  );
  if (omitted > 0) {
    failures.push(
      `logs of ${omitted} pods: ${pods.length} have the label ${PART_OF_DCRED}, and ${MAX_PODS_WITH_LOGS} are read: ` +
        "name dcred's namespace with -s",
    );
  }
  // The first of each pod, then the second: one pod may have hundreds.
  const containers = shown.flatMap(containersOf).toSorted((a, b) => a.position - b.position);
  const read = firstItems(containers, MAX_LOGS);
  if (read.omitted > 0) {
    failures.push(
      `logs of ${read.omitted} containers: those pods have ${containers.length}, and ${MAX_LOGS} are read: ` +
        "name dcred's namespace with -s",
    );
  }
  const logs = await inBatches(read.shown, LOGS_AT_ONCE, async ({ container, path, pod }) => {
    const text = await attempt(`log of ${pod}`, '', () => client.getText(path, { signal }));
    return [`${pod} ${container}`, text] as const;
  });
  return {
    versions,
    createdAt: formatRfc3339(now),
    findings,
    resources,
    overviews: facts === undefined ? [] : overviews({ ...facts, now }),
    events,
    deployments,
    pods,
    webhookConfigurations: configurations.filter(isOwn),
    logs: Object.fromEntries(logs),
    failures,
    isEmpty,
  };
}

function containersOf({ metadata, ...object }: KubernetesObject<{ readonly spec?: unknown }>) {
  const { name = '', namespace = '' } = metadata;
  const { containers = [] } = (object.spec ?? {}) as { readonly containers?: readonly { readonly name: string }[] };
  return containers.map(({ name: container }, position) => ({
    position,
    pod: `${namespace}/${name}`,
    container,
    path:
      `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}/log` +
      `?container=${encodeURIComponent(container)}&tailLines=${LOG_LINES}&limitBytes=${LOG_BYTES}`,
  }));
}

function isOwn(object: KubernetesObject<{ readonly webhooks?: unknown }>): boolean {
  const { webhooks = [] } = object as { readonly webhooks?: readonly { readonly name?: string }[] };
  return webhooks.some(({ name }) => name === WEBHOOK_NAME);
}
