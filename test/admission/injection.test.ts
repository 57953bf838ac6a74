/** The webhook and the operator with a real API server: what a user gets for one label. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { KubernetesObject } from '../../src/kubernetes/objects.ts';
import { PODS } from '../../src/kubernetes/resource-type.ts';
import type { Cluster } from '../../testing/cluster/cluster.ts';
import {
  CERT_SECRET,
  CONFIGURATION,
  pointAt,
  SYSTEM,
  startWebhook,
  type WebhookProcess,
} from '../../testing/cluster/webhook-process.ts';
import { createTestAuthority } from '../../testing/support/certificates.ts';
import { eventually } from '../../testing/support/processes.ts';
import { assertServes } from '../cluster/verification.ts';
import { type InjectionScenario, startInjectionScenario } from './scenario.ts';

type Pod = KubernetesObject<{
  readonly spec: {
    readonly volumes?: readonly { readonly name: string; readonly secret?: Readonly<Record<string, unknown>> }[];
    readonly containers: readonly { readonly name: string; readonly volumeMounts?: readonly object[] }[];
    readonly initContainers?: readonly { readonly name: string; readonly restartPolicy?: string }[];
    readonly shareProcessNamespace?: boolean;
    readonly schedulingGates?: readonly object[];
  };
}>;

const LABELS = { app: 'web', 'dcred.dev/inject': 'web' };
const FORGED = { 'secret.dcred.dev/web': 'somebody-elses' };

let scenario: InjectionScenario;
let cluster: Cluster;
let webhook: WebhookProcess;

before(async () => {
  scenario = await startInjectionScenario();
  ({ cluster, webhook } = scenario);
});
after(() => scenario?.[Symbol.asyncDispose]());

async function served(): Promise<string> {
  const namespace = await cluster.namespace();
  const authority = await createTestAuthority();
  await cluster.putCertificate(namespace, 'web-tls', await authority.issue());
  await cluster.createResource(namespace, 'web', { certificateRef: { name: 'web-tls' } });
  return namespace;
}

async function podsOf(namespace: string): Promise<readonly Pod[]> {
  return (await cluster.client.list<Pod>(PODS, { namespace }, { signal: cluster.signal })).items;
}

/** Waits until no pod is waiting for its Secret. */
async function ungatedPodsOf(namespace: string): Promise<readonly Pod[]> {
  return await eventually('the gates to be lifted', async () => {
    const pods = await podsOf(namespace);
    return pods.every(({ spec }) => (spec.schedulingGates ?? []).length === 0) ? pods : undefined;
  });
}

function secretNameOf({ metadata, spec }: Pod, resource = 'web'): string {
  const annotated = metadata.annotations?.[`secret.dcred.dev/${resource}`] ?? '';
  const volume = spec.volumes?.find(({ name }) => name === `dcred-${resource}`);
  assert.equal(volume?.secret?.['secretName'], annotated, 'volume and annotation name one Secret');
  assert.match(annotated, new RegExp(`^${resource}-[a-z2-7]{26}$`));
  return annotated;
}

function deployment(replicas: number): string {
  return JSON.stringify({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web' },
    spec: {
      replicas,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: LABELS, annotations: FORGED },
        spec: { containers: [{ name: 'main', image: 'localhost/none' }] },
      },
    },
  });
}

describe('with the webhook', () => {
  test('every pod of a Deployment has its own Secret, and the operator issues into it', async () => {
    const namespace = await served();
    await cluster.plane.kubectl(['apply', '-n', namespace, '-f', '-'], { input: deployment(10) });
    const secrets = await cluster.untilSecrets(namespace, 10);
    const names = (await ungatedPodsOf(namespace)).map((pod) => secretNameOf(pod));
    assert.equal(new Set(names).size, 10, 'no two pods share a name, whatever their template said');
    assert.deepEqual(new Set(secrets.map(({ metadata }) => metadata.name)), new Set(names));
    assert.equal(new Set(secrets.map((secret) => assertServes(secret).publicKey)).size, 10);
    await cluster.untilPods(namespace, 'web', { selected: 10, issued: 10, failed: 0 });
    const { status } = await cluster.resource(namespace, 'web');
    assert.ok(!status?.conditions?.some((one) => one.type === 'Injected' && one.status === 'False'));
  });

  test('a forged annotation is replaced', async () => {
    const namespace = await served();
    await cluster.createPod(namespace, 'web-0', { labels: LABELS, annotations: FORGED });
    const [pod] = await podsOf(namespace);
    assert.ok(pod !== undefined && secretNameOf(pod) !== 'somebody-elses');
  });

  test('a pod that is copied whole from a running one gets its own Secret', async () => {
    const namespace = await served();
    await cluster.createPod(namespace, 'web-0', { labels: LABELS });
    const [original] = await podsOf(namespace);
    const metadata = { namespace, name: 'web-1', labels: LABELS, annotations: original?.metadata.annotations ?? {} };
    await cluster.client.create(PODS, { metadata, spec: original?.spec } as never, { signal: cluster.signal });
    const names = (await podsOf(namespace)).map((pod) => secretNameOf(pod));
    assert.equal(new Set(names).size, 2);
    await cluster.untilSecrets(namespace, 2);
  });

  test('a pod without the label, and every pod of the system namespaces, is left alone', async () => {
    const namespace = await served();
    await cluster.createPod(namespace, 'plain', { labels: { app: 'web' } });
    await cluster.createPod(SYSTEM, 'ours', { labels: LABELS });
    for (const [place, name] of [
      [namespace, 'plain'],
      [SYSTEM, 'ours'],
    ] as const) {
      const pod = await cluster.client.get<Pod>(PODS, { namespace: place, name }, { signal: cluster.signal });
      assert.deepEqual(pod.spec.volumes ?? [], []);
    }
    await cluster.deletePod(SYSTEM, 'ours');
  });

  test('an update of a pod changes nothing', async () => {
    const namespace = await served();
    await cluster.createPod(namespace, 'web-0', { labels: LABELS });
    const [before] = await ungatedPodsOf(namespace);
    await cluster.plane.kubectl(['annotate', 'pod', 'web-0', '-n', namespace, 'note=1']);
    const [after] = await podsOf(namespace);
    assert.deepEqual(after?.spec, before?.spec);
    assert.equal(after && secretNameOf(after), before && secretNameOf(before));
  });

  test('a namespace that enforces "restricted" takes an injected pod, the agent beside it included', async () => {
    const namespace = await served();
    await cluster.plane.kubectl(['label', 'namespace', namespace, 'pod-security.kubernetes.io/enforce=restricted']);
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'web-0', labels: LABELS, annotations: { 'dcred.dev/reload': 'signal:HUP:main' } },
      spec: {
        securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } },
        initContainers: [restricted('setup')],
        containers: [restricted('main')],
      },
    };
    await cluster.plane.kubectl(['create', '-n', namespace, '-f', '-'], { input: JSON.stringify(pod) });
    const [created] = await podsOf(namespace);
    assert.ok(created !== undefined && secretNameOf(created));
    const sidecars = created.spec.initContainers?.map(({ name, restartPolicy }) => [name, restartPolicy]);
    assert.deepEqual(sidecars, [
      ['setup', undefined],
      ['dcred-agent', 'Always'],
    ]);
    assert.equal(created.spec.shareProcessNamespace, true);
  });

  test('a wrong name gets a warning and does no harm', async () => {
    const namespace = await served();
    const { stderr } = await cluster.plane.kubectl([
      'run',
      'web-0',
      '--image=localhost/none',
      '--labels=dcred.dev/inject=not.a.name',
      '-n',
      namespace,
    ]);
    assert.match(
      stderr,
      /Warning: dcred\.dev: dcred\.dev\/inject names "not\.a\.name".*correct it and re-create the pod/s,
    );
  });

  test('a dry run shows what would be injected, and nothing is stored', async () => {
    const namespace = await served();
    const { stdout } = await cluster.plane.kubectl([
      'run',
      'web-0',
      '--image=localhost/none',
      '--labels=dcred.dev/inject=web',
      '-n',
      namespace,
      '--dry-run=server',
      '-o',
      'json',
    ]);
    const pod = JSON.parse(stdout) as Pod;
    secretNameOf(pod);
    assert.deepEqual(pod.spec.schedulingGates, [{ name: 'gate.dcred.dev/web' }]);
    assert.equal((await podsOf(namespace)).length, 0);
  });

  test('several resources are injected side by side, and each is served', async () => {
    const namespace = await served();
    await cluster.createResource(namespace, 'api', { certificateRef: { name: 'web-tls' } });
    await cluster.createPod(namespace, 'web-0', { labels: LABELS, annotations: { 'dcred.dev/inject': 'api' } });
    const secrets = await cluster.untilSecrets(namespace, 2);
    const [pod] = await podsOf(namespace);
    assert.ok(pod !== undefined);
    assert.deepEqual(
      new Set(secrets.map(({ metadata }) => metadata.name)),
      new Set([secretNameOf(pod, 'web'), secretNameOf(pod, 'api')]),
    );
  });
});

describe('the serving certificate', () => {
  const secret = async () => {
    const ref = ['get', 'secret', CERT_SECRET, '-n', SYSTEM, '-o', 'json'];
    return JSON.parse((await cluster.plane.kubectl(ref)).stdout) as { data: Record<string, string>; metadata: object };
  };
  const bundle = async () => {
    const path = [
      'get',
      'mutatingwebhookconfiguration',
      CONFIGURATION,
      '-o',
      'jsonpath={.webhooks[0].clientConfig.caBundle}',
    ];
    return Buffer.from((await cluster.plane.kubectl(path)).stdout, 'base64').toString();
  };
  const admits = async () => {
    const args = ['run', 'probe', '--image=localhost/none', '--labels=dcred.dev/inject=web', '--dry-run=server'];
    await cluster.plane.kubectl([...args, '-n', 'default']);
  };

  test('is re-created when it is damaged, and no pod is refused meanwhile', async () => {
    const damaged = JSON.stringify({ data: { 'tls.crt': Buffer.from('garbage').toString('base64') } });
    const authority = (await secret()).data['ca.crt'];
    await cluster.plane.kubectl(['patch', 'secret', CERT_SECRET, '-n', SYSTEM, '--type=merge', '-p', damaged]);
    const renewed = await eventually('a new certificate', async () => {
      const { data } = await secret();
      return data['ca.crt'] !== authority ? data['ca.crt'] : undefined;
    });
    await admits();
    await eventually('both authorities to be trusted', async () => {
      const trusted = await bundle();
      const both = [authority, renewed].map((pem) =>
        Buffer.from(pem ?? '', 'base64')
          .toString()
          .trim(),
      );
      return both.every((pem) => trusted.includes(pem)) ? true : undefined;
    });
    await admits();
    assert.equal((await webhook.readiness()).status, 200);
  });

  test('is trusted again when the bundle is cleared', async () => {
    const cleared = [{ op: 'replace', path: '/webhooks/0/clientConfig/caBundle', value: '' }];
    const target = ['mutatingwebhookconfiguration', CONFIGURATION];
    await cluster.plane.kubectl(['patch', ...target, '--type=json', '-p', JSON.stringify(cleared)]);
    await eventually('the bundle to be back', async () => ((await bundle()) === '' ? undefined : true));
    await eventually('pods to be admitted', () =>
      admits()
        .then(() => true)
        .catch(() => undefined),
    );
  });

  test('is shared: a second replica serves the same, and writes nothing', async () => {
    const { metadata } = await secret();
    const second = await startWebhook(cluster);
    try {
      await eventually('it to serve', async () => (second.log.includes('serving a certificate') ? true : undefined));
      assert.deepEqual((await secret()).metadata, metadata);
      assert.doesNotMatch(second.log, /issued a serving certificate/);
    } finally {
      await second.stop();
    }
    assert.equal(second.exitCode, 0);
  });

  test('leaves no key in the log', async () => {
    const { data } = await secret();
    const key = Buffer.from(data['tls.key'] ?? '', 'base64').toString();
    assert.doesNotMatch(webhook.log, /PRIVATE/);
    assert.ok(!webhook.log.includes(key.split('\n')[1] ?? 'none'));
  });

  test('is in the metrics, as are the admissions', async () => {
    const metrics = await webhook.metrics();
    assert.match(metrics, /dcred_webhook_certificate_events_total\{event="issued"\} [1-9]/);
    assert.match(metrics, /dcred_admission_duration_seconds_count\{outcome="injected"\} [1-9]/);
    assert.match(metrics, /dcred_webhook_certificate_not_after_timestamp_seconds \d{10}/);
  });
});

describe('without the webhook', () => {
  before(async () => {
    await pointAt(cluster, webhook.port, 'Ignore');
    await webhook.stop();
    // The API server learns of the changed policy a moment later.
    await eventually('pods to be admitted', () => {
      const args = ['run', 'probe', '--image=localhost/none', '--labels=dcred.dev/inject=web', '--dry-run=server'];
      return cluster.plane.kubectl([...args, '-n', 'default']).then(
        () => true,
        () => undefined,
      );
    });
  });

  test('pods are created anyway, served under the default name, and reported', async () => {
    const namespace = await served();
    await cluster.createPod(namespace, 'web-0', { labels: LABELS });
    const [secret] = await cluster.untilSecrets(namespace, 1);
    assert.equal(secret?.metadata.name, 'web-web-0');
    const event = await eventually('the Event', async () =>
      (await cluster.events(namespace)).find(({ reason }) => reason === 'NotInjected'),
    );
    assert.equal(event.type, 'Warning');
    assert.deepEqual([event.regarding?.kind, event.regarding?.name], ['Pod', 'web-0']);
    assert.match(event.note ?? '', /Re-create the pod/);
    await cluster.untilReason(namespace, 'web', 'Issued');
    const injected = await eventually('the condition', async () =>
      (await cluster.resource(namespace, 'web')).status?.conditions?.find(({ type }) => type === 'Injected'),
    );
    assert.deepEqual([injected.status, injected.reason], ['False', 'PodsNotInjected']);
    assert.match(injected.message, /^1 of 1 pods .* re-create/);
    assert.equal((await cluster.ready(namespace, 'web'))?.status, 'True');
  });

  test('a pod that names a resource that does not exist gets an Event, and is served once it does', async () => {
    const namespace = await cluster.namespace();
    await cluster.createPod(namespace, 'web-0', { labels: LABELS });
    const event = await eventually('the Event', async () =>
      (await cluster.events(namespace)).find(({ reason }) => reason === 'ResourceNotFound'),
    );
    assert.deepEqual([event.type, event.regarding?.kind, event.regarding?.name], ['Warning', 'Pod', 'web-0']);
    assert.match(event.note ?? '', /no DelegatedCredential "web" in this namespace: create it, or correct/);
    await cluster.putCertificate(namespace, 'web-tls', await (await createTestAuthority()).issue());
    await cluster.createResource(namespace, 'web', { certificateRef: { name: 'web-tls' } });
    await cluster.untilSecrets(namespace, 1);
  });
});

function restricted(name: string): object {
  const securityContext = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } };
  return { name, image: 'localhost/none', securityContext };
}
