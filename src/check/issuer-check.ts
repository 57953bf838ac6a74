/** dcred issuer: that it runs and leads, what it may do, that cert-manager is there and approves for it, and whether each CA can sign. */
import { CLUSTER_DELEGATION_ISSUERS, DELEGATION_ISSUERS } from '../api/resource-types.ts';
import { CERT_MANAGER_API, ISSUER_LEASE_NAME, type IssuerFailure } from '../issuer/names.ts';
import { isApiError } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import { inBatches } from '../kubernetes/client/batches.ts';
import { listKept } from '../kubernetes/client/list-all.ts';
import type { Condition, KubernetesObject } from '../kubernetes/objects.ts';
import type { ResourceType } from '../kubernetes/resource-type.ts';
import { printable } from '../text/printable.ts';
import { refusedOf, type ServiceAccount } from './access.ts';
import { type Finding, ok, problem, warning } from './finding.ts';
import { DEPLOYMENTS, type Deployment, type Installed, isOn, readDeployment } from './installation.ts';
import { checkAccount, checkLease, leaseNameOf } from './operator-check.ts';
import { approvalPermissions, issuerPermissions, leaderElectionPermissions, secretPermission } from './permissions.ts';
import { attempt } from './section.ts';

type Client = Pick<ApiClient, 'create' | 'get' | 'list'>;

export interface IssuerCheckOptions {
  readonly client: Client;
  /** Whose DelegationIssuers are checked; undefined: all. */
  readonly namespace: string | undefined;
  /** dcred's Deployments; undefined where I may not list them. */
  readonly installed: readonly Installed[] | undefined;
  /** `group/version` of everything that the API server serves. */
  readonly apis: Promise<readonly string[]>;
  /** Milliseconds since the epoch, by the API server's clock. */
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

/** Nothing where there is neither an issuer nor anything for it to do: most clusters need none. */
export async function checkIssuer(options: IssuerCheckOptions): Promise<readonly Finding[]> {
  const { installed, signal } = options;
  const deployments = installed?.filter(({ component }) => component === 'issuer') ?? [];
  const [own, clusterWide] = await Promise.all([
    list(options, DELEGATION_ISSUERS, options.namespace),
    list(options, CLUSTER_DELEGATION_ISSUERS, undefined),
  ]);
  const issuers = [...own.issuers, ...clusterWide.issuers];
  if (deployments.length === 0 && issuers.length === 0) return [];
  const found = await Promise.all([
    inBatches(deployments, BATCH, (one) => checkProcess(options, one)),
    attempt('CertManager', signal, () => checkCertManager(options)),
    inBatches(issuers, BATCH, (issuer) =>
      attempt('DelegationIssuer', signal, () => checkCa(options, issuer, deployments[0])),
    ),
  ]);
  return [...missing(options, issuers), ...own.findings, ...clusterWide.findings, ...found.flat(2)];
}

/** Issuers, or Deployments that are labelled as theirs, that are checked at a time. */
const BATCH = 16;

type RawIssuer = KubernetesObject<{
  readonly spec?: { readonly ca?: { readonly secretName?: string } };
  readonly status?: { readonly conditions?: readonly Condition[] };
}>;

/** What the check needs of one: its annotations may be as large as an object can be. */
interface Issuer {
  readonly type: ResourceType;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly generation: number | undefined;
  readonly secretName: string | undefined;
  readonly ready: Condition | undefined;
}

function readIssuer({ metadata, spec, status }: RawIssuer, type: ResourceType): Issuer {
  const { generation, name = '', namespace } = metadata;
  const ready = status?.conditions?.find((condition) => condition.type === 'Ready');
  return { type, namespace, name, generation, secretName: spec?.ca?.secretName, ready };
}

async function list(
  { client, signal }: IssuerCheckOptions,
  type: ResourceType,
  namespace: string | undefined,
): Promise<{ readonly issuers: readonly Issuer[]; readonly findings: readonly Finding[] }> {
  try {
    const keep = (issuer: RawIssuer) => readIssuer(issuer, type);
    return { issuers: await listKept(client, type, { namespace }, keep, signal), findings: [] };
  } catch (error) {
    // No definition: that is a finding of its own.
    if (isApiError(error, 'NotFound')) return { issuers: [], findings: [] };
    if (!isApiError(error, 'Forbidden')) throw error;
    const message = `no permission to list ${type.plural}.${type.group}`;
    return { issuers: [], findings: [warning('DelegationIssuer', message, 'run this as a user who may list them')] };
  }
}

/** Where I may not list Deployments, the check of the operator says so. */
function missing({ installed }: IssuerCheckOptions, issuers: readonly Issuer[]): readonly Finding[] {
  if (installed === undefined || installed.some(({ component }) => component === 'issuer')) return [];
  const message = `no dcred issuer is installed, and there are issuers for it: ${issuers.length}`;
  return [warning('Issuer', message, 'set issuer.enabled=true in the chart')];
}

async function checkProcess(options: IssuerCheckOptions, deployment: Installed): Promise<readonly Finding[]> {
  const { client, nowMs, signal } = options;
  const { account, args, namespace } = deployment;
  const elects = isOn(args, '--leader-elect', true);
  const check = 'IssuerPermissions';
  const needer = 'dcred issuer';
  const lease = leaseNameOf(args, ISSUER_LEASE_NAME);
  const own = { check, needer, namespace: undefined, wanted: issuerPermissions() };
  const election = { check, needer, namespace, wanted: leaderElectionPermissions(lease) };
  const found = await Promise.all([
    elects ? attempt('Leader', signal, () => checkLease(client, deployment, lease, nowMs, signal)) : [],
    ...(elects ? [own, election] : [own]).map((need) =>
      attempt(check, signal, () => checkAccount(client, account, need, signal)),
    ),
  ]);
  return found.flat();
}

async function checkCertManager(options: IssuerCheckOptions): Promise<readonly Finding[]> {
  const apis = await options.apis;
  if (!apis.includes(CERT_MANAGER_API)) {
    const message = `the API server does not serve ${CERT_MANAGER_API}: there are no CertificateRequests to sign`;
    return [problem('CertManager', message, 'install cert-manager with its CustomResourceDefinitions')];
  }
  return [ok('CertManager', `the API server serves ${CERT_MANAGER_API}`), await checkApproval(options)];
}

const CERT_MANAGER = 'app.kubernetes.io/name=cert-manager,app.kubernetes.io/component=controller';
const APPROVE =
  'set issuer.approverRole in the chart to the namespace and service account of cert-manager, or approve requests yourself: ' +
  'cmctl approve NAME';

/** cert-manager's own approver approves what its account has the permission `approve` for, and nothing else. */
async function checkApproval({ client, signal }: IssuerCheckOptions): Promise<Finding> {
  const check = 'Approval';
  let accounts: readonly ServiceAccount[];
  try {
    const selection = { labelSelector: CERT_MANAGER };
    const keep = (deployment: Deployment) => readDeployment(deployment).account;
    accounts = await listKept(client, DEPLOYMENTS, selection, keep, signal);
  } catch (error) {
    if (!isApiError(error, 'Forbidden')) throw error;
    return warning(
      check,
      'no permission to list Deployments, so the controller of cert-manager was not found',
      APPROVE,
    );
  }
  const [account] = accounts;
  if (account === undefined) {
    const message = `no Deployment has the labels ${CERT_MANAGER}: who approves requests for dcred's issuers is not known`;
    return warning(check, message, APPROVE);
  }
  const who = `service account ${account.namespace}/${account.name}`;
  try {
    const refused = await refusedOf(client, approvalPermissions(), { account, namespace: undefined }, signal);
    if (refused.length === 0) return ok(check, `${who} may approve requests for dcred's issuers`);
    const names = refused.map(({ name }) => name).join(', ');
    return warning(check, `${who} may not approve requests for ${names}: they wait until somebody else does`, APPROVE);
  } catch (error) {
    if (!isApiError(error, 'Forbidden')) throw error;
    return warning(
      check,
      `no permission to ask what ${who} may do`,
      'run this as a user who may create subjectaccessreviews',
    );
  }
}

/** As dcred issuer says of it; and where it cannot read the CA's Secret, whether it may. */
async function checkCa(
  { client, signal }: IssuerCheckOptions,
  { generation, name, namespace, ready, secretName, type }: Issuer,
  deployment: Installed | undefined,
): Promise<Finding> {
  const check = 'DelegationIssuer';
  const what = `${type.kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`;
  if (ready === undefined || ready.observedGeneration !== generation) {
    const message = `${what}: dcred issuer has not reported on it${ready === undefined ? '' : ' since it was changed'}`;
    return warning(check, message, `check that dcred issuer runs${logOf(deployment)}`);
  }
  if (ready.status === 'True') return ok(check, `${what}: the CA can sign`);
  const message = `${what}: ${printable(ready.reason)}: ${printable(ready.message, 1024)}`;
  const secret = { namespace: namespace ?? deployment?.namespace, name: secretName };
  if (ready.reason !== 'SecretNotFound' || deployment === undefined || secret.name === undefined) {
    const remedy = remedyFor(ready.reason) ?? `see the log of dcred issuer${logOf(deployment)}`;
    return problem(check, message, remedy);
  }
  try {
    const wanted = [secretPermission(secret.name)];
    const scope = { account: deployment.account, namespace: secret.namespace };
    const refused = await refusedOf(client, wanted, scope, signal);
    if (refused.length === 0) return problem(check, message, `create the Secret ${secret.namespace}/${secret.name}`);
    const remedy = `list the Secret in issuer.authorities of the chart: {namespace: ${secret.namespace}, names: [${secret.name}]}`;
    return problem(check, `${message} (it may not)`, remedy);
  } catch (error) {
    if (!isApiError(error, 'Forbidden')) throw error;
    return problem(check, message, REMEDIES.SecretNotFound);
  }
}

const REMEDIES = {
  SpecInvalid: 'correct the spec, and upgrade the CustomResourceDefinition, which should have refused it',
  SecretNotFound: 'create the Secret, and list it in issuer.authorities of the chart',
  AuthorityInvalid: 'correct the CA in the Secret: its certificate and chain in tls.crt, its key in tls.key',
  KeyNotConfigured: 'list the key in issuer.caKeys of the chart',
  KeyUnavailable: 'check that dcred issuer can reach the HSM, KMS or Vault with the key, and may use the key',
} as const satisfies Readonly<Record<IssuerFailure, string>>;

function remedyFor(reason: string): string | undefined {
  return Object.hasOwn(REMEDIES, reason) ? REMEDIES[reason as IssuerFailure] : undefined;
}

function logOf(deployment: Installed | undefined): string {
  if (deployment === undefined) return '';
  return `: kubectl logs -n ${deployment.namespace} deployment/${deployment.name}`;
}
