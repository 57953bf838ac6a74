/** The admission webhook: its configuration in the API server, whether something answers there, and whether a pod is injected. */
import { X509Certificate } from 'node:crypto';
import {
  COMPONENT_LABEL,
  INJECT_KEY,
  NOT_INJECTED_ANNOTATION,
  secretNameAnnotation,
  WEBHOOK_NAME,
} from '../api/keys.ts';
import { isApiError } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { MUTATING_WEBHOOK_CONFIGURATIONS, PODS, type ResourceType } from '../kubernetes/resource-type.ts';
import { printable } from '../text/printable.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

const ENDPOINT_SLICES = {
  group: 'discovery.k8s.io',
  version: 'v1',
  plural: 'endpointslices',
  kind: 'EndpointSlice',
  namespaced: true,
} as const satisfies ResourceType;

interface ClientConfig {
  readonly caBundle?: string;
  readonly url?: string;
  readonly service?: { readonly namespace: string; readonly name: string };
}
type Configuration = KubernetesObject<{
  readonly webhooks?: readonly {
    readonly name?: string;
    readonly failurePolicy?: string;
    readonly clientConfig?: ClientConfig;
  }[];
}>;
type EndpointSlice = KubernetesObject<{
  readonly endpoints?: readonly { readonly conditions?: { readonly ready?: boolean } }[] | null;
}>;
type Client = Pick<ApiClient, 'create' | 'list'>;

/** @param nowMs milliseconds since the epoch, by the API server's clock */
export async function checkWebhookConfiguration(
  client: Client,
  nowMs: number,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  let configurations: readonly Configuration[];
  try {
    configurations = (await client.list<Configuration>(MUTATING_WEBHOOK_CONFIGURATIONS, {}, { signal })).items;
  } catch (error) {
    if (!isApiError(error, 'Forbidden')) throw error;
    const message = 'no permission to list MutatingWebhookConfigurations';
    return [warning('WebhookConfiguration', message, 'run this as a user who may list them')];
  }
  const own = configurations.flatMap(({ metadata, webhooks = [] }) =>
    webhooks
      .filter(({ name }) => name === WEBHOOK_NAME)
      .map((webhook) => ({ configuration: metadata.name ?? '', ...webhook })),
  );
  if (own.length === 0) {
    const message = `no MutatingWebhookConfiguration has a webhook ${WEBHOOK_NAME}: no pod is injected`;
    return [warning('WebhookConfiguration', message, 'set webhook.enabled=true in the chart')];
  }
  const found = await Promise.all(
    own.map(async ({ clientConfig = {}, configuration, failurePolicy = 'Fail' }) => [
      checkCaBundle(configuration, clientConfig, failurePolicy, nowMs),
      ...(clientConfig.service === undefined ? [] : [await checkEndpoints(client, clientConfig.service, signal)]),
    ]),
  );
  return found.flat();
}

/** The webhook writes it at its start, and at each rotation of its CA. */
export function checkCaBundle(
  configuration: string,
  { caBundle, service }: ClientConfig,
  failurePolicy: string,
  nowMs: number,
): Finding {
  const check = 'WebhookConfiguration';
  const command = service && `: kubectl logs -n ${service.namespace} -l ${COMPONENT_LABEL}=webhook --tail=50`;
  const remedy = `see the log of the webhook, which writes it${command ?? ''}`;
  if (caBundle === undefined || caBundle === '') {
    return problem(check, `${configuration} has no caBundle, so the API server cannot call the webhook`, remedy);
  }
  const certificates = Buffer.from(caBundle, 'base64').toString('latin1').match(PEM) ?? [];
  const expiries = certificates.flatMap((pem) => expiryOf(pem) ?? []);
  if (expiries.length === 0) return problem(check, `the caBundle of ${configuration} holds no certificate`, remedy);
  const latest = Math.max(...expiries);
  const date = formatRfc3339(latest / 1000).slice(0, 10);
  if (latest <= nowMs) return problem(check, `the caBundle of ${configuration} expired on ${date}`, remedy);
  return ok(check, `${configuration} trusts a CA until ${date}; failurePolicy ${failurePolicy}`);
}

const PEM = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** Undefined for what is no certificate, or has no time that can be read: OpenSSL shows "Bad time value" then. */
function expiryOf(pem: string): number | undefined {
  try {
    const expiry = Date.parse(new X509Certificate(pem).validTo);
    return Number.isNaN(expiry) ? undefined : expiry;
  } catch {
    return undefined;
  }
}

async function checkEndpoints(
  client: Client,
  { name, namespace }: { readonly namespace: string; readonly name: string },
  signal: AbortSignal,
): Promise<Finding> {
  const selection = { namespace, labelSelector: `kubernetes.io/service-name=${name}` };
  try {
    const { items } = await client.list<EndpointSlice>(ENDPOINT_SLICES, selection, { signal });
    const ready = items
      .flatMap(({ endpoints }) => endpoints ?? [])
      .filter(({ conditions }) => conditions?.ready !== false);
    if (ready.length > 0)
      return ok('WebhookEndpoints', `Service ${namespace}/${name} has ${ready.length} ready endpoints`);
    const remedy = `see "kubectl get pods -n ${namespace} -l ${COMPONENT_LABEL}=webhook"`;
    return problem('WebhookEndpoints', `Service ${namespace}/${name} has no ready endpoint`, remedy);
  } catch (error) {
    if (!isApiError(error, 'Forbidden')) throw error;
    const message = `no permission to list EndpointSlices in namespace ${namespace}`;
    return warning('WebhookEndpoints', message, 'run this as a user who may list them');
  }
}

/** No resource needs to have it: the webhook knows of none. */
const TRIAL_NAME = 'dcred-check';

/** Meets the Pod Security Standard `restricted`, and is never stored. */
function trialPod(namespace: string) {
  return {
    metadata: { namespace, generateName: `${TRIAL_NAME}-`, labels: { [INJECT_KEY]: TRIAL_NAME } },
    spec: {
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'main',
          image: 'registry.invalid/dcred-check',
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        },
      ],
    },
  };
}

/** Creates a pod as a dry run: the API server itself calls the webhook, and stores nothing. Throws ApiError. */
export async function checkInjection(client: Client, namespace: string, signal: AbortSignal): Promise<Finding> {
  const check = 'Injection';
  try {
    const pod = await client.create<KubernetesObject>(PODS, trialPod(namespace), { signal, dryRun: true });
    const annotations = pod.metadata.annotations ?? {};
    if (annotations[secretNameAnnotation(TRIAL_NAME)] !== undefined) {
      return ok(check, `a pod in namespace ${namespace} is injected (tried by a dry run)`);
    }
    const reason = annotations[NOT_INJECTED_ANNOTATION];
    if (reason !== undefined) {
      return warning(
        check,
        `the webhook did not inject a pod in namespace ${namespace}: ${printable(reason)}`,
        'correct what it names',
      );
    }
    return problem(
      check,
      `the API server admitted a labelled pod in namespace ${namespace} without the webhook (tried by a dry run)`,
      "check that the API server reaches the webhook's Service and that the webhook's namespaceSelector selects the namespace: " +
        'kubectl get mutatingwebhookconfigurations -o yaml',
    );
  } catch (error) {
    if (isApiError(error, 'InternalError')) {
      const remedy = 'the API server cannot call the webhook: check network policies and firewalls between them';
      return problem(check, printable(error.message, 512), remedy);
    }
    if (!isApiError(error, 'Forbidden') && !isApiError(error, 'Invalid')) throw error;
    const message = `could not create a pod in namespace ${namespace} as a dry run: ${printable(error.message, 512)}`;
    return warning(check, message, 'choose a namespace in which you may create pods, with -n');
  }
}
