/** A label never makes a valid pod invalid: what a real API server accepts without it, it accepts with it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { isApiError } from '../../src/kubernetes/api-error.ts';
import type { KubernetesObject } from '../../src/kubernetes/objects.ts';
import { PODS } from '../../src/kubernetes/resource-type.ts';
import { type Cluster, startCluster } from '../../testing/cluster/cluster.ts';
import { pointAt, startWebhook, type WebhookProcess } from '../../testing/cluster/webhook-process.ts';
import { type AnyPod, anyPod, withContainers } from './any-pod.ts';

type Pod = KubernetesObject<{
  readonly spec: {
    readonly initContainers?: readonly {
      readonly name: string;
      readonly args?: readonly string[];
      readonly resources?: { readonly limits?: Readonly<Record<string, string>> };
      readonly securityContext?: { readonly runAsUser?: number };
    }[];
  };
  readonly status?: { readonly qosClass?: string };
}>;

let cluster: Cluster;
let webhook: WebhookProcess;

before(async () => {
  cluster = await startCluster({ controllerManager: true, webhook: true });
  webhook = await startWebhook(cluster);
  await pointAt(cluster, webhook.port, 'Fail');
  await webhook.ready();
});
after(async () => {
  await webhook?.stop();
  await cluster?.[Symbol.asyncDispose]();
});

let count = 0;

async function create(namespace: string, { annotations, spec }: AnyPod, labels: object): Promise<Pod | string> {
  count += 1;
  const metadata = { namespace, name: `web-${count}`, labels, annotations };
  // As JSON, so that fields of undefined are absent.
  const pod = JSON.parse(JSON.stringify({ metadata, spec }));
  try {
    return await cluster.client.create<Pod>(PODS, pod, { signal: cluster.signal });
  } catch (error) {
    if (isApiError(error, 'Invalid') || isApiError(error, 'Forbidden') || isApiError(error, 'BadRequest')) {
      return String((error as Error).message);
    }
    throw error;
  }
}

const LABELS = { 'dcred.dev/inject': 'web' };
const object = (kind: string, name: string, spec: object) =>
  JSON.stringify({ apiVersion: 'v1', kind, metadata: { name }, spec });
const limitRange = (...limits: readonly object[]) => object('LimitRange', 'limits', { limits });
const HARD = { 'limits.cpu': '8k', 'requests.cpu': '4k', 'limits.memory': '9Ti', 'requests.memory': '9Ti' };
const QUOTA = object('ResourceQuota', 'compute', { hard: HARD });
const QUOTA_OF_OTHERS = object('ResourceQuota', 'compute', { hard: HARD, scopes: ['NotBestEffort'] });
const DEFAULTS = { default: { cpu: '500m', memory: '1Gi' }, defaultRequest: { cpu: '10m' } };

async function prepared(objects: readonly string[], labels: readonly string[] = []): Promise<string> {
  const namespace = await cluster.namespace();
  if (labels.length > 0) await cluster.plane.kubectl(['label', 'namespace', namespace, ...labels]);
  for (const input of objects) await cluster.plane.kubectl(['apply', '-n', namespace, '-f', '-'], { input });
  // A quota counts once its controller has seen it.
  if (objects.includes(QUOTA) || objects.includes(QUOTA_OF_OTHERS)) {
    const wait = ['wait', '-n', namespace, 'resourcequota/compute', '--for=jsonpath={.status.hard}', '--timeout=4m'];
    await cluster.plane.kubectl(wait);
  }
  return namespace;
}

interface Setting {
  readonly objects?: readonly string[];
  readonly labels?: readonly string[];
  /** Makes a pod of the kind that such a namespace accepts. */
  readonly adapt?: (pod: AnyPod) => AnyPod;
}

const AMOUNTS = { cpu: '100m', memory: '128Mi' };
const sized = (pod: AnyPod) =>
  withContainers(pod, (part) => ({ ...part, resources: { limits: AMOUNTS, requests: AMOUNTS } }));
/** A BestEffort pod, and no resources that somebody chose for the agent. */
const unsized = ({ annotations, spec }: AnyPod): AnyPod => {
  const unchosen = { ...annotations, 'dcred.dev/agent-resources': undefined };
  const pod = { annotations: unchosen, spec: { ...spec, resources: undefined } };
  return withContainers(pod, (part) => ({ ...part, resources: undefined }));
};
/** One container with limits, and others with requests alone: two of them leave less than an agent requests of 800 MiB. */
const partlySized = (pod: AnyPod) =>
  withContainers(pod, (part) => {
    const requests = { memory: '256Mi' };
    const both = { limits: { memory: '512Mi' }, requests: { memory: '512Mi' } };
    return { ...part, resources: part.name === pod.spec.containers[0]?.name ? both : { requests } };
  });
/** What is requested is what an init container needs, and limits are twice that. */
const bursting = ({ annotations, spec }: AnyPod): AnyPod => {
  const setup = { limits: { cpu: '1' }, requests: { cpu: '1' } };
  const main = { limits: { cpu: '2' }, requests: { cpu: '100m' } };
  const containers = spec.containers.map((part, index) => ({ ...part, resources: index === 0 ? main : undefined }));
  const initContainers = [{ name: 'setup', image: 'localhost/none', resources: setup }];
  return { annotations, spec: { ...spec, containers, initContainers } };
};
const SAFE = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  runAsNonRoot: true,
  seccompProfile: { type: 'RuntimeDefault' },
};
const restricted = ({ annotations, spec }: AnyPod) => {
  const host = { hostNetwork: undefined, hostPID: undefined, hostIPC: undefined, securityContext: { fsGroup: 2000 } };
  const volumes = spec.volumes?.map((volume) =>
    volume['hostPath'] === undefined ? volume : { name: volume['name'], emptyDir: {} },
  );
  const pod = { annotations, spec: { ...spec, ...host, ...(volumes === undefined ? {} : { volumes }) } };
  return withContainers(pod, (part) => ({ ...part, securityContext: SAFE }));
};

const NAMESPACES: Readonly<Record<string, Setting>> = {
  'an ordinary namespace': {},
  'PodSecurity restricted': { labels: ['pod-security.kubernetes.io/enforce=restricted'], adapt: restricted },
  'a quota that requires limits': { objects: [QUOTA], adapt: sized },
  'a quota for pods that are not BestEffort': { objects: [QUOTA_OF_OTHERS], adapt: unsized },
  'defaults and a quota': { objects: [limitRange({ type: 'Container', ...DEFAULTS }), QUOTA] },
  'a minimum': { objects: [limitRange({ type: 'Container', min: { cpu: '20m', memory: '32Mi' } })] },
  'a maximum': { objects: [limitRange({ type: 'Container', max: { cpu: '2', memory: '4Gi' } })] },
  'a maximum for pods': { objects: [limitRange({ type: 'Pod', max: { memory: '400Mi' } })], adapt: sized },
  'a maximum for pods with few limits': {
    objects: [limitRange({ type: 'Pod', max: { memory: '800Mi' } })],
    adapt: partlySized,
  },
  'a ratio for pods': {
    objects: [limitRange({ type: 'Pod', maxLimitRequestRatio: { cpu: '2' } })],
    adapt: bursting,
  },
  'a ratio': {
    objects: [limitRange({ type: 'Container', maxLimitRequestRatio: { memory: '1', cpu: '2' } })],
    adapt: sized,
  },
};

/** A few in every run of the suite; many by hand, as in `PODS=2000 node --test test/admission/valid-pods.test.ts`. */
const RUNS = Number(process.env['PODS'] ?? 60);

const unadapted = (pod: AnyPod): AnyPod => pod;

for (const [what, { adapt = unadapted, labels = [], objects = [] }] of Object.entries(NAMESPACES)) {
  test(`in ${what}, every pod that is accepted without the label is accepted with it`, async (t) => {
    const namespace = await prepared(objects, labels);
    let [taken, injected] = [0, 0];
    await fc.assert(
      fc.asyncProperty(anyPod, async (any) => {
        const pod = adapt(any);
        if (typeof (await create(namespace, pod, {})) === 'string') return;
        const labelled = await create(namespace, pod, LABELS);
        assert.ok(typeof labelled !== 'string', JSON.stringify(labelled));
        taken += 1;
        if (labelled.metadata.annotations?.['secret.dcred.dev/web'] !== undefined) injected += 1;
      }),
      { numRuns: RUNS },
    );
    t.diagnostic(`${taken} of ${RUNS} pods were valid, and ${injected} of those were injected`);
    assert.ok(taken >= RUNS / 5 && injected >= taken / 4);
  });
}

const RELOAD = { 'dcred.dev/reload': 'signal:HUP:nginx' };
const nginx = (parts: object = {}): AnyPod => ({
  annotations: RELOAD,
  spec: {
    automountServiceAccountToken: false,
    containers: [{ name: 'nginx', image: 'localhost/none', securityContext: { runAsUser: 101 }, ...parts }],
  },
});
const agentOf = (pod: Pod | string) =>
  typeof pod === 'string' ? assert.fail(pod) : pod.spec.initContainers?.find(({ name }) => name === 'dcred-agent');

describe('an agent beside a server', () => {
  for (const [what, item] of Object.entries<object>({
    'defaults with a quota': DEFAULTS,
    'a minimum': { min: { cpu: '50m' } },
    'a maximum': { max: { cpu: '2', memory: '4Gi' } },
    'a ratio': { maxLimitRequestRatio: { memory: '1' } },
  })) {
    test(`is accepted under ${what}`, async () => {
      const namespace = await prepared([limitRange({ type: 'Container', ...item }), QUOTA]);
      const resources = { requests: { cpu: '100m', memory: '64Mi' }, limits: { cpu: '100m', memory: '64Mi' } };
      const agent = agentOf(await create(namespace, nginx({ resources }), LABELS));
      assert.ok(agent?.resources?.limits?.['memory'] !== undefined);
    });
  }

  test('is left out where the requests that a maximum gives the server fill the pod', async () => {
    const namespace = await prepared([limitRange({ type: 'Container', max: { cpu: '2', memory: '4Gi' } })]);
    const pod = nginx();
    const whole = { ...pod, spec: { ...pod.spec, resources: { limits: { cpu: '4', memory: '4Gi' } } } };
    assert.equal(agentOf(await create(namespace, whole, LABELS)), undefined);
    const larger = { ...pod, spec: { ...pod.spec, resources: { limits: { cpu: '4', memory: '5Gi' } } } };
    assert.ok(agentOf(await create(namespace, larger, LABELS)) !== undefined);
  });

  for (const [qosClass, amounts] of [
    ['Guaranteed', { cpu: '1', memory: '1Gi' }],
    ['BestEffort', {}],
    ['BestEffort', { cpu: '0', memory: '0' }],
  ] as const) {
    test(`keeps the quality of service of a ${qosClass} pod with ${JSON.stringify(amounts)}`, async () => {
      const resources = { limits: amounts, requests: amounts };
      const pod = await create(await prepared([]), nginx({ resources }), LABELS);
      assert.ok(agentOf(pod) !== undefined && typeof pod !== 'string');
      assert.equal(pod.status?.qosClass, qosClass);
    });
  }
});
