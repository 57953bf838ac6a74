/** Runs every check, in the order in which a person would: what the later ones need comes first. */
import { clusterIssuerDefinition, customResourceDefinition, grantDefinition, issuerDefinition } from '../api/crd.ts';
import { DEFAULT_LIFETIME_SECONDS, type DelegatedCredentialStatus } from '../api/delegated-credential.ts';
import { isReadable, readDelegatedCredential } from '../api/read.ts';
import { DELEGATED_CREDENTIALS } from '../api/resource-types.ts';
import { ApiError, isApiError, isMissing } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import { inBatches } from '../kubernetes/client/batches.ts';
import { listKept } from '../kubernetes/client/list-all.ts';
import { apiVersionOf, type ResourceType } from '../kubernetes/resource-type.ts';
import { GrantReader } from '../status/grants.ts';
import { printable, printableList } from '../text/printable.ts';
import { refusedOf } from './access.ts';
import { checkCertificate, checkGrant, type Wanted } from './certificate-check.ts';
import { checkApis, checkClock, checkVersion, type ServerVersion } from './features.ts';
import { type Finding, ok, problem, warning } from './finding.ts';
import { findInstalled, type Installed, isOn, operatorOf, signerUrl } from './installation.ts';
import { checkIssuer } from './issuer-check.ts';
import { checkDeployments, checkLeader, checkOperatorAccess } from './operator-check.ts';
import { describePermission, USER_TASKS } from './permissions.ts';
import { checkDefinition, type Definition } from './resource-definition.ts';
import { attempt, section } from './section.ts';
import { checkInjection, checkWebhookConfiguration } from './webhook-check.ts';

const DEFINITIONS = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
} as const satisfies ResourceType;

export interface PreflightOptions {
  readonly client: ApiClient;
  /** The API server's address, to be shown. */
  readonly server: string;
  /** Whose resources are checked, and where a pod is tried. Undefined: all namespaces, and no pod is tried. */
  readonly namespace: string | undefined;
  /** Secrets of that namespace with certificates that no resource names yet. */
  readonly certificates: readonly string[];
  /** False: certificate Secrets are not read, and the operator's word for them is reported. */
  readonly readsKeys: boolean;
  /** Where dcred is installed. Undefined: it is looked for. */
  readonly systemNamespace: string | undefined;
  /** Of this dcred. */
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly signal: AbortSignal;
}

/** Never throws for what the API server answers: that is a finding. Throws the signal's reason. */
export async function preflight(options: PreflightOptions): Promise<readonly Finding[]> {
  const { client, server, signal } = options;
  let versionFindings: readonly Finding[];
  try {
    versionFindings = checkVersion(await client.getPath<ServerVersion>('/version', { signal }), server);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.reason !== 'Forbidden') {
      const message = `no answer from ${server}: ${printable(error.message, 512)}`;
      return [problem('ApiServer', message, 'check --kubeconfig and --context, and that you can reach the address')];
    }
    const message = `no permission to read the version of ${server}: ${printable(error.message, 512)}`;
    versionFindings = [warning('ApiServer', message, 'bind the ClusterRole system:public-info-viewer to your group')];
  }
  const skewMs = client.clockSkewMs;
  const nowMs = () => options.now() - (skewMs ?? 0);
  const first = [...versionFindings, checkClock(skewMs)];
  const installed = await section('Installation', signal, () => findInstalled(client, options.systemNamespace, signal));
  const deployments = installed.value ?? [];
  const operators = deployments.filter(({ component }) => component === 'operator');
  const gatesPods = deployments.some(
    ({ args, component }) => component === 'webhook' && isOn(args, '--gate-pods', true),
  );
  const apis = servedApis(client, signal);
  // Who waits for it reports the failure.
  apis.catch(() => undefined);
  const sections: readonly (() => Promise<readonly Finding[]>)[] = [
    async () => [checkApis(await apis)],
    () => checkInstalledDefinitions(options, apis),
    async () => [...installed.findings, ...checkDeployments(installed.value, 'operator', options.version)],
    ...operators.flatMap((operator: Installed) => [
      async () => [await checkLeader(client, operator, nowMs(), signal)],
      () => checkOperatorAccess(client, operator, { gatesPods }, signal),
    ]),
    async () => checkDeployments(installed.value, 'webhook', options.version),
    () => checkWebhookConfiguration(client, nowMs(), signal),
    () => checkTrial(options, deployments),
    async () => checkDeployments(deployments, 'issuer', options.version),
    () => checkIssuer({ ...options, installed: installed.value, apis, nowMs: nowMs() }),
    () => checkOwnAccess(options),
    () => checkResources(options, installed.value, nowMs),
  ];
  const found = await Promise.all(sections.map((run) => attempt('ApiServer', signal, run)));
  return distinct([...first, ...found.flat()]);
}

/** What several sections need and cannot have is one finding. */
function distinct(findings: readonly Finding[]): readonly Finding[] {
  return [...new Map(findings.map((finding) => [JSON.stringify(finding), finding])).values()];
}

interface ApiGroupList {
  readonly groups?: readonly { readonly versions?: readonly { readonly groupVersion?: string }[] }[];
}

async function servedApis(client: ApiClient, signal: AbortSignal): Promise<readonly string[]> {
  const { groups = [] } = await client.getPath<ApiGroupList>('/apis', { signal });
  return groups.flatMap(({ versions = [] }) => versions.flatMap(({ groupVersion }) => groupVersion ?? []));
}

interface ApiResourceList {
  readonly resources?: readonly { readonly name?: string }[];
}

/** The plurals of dcred's types that the API server has: one of them may be of a later version of dcred than the others. */
async function servedTypes(client: ApiClient, signal: AbortSignal): Promise<readonly string[]> {
  try {
    const path = `/apis/${apiVersionOf(DELEGATED_CREDENTIALS)}`;
    const { resources = [] } = await client.getPath<ApiResourceList>(path, { signal });
    return resources.flatMap(({ name }) => name ?? []);
  } catch (error) {
    if (isApiError(error, 'NotFound')) return [];
    throw error;
  }
}

/** Where I may not read them, that they are served is all there is to know: it is read once for all of them. */
async function checkInstalledDefinitions(
  { client, signal }: PreflightOptions,
  apis: Promise<readonly string[]>,
): Promise<readonly Finding[]> {
  let reading: Promise<readonly string[]> | undefined;
  const served = () => {
    reading ??= apis.then((all) =>
      all.includes(apiVersionOf(DELEGATED_CREDENTIALS)) ? servedTypes(client, signal) : [],
    );
    return reading;
  };
  const definitions = [customResourceDefinition(), grantDefinition(), issuerDefinition(), clusterIssuerDefinition()];
  return await Promise.all(definitions.map((one) => checkInstalledDefinition(client, one, served, signal)));
}

async function checkInstalledDefinition(
  client: ApiClient,
  definition: object,
  served: () => Promise<readonly string[]>,
  signal: AbortSignal,
): Promise<Finding> {
  const expected = definition as Definition;
  const name = expected.metadata.name ?? '';
  try {
    return checkDefinition(expected, await client.get<Definition>(DEFINITIONS, { name }, { signal }));
  } catch (error) {
    if (isMissing(error)) return checkDefinition(expected, undefined);
    if (!isApiError(error, 'Forbidden')) throw error;
    if (!(await served()).includes(expected.spec?.names?.plural ?? '')) return checkDefinition(expected, undefined);
    const message = `${name} is served; no permission to compare it with the one of this dcred`;
    return warning('CustomResourceDefinition', message, 'run this as a user who may read CustomResourceDefinitions');
  }
}

/** By a pod that is created as a dry run, where the webhook is to inject it. */
async function checkTrial(
  { client, namespace, signal }: PreflightOptions,
  installed: readonly Installed[],
): Promise<readonly Finding[]> {
  const webhooks = installed.filter(({ component }) => component === 'webhook');
  const excluded = ['kube-system', ...webhooks.map((one) => one.namespace)];
  if (namespace === undefined || webhooks.length === 0 || excluded.includes(namespace)) return [];
  return [await checkInjection(client, namespace, signal)];
}

async function checkOwnAccess({ client, namespace, signal }: PreflightOptions): Promise<readonly Finding[]> {
  const where = namespace === undefined ? 'in all namespaces' : `in namespace ${namespace}`;
  const refused = await Promise.all(
    USER_TASKS.map(async ({ command, permissions }) => ({
      command,
      permissions: await refusedOf(client, permissions, { namespace }, signal),
    })),
  );
  const found = refused
    .filter(({ permissions }) => permissions.length > 0)
    .map(({ command, permissions }) =>
      warning(
        'YourPermissions',
        `you may not ${printableList(permissions.map(describePermission))} ${where}: "${command}" fails`,
        'ask for the role edit of the namespace, or for the role view and what is named here',
      ),
    );
  return found.length > 0
    ? found
    : [ok('YourPermissions', `you have every permission that the commands of dcred need ${where}`)];
}

/** What was said of an earlier generation may be of another certificate. */
function readyOf(
  { generation }: { readonly generation?: number },
  { conditions }: DelegatedCredentialStatus,
): Wanted['ready'] {
  const ready = conditions?.find(({ type }) => type === 'Ready');
  return (ready?.observedGeneration ?? generation) === generation ? ready : undefined;
}

async function checkResources(
  options: PreflightOptions,
  installed: readonly Installed[] | undefined,
  nowMs: () => number,
): Promise<readonly Finding[]> {
  const { certificates, client, namespace, readsKeys, signal } = options;
  const where = namespace === undefined ? 'in any namespace' : `in namespace ${namespace}`;
  const permitted = await listResources(client, namespace, signal);
  const listed = permitted ?? [];
  const readable = listed.filter(isReadable);
  const unreadable = listed.filter((resource) => !isReadable(resource));
  const wanted: readonly Wanted[] = [
    ...readable.map(({ metadata, spec, status }) => ({
      what: describe(metadata),
      namespace: metadata.namespace,
      certificateRef: spec.certificateRef,
      usage: spec.usage,
      lifetimeSeconds: spec.lifetimeSeconds,
      ready: readyOf(metadata, status),
      bySigner: installed && signerUrl(operatorOf(metadata.namespace, installed)?.args ?? []) !== undefined,
    })),
    ...certificates.map((name) => ({
      what: 'your certificate',
      namespace: namespace ?? 'default',
      certificateRef: { name },
      usage: 'Server' as const,
      lifetimeSeconds: DEFAULT_LIFETIME_SECONDS,
    })),
  ];
  const now = Math.floor(nowMs() / 1000);
  const grants = new GrantReader(client, installed, signal);
  const granted = await inBatches(readable, BATCH, (resource) =>
    attempt('Grant', signal, async () => checkGrant(describe(resource.metadata), await grants.factOf(resource))),
  );
  const findings: Finding[] = unreadable.map(({ metadata }) =>
    problem('SpecInvalid', `${describe(metadata)} does not fit its schema`, 'correct it'),
  );
  const checked = await inBatches(wanted, BATCH, (one) =>
    attempt('Certificate', signal, () => checkCertificate(readsKeys ? client : undefined, one, now, signal)),
  );
  // One by one: a call takes only so many arguments, and a cluster may have more resources.
  for (const finding of [...checked, ...granted].flat()) findings.push(finding);
  if (permitted === undefined) {
    const message = `no permission to list DelegatedCredentials ${where}, so their certificates were not checked`;
    findings.push(warning('Certificate', message, 'ask for the role view of the namespace'));
  }
  if (findings.length > 0) return findings;
  return [ok('Certificate', `no DelegatedCredential ${where} yet; --certificate NAME checks a Secret for one`)];
}

function describe({ name, namespace }: { readonly name: string; readonly namespace: string }): string {
  return `DelegatedCredential ${namespace}/${name}`;
}

/** Certificates, or grants, that are read at a time. */
const BATCH = 16;

/** Undefined where I may not. */
async function listResources(client: ApiClient, namespace: string | undefined, signal: AbortSignal) {
  try {
    return await listKept(client, DELEGATED_CREDENTIALS, { namespace }, readDelegatedCredential, signal);
  } catch (error) {
    // No definition: that is a finding of its own.
    if (isApiError(error, 'NotFound')) return [];
    if (isApiError(error, 'Forbidden')) return undefined;
    throw error;
  }
}
