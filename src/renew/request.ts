/** Finds the selected DelegatedCredentials, and requests that the operator re-issues what was issued for them. */
import { RENEW_REQUESTED_AT } from '../api/keys.ts';
import { formatRenewRequest } from '../api/renew-request.ts';
import { DELEGATED_CREDENTIALS } from '../api/resource-types.ts';
import { isMissing } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import { listKept } from '../kubernetes/client/list-all.ts';
import type { KubernetesObject, ManagedFieldsEntry } from '../kubernetes/objects.ts';
import { printable, printableList } from '../text/printable.ts';

export interface RenewTarget {
  readonly namespace: string;
  readonly name: string;
  /** Re-issued once `spec.suspend` is false, and not before. */
  readonly suspended: boolean;
}

export interface Selection {
  /** Undefined: all namespaces. */
  readonly namespace: string | undefined;
  /** Undefined: all that the label selector leaves. */
  readonly names: readonly string[] | undefined;
  readonly labelSelector: string | undefined;
}

/** Nothing was requested, because not all that was named exists. */
export class UnknownResourcesError extends Error {
  readonly code = 'UnknownResources';
  override readonly name = 'UnknownResourcesError';
}

type Resource = KubernetesObject<{ readonly spec?: { readonly suspend?: boolean } }>;

/** Throws UnknownResourcesError for names that do not exist, ApiError. May be empty for a label selector or all. */
export async function findTargets(
  client: Pick<ApiClient, 'list'>,
  { labelSelector, names, namespace }: Selection,
  signal: AbortSignal,
): Promise<readonly RenewTarget[]> {
  const keep = ({ metadata, spec }: Resource): RenewTarget => ({
    namespace: metadata.namespace ?? '',
    name: metadata.name ?? '',
    suspended: spec?.suspend === true,
  });
  const found = await listKept(client, DELEGATED_CREDENTIALS, { namespace, labelSelector }, keep, signal);
  if (names === undefined) return found;
  const unknown = names.filter((name) => !found.some((target) => target.name === name));
  if (unknown.length === 0) return found.filter(({ name }) => names.includes(name));
  const there = found.length === 0 ? 'which has none' : `which has ${printableList(found.map(({ name }) => name))}`;
  throw new UnknownResourcesError(
    `no DelegatedCredential ${printableList(unknown.map((name) => `"${name}"`))} in namespace "${namespace}", ${there}: nothing was changed`,
  );
}

/** Clocks that differ by less count as equal: a request counts from the next whole second. */
const TOLERATED_SKEW_MS = 2_000;

export interface Request {
  /** What was written, in seconds since the epoch. Whatever was issued before is re-issued. */
  readonly requestedAt: number;
  /** How far the API server's clock is ahead of this one, where that mattered. */
  readonly skewSeconds: number;
  readonly requested: readonly RenewTarget[];
  /** Those for which it was not requested, and why. */
  readonly failures: readonly Failure[];
}

interface Failure {
  readonly target: RenewTarget;
  /** Without a body or a credential: for people. */
  readonly message: string;
}

/**
 * Writes the annotation, the same moment for all. The operator compares the moment with its own clock, so one that comes from a
 * wrong clock would re-issue too little or too late: the API server records the time of every write, and where that differs, its
 * time is written. After a failure the others are still requested: a stolen key does not wait for another team's permissions.
 * Throws only when the signal is aborted.
 * @param nowMs milliseconds since the epoch, by this machine's clock
 */
export async function requestRenewal(
  client: ApiClient,
  targets: readonly RenewTarget[],
  nowMs: number,
  signal: AbortSignal,
): Promise<Request> {
  let requestedMs = nowMs;
  let skewSeconds = 0;
  let isTimeChecked = false;
  const requested: RenewTarget[] = [];
  const failures: Failure[] = [];
  for (const target of targets) {
    try {
      const written = await write(client, target, requestedMs, signal);
      const serverMs: number | undefined = isTimeChecked ? undefined : timeOfWrite(written?.metadata.managedFields);
      isTimeChecked ||= serverMs !== undefined;
      if (serverMs !== undefined && Math.abs(serverMs - nowMs) > TOLERATED_SKEW_MS) {
        skewSeconds = Math.round((serverMs - nowMs) / 1000);
        // The server's time is cut to the second: the next one, so that nothing issued in this one is left out.
        requestedMs = serverMs + 1_000;
        await write(client, target, requestedMs, signal);
      }
      requested.push(target);
    } catch (error) {
      signal.throwIfAborted();
      failures.push({ target, message: printable(error instanceof Error ? error.message : String(error), 1_024) });
    }
  }
  return { requestedAt: requestedMs / 1000, skewSeconds, requested, failures };
}

/** Undefined where the resource was deleted meanwhile, and its Secrets with it. */
async function write(
  client: ApiClient,
  { name, namespace }: RenewTarget,
  requestedMs: number,
  signal: AbortSignal,
): Promise<KubernetesObject | undefined> {
  const patch = { metadata: { annotations: { [RENEW_REQUESTED_AT]: formatRenewRequest(requestedMs / 1000) } } };
  try {
    return await client.mergePatch(DELEGATED_CREDENTIALS, { namespace, name }, patch, { signal, metadataOnly: true });
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** When the annotation was written, by the API server's clock, in milliseconds since the epoch. */
function timeOfWrite(entries: readonly ManagedFieldsEntry[] = []): number | undefined {
  const times = entries.filter(({ fieldsV1 }) => ownsRequest(fieldsV1)).map(({ time }) => Date.parse(time ?? ''));
  const latest = Math.max(...times.filter((time) => !Number.isNaN(time)));
  return Number.isFinite(latest) ? latest : undefined;
}

function ownsRequest(fields: unknown): boolean {
  const annotations = inside(inside(fields, 'f:metadata'), 'f:annotations');
  return inside(annotations, `f:${RENEW_REQUESTED_AT}`) !== undefined;
}

function inside(fields: unknown, name: string): unknown {
  if (typeof fields !== 'object' || fields === null) return undefined;
  return (fields as Readonly<Record<string, unknown>>)[name];
}
