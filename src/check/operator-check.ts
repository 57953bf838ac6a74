/** The operator: that it runs, leads, is of this version, and may do what it needs. */
import { isApiError, isMissing } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import { inBatches } from '../kubernetes/client/batches.ts';
import type { Lease } from '../kubernetes/leader/lease.ts';
import { MAX_SHARDS, shardLeaseNames } from '../kubernetes/leader/shards.ts';
import { LEASES } from '../kubernetes/resource-type.ts';
import { LEASE_NAME } from '../operator/operator-options.ts';
import { isDnsLabel } from '../text/dns-name.ts';
import { firstItems, printable, printableList } from '../text/printable.ts';
import { refusedOf, type ServiceAccount } from './access.ts';
import { type Finding, ok, problem, warning } from './finding.ts';
import { flagValues, type Installed, isOn, PART_OF_DCRED, servedNamespaces } from './installation.ts';
import { describePermission, leaderElectionPermissions, operatorPermissions, type Permission } from './permissions.ts';

type Client = Pick<ApiClient, 'create' | 'get'>;

const INSTALL = 'install the chart: helm install dcred charts/dcred --namespace dcred-system --create-namespace';

const CHECKS = { issuer: 'Issuer', operator: 'Operator', webhook: 'Webhook' } as const;

/** @param version of this dcred */
export function checkDeployments(
  installed: readonly Installed[] | undefined,
  component: keyof typeof CHECKS,
  version: string,
): readonly Finding[] {
  const check = CHECKS[component];
  if (installed === undefined) {
    const message = `no permission to list Deployments, so the ${component} was not looked for`;
    return [warning(check, message, 'name its namespace with --system-namespace, or ask who may list Deployments')];
  }
  const found = installed.filter((one) => one.component === component);
  if (found.length === 0 && component === 'operator') return [problem(check, 'no operator is installed', INSTALL)];
  if (found.length === 0 && component === 'webhook') {
    const message = 'no webhook is installed: pods must mount their Secrets themselves';
    return [warning(check, message, 'set webhook.enabled=true in the chart to have pods injected')];
  }
  return found.map((one) => checkDeployment(one, check, version));
}

function checkDeployment(
  { available, image, name, namespace, replicas, version }: Installed,
  check: string,
  own: string,
): Finding {
  const what = `${namespace}/${name} ${version === undefined ? '' : `${printable(version)} `}(${printable(image ?? 'no image')})`;
  if (available === 0) {
    return problem(
      check,
      `${what}: none of ${replicas} replicas is available`,
      `see "kubectl describe pods -n ${namespace} -l ${PART_OF_DCRED}"`,
    );
  }
  if (version !== undefined && version !== own && own !== 'development') {
    const remedy = 'use the version of dcred that runs in the cluster, or upgrade the chart';
    return warning(check, `${what} has another version than this dcred, ${own}`, remedy);
  }
  return ok(check, `${what}: ${available} of ${replicas} replicas available`);
}

/** @param nowMs milliseconds since the epoch, by the API server's clock */
export async function checkLeader(
  client: Client,
  operator: Installed,
  nowMs: number,
  signal: AbortSignal,
): Promise<Finding> {
  const { args } = operator;
  if (!isOn(args, '--leader-elect', true)) return ok('Leader', 'leader election is off: the only replica leads');
  const shards = shardsOf(args);
  const lease = leaseNameOf(args, LEASE_NAME);
  const leases = shards === 1 ? [lease] : shardLeaseNames(lease, shards);
  const findings = await Promise.all(leases.map((one) => checkLease(client, operator, one, nowMs, signal)));
  const wrong = findings.find(({ level }) => level !== 'ok');
  if (wrong !== undefined) return wrong;
  const [only] = findings;
  return shards === 1 && only !== undefined
    ? only
    : ok('Leader', `each of the ${shards} shards has a replica that serves it`);
}

/** Of a process with these arguments: the Lease that its replicas elect a leader with. */
export function leaseNameOf(args: readonly string[], preset: string): string {
  const named = flagValues(args, '--leader-elect-resource-name').at(-1) ?? preset;
  // A process with another name does not start, and whoever wrote these arguments chooses no path of the API.
  return isDnsLabel(named) ? named : preset;
}

/** As the operator's own arguments say. */
function shardsOf(args: readonly string[]): number {
  const shards = Number(flagValues(args, '--shards').at(-1) ?? 1);
  return Number.isInteger(shards) && shards >= 1 && shards <= MAX_SHARDS ? shards : 1;
}

export async function checkLease(
  client: Client,
  { component, name: deployment, namespace }: Installed,
  lease: string,
  nowMs: number,
  signal: AbortSignal,
): Promise<Finding> {
  const remedy = `see the log of the ${component}: kubectl logs -n ${namespace} deployment/${deployment}`;
  try {
    const { spec } = await client.get<Lease>(LEASES, { namespace, name: lease }, { signal });
    const { holderIdentity = '', leaseDurationSeconds = 0, renewTime } = spec ?? {};
    const ageSeconds = Math.round((nowMs - Date.parse(renewTime ?? '')) / 1000);
    if (holderIdentity === '') return problem('Leader', `no replica holds Lease ${namespace}/${lease}`, remedy);
    const holder = printable(holderIdentity);
    if (ageSeconds <= leaseDurationSeconds)
      return ok('Leader', `${holder} leads, and renewed its lease ${Math.max(0, ageSeconds)} s ago`);
    const when = Number.isNaN(ageSeconds) ? 'at a time that cannot be read' : `${ageSeconds} s ago`;
    return problem('Leader', `${holder} held Lease ${namespace}/${lease} last, ${when}`, remedy);
  } catch (error) {
    if (isMissing(error)) return problem('Leader', `there is no Lease ${namespace}/${lease}`, remedy);
    if (isApiError(error, 'Forbidden')) {
      return warning(
        'Leader',
        `no permission to read Lease ${namespace}/${lease}`,
        `ask who may read namespace ${namespace}`,
      );
    }
    throw error;
  }
}

/** Of one operator: each costs some thirty calls of the API server. */
const MAX_NAMESPACES = 256;
/** That are asked about at a time. */
const BATCH = 8;

export async function checkOperatorAccess(
  client: Client,
  operator: Installed,
  { gatesPods }: { readonly gatesPods: boolean },
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const { account, args } = operator;
  const served = servedNamespaces(args);
  const patchPods = gatesPods || isOn(args, '--notify-pods', true);
  const { omitted, shown } = firstItems<string | undefined>(served.length === 0 ? [undefined] : served, MAX_NAMESPACES);
  const checks = shown.map((namespace) => ({ namespace, wanted: operatorPermissions({ namespace, patchPods }) }));
  const lease = leaseNameOf(args, LEASE_NAME);
  const election = { namespace: operator.namespace, wanted: leaderElectionPermissions(lease, shardsOf(args)) };
  const all = isOn(args, '--leader-elect', true) ? [...checks, election] : checks;
  const named = { check: 'OperatorPermissions', needer: 'the operator' };
  const findings = await inBatches(all, BATCH, (one) => checkAccount(client, account, { ...named, ...one }, signal));
  if (omitted === 0) return findings;
  const remedy = `ask for each of the others: kubectl auth can-i --list -n NAMESPACE --as system:serviceaccount:${account.namespace}:${account.name}`;
  const message = `the operator serves more than ${MAX_NAMESPACES} namespaces: its permissions were checked in the first of them`;
  return [...findings, warning(named.check, message, remedy)];
}

interface Need {
  readonly check: string;
  /** Who needs the permissions, for the message: `the operator`. */
  readonly needer: string;
  readonly namespace: string | undefined;
  readonly wanted: readonly Permission[];
}

export async function checkAccount(
  client: Pick<ApiClient, 'create'>,
  account: ServiceAccount,
  { check, namespace, needer, wanted }: Need,
  signal: AbortSignal,
): Promise<Finding> {
  const where = namespace === undefined ? 'in all namespaces' : `in namespace ${namespace}`;
  const who = `service account ${account.namespace}/${account.name}`;
  try {
    const refused = await refusedOf(client, wanted, { account, namespace }, signal);
    if (refused.length === 0) return ok(check, `${who} has every permission that ${needer} needs ${where}`);
    const message = `${who} may not ${printableList(refused.map(describePermission))} ${where}`;
    return problem(check, message, 'set rbac.create=true in the chart, or bind a role with these rules to it');
  } catch (error) {
    if (!isApiError(error, 'Forbidden')) throw error;
    const message = `no permission to ask what ${who} may do ${where}`;
    return warning(check, message, 'run this as a user who may create subjectaccessreviews');
  }
}
