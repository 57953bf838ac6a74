/** Pods that are not scheduled before their Secret exists. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { KubernetesObject } from '../../src/kubernetes/objects.ts';
import { PODS } from '../../src/kubernetes/resource-type.ts';
import { AUDITED_ACCESS } from '../../testing/cluster/access.ts';
import { type Cluster, OPERATOR_ACCOUNT, startCluster } from '../../testing/cluster/cluster.ts';
import { type OperatorProcess, startOperator } from '../../testing/cluster/operator-process.ts';
import { createTestAuthority, type TestAuthority } from '../../testing/support/certificates.ts';
import { eventually } from '../../testing/support/processes.ts';
import { servedNamespace } from './scenario.ts';

type Pod = KubernetesObject<{ readonly spec: { readonly schedulingGates?: readonly { readonly name: string }[] } }>;

const GATE = 'gate.dcred.dev/web';
const THEIRS = 'gate.example/theirs';

let cluster: Cluster;
let authority: TestAuthority;
let operator: OperatorProcess;

before(async () => {
  cluster = await startCluster({ controllerManager: true, audit: AUDITED_ACCESS });
  authority = await createTestAuthority();
  operator = await start();
});
after(async () => {
  await operator?.stop();
  await cluster?.[Symbol.asyncDispose]();
});

const start = () => startOperator({ kubeconfig: cluster.operatorKubeconfig });

/** As injection leaves it: the gate, and the annotation that names it. */
async function createGated(namespace: string, name: string, gates: readonly string[] = [GATE]): Promise<void> {
  const ours = gates.filter((gate) => gate.startsWith('gate.dcred.dev/'));
  const annotations = Object.fromEntries(ours.map((gate) => [gate, 'closed']));
  const pod = {
    metadata: { namespace, name, labels: { app: 'web', 'dcred.dev/inject': 'web' }, annotations },
    spec: {
      automountServiceAccountToken: false,
      containers: [{ name: 'main', image: 'localhost/none' }],
      schedulingGates: gates.map((gate) => ({ name: gate })),
    },
  };
  await cluster.client.create(PODS, pod as never, { signal: cluster.signal });
}

async function gatesOf(namespace: string, name: string) {
  const pod = await cluster.client.get<Pod>(PODS, { namespace, name }, { signal: cluster.signal });
  const gates = (pod.spec.schedulingGates ?? []).map((gate) => gate.name);
  const annotations = Object.keys(pod.metadata.annotations ?? {}).filter((key) => key.startsWith('gate.'));
  return { gates, annotations };
}

async function untilGates(namespace: string, name: string, expected: readonly string[]): Promise<void> {
  await eventually(`pod ${name} to have the gates [${expected.join()}]`, async () => {
    const { gates } = await gatesOf(namespace, name);
    return gates.join() === expected.join() ? true : undefined;
  });
}

test('the gate is removed once the Secret exists, together with its annotation', async () => {
  const namespace = await servedNamespace({ authority, cluster });
  await createGated(namespace, 'web-0');
  await untilGates(namespace, 'web-0', []);
  assert.deepEqual((await gatesOf(namespace, 'web-0')).annotations, []);
  assert.equal((await cluster.secrets(namespace)).length, 1);
});

test("others' gates stay: their owners remove them", async () => {
  const namespace = await servedNamespace({ authority, cluster });
  await createGated(namespace, 'web-0', [THEIRS, GATE, 'gate.dcred.dev/api']);
  await untilGates(namespace, 'web-0', [THEIRS, 'gate.dcred.dev/api']);
  assert.deepEqual((await gatesOf(namespace, 'web-0')).annotations, ['gate.dcred.dev/api']);
});

test('without a certificate the pod stays gated with an Event that says why, until there is one', async () => {
  const namespace = await cluster.namespace();
  await cluster.createResource(namespace, 'web', { certificateRef: { name: 'web-tls' } });
  await cluster.untilReason(namespace, 'web', 'CertificateNotFound');
  await createGated(namespace, 'web-0');
  const event = await eventually('the Event', async () =>
    (await cluster.events(namespace)).find(({ reason }) => reason === 'NotIssued'),
  );
  assert.deepEqual([event.type, event.regarding?.kind, event.regarding?.name], ['Warning', 'Pod', 'web-0']);
  assert.match(event.note ?? '', /DelegatedCredential "web" issues none: .*web-tls/);
  assert.deepEqual((await gatesOf(namespace, 'web-0')).gates, [GATE]);
  await cluster.putCertificate(namespace, 'web-tls', await authority.issue());
  await untilGates(namespace, 'web-0', []);
});

test('a pod that the resource does not select gets an Event', async () => {
  const namespace = await servedNamespace({ authority, cluster }, { podSelector: { matchLabels: { app: 'another' } } });
  await createGated(namespace, 'web-0');
  const event = await eventually('the Event', async () =>
    (await cluster.events(namespace)).find(({ reason }) => reason === 'NotSelected'),
  );
  assert.deepEqual([event.regarding?.kind, event.regarding?.name], ['Pod', 'web-0']);
  assert.match(event.note ?? '', /podSelector of DelegatedCredential "web" does not match/);
  await cluster.patchResource(namespace, 'web', { podSelector: null });
  await untilGates(namespace, 'web-0', []);
});

test('an annotation without a gate costs one write, and the Secret is issued', async () => {
  const namespace = await servedNamespace({ authority, cluster });
  await cluster.createPod(namespace, 'web-0', { labels: { app: 'web' }, annotations: { [GATE]: 'forged' } });
  await eventually('the annotation to be gone', async () => {
    const { annotations } = await gatesOf(namespace, 'web-0');
    return annotations.length === 0 ? true : undefined;
  });
  assert.equal((await cluster.secrets(namespace)).length, 1);
});

test('forty gated pods at once: each is released after its Secret, with one write', async () => {
  const namespace = await servedNamespace({ authority, cluster });
  /** By the API server's own log, once it has answered. */
  const patches = async () =>
    (await cluster.plane.auditLog()).filter(
      ({ objectRef: ref, verb }) => verb === 'patch' && ref?.resource === 'pods' && ref.namespace === namespace,
    ).length;
  const names = Array.from({ length: 40 }, (_, number) => `web-${number}`);
  await Promise.all(names.map((name) => createGated(namespace, name)));
  for (const name of names) await untilGates(namespace, name, []);
  await cluster.untilPods(namespace, 'web', { selected: 40, issued: 40, failed: 0 });
  const written = await eventually('forty answers', async () => {
    const count = await patches();
    return count >= 40 ? count : undefined;
  });
  assert.equal(written, 40);
});

test('an operator that exits between the Secret and the gate: the next one removes the gate and issues nothing', async () => {
  const namespace = await servedNamespace({ authority, cluster });
  // Without the permission for the second write, the operator leaves what a crash at that moment would.
  const role = 'clusterrole/dcred-system:dcred-operator';
  const { stdout } = await cluster.plane.kubectl(['get', role, '-o', 'json']);
  const { rules } = JSON.parse(stdout) as {
    rules: readonly { resources: readonly string[]; verbs: readonly string[] }[];
  };
  const without = rules.filter(({ resources, verbs }) => !(resources.includes('pods') && verbs.includes('patch')));
  assert.equal(without.length, rules.length - 1);
  const setRules = (value: object) =>
    cluster.plane.kubectl(['patch', role, '--type=merge', '-p', JSON.stringify({ rules: value })]);
  await setRules(without);
  await cluster.plane.untilMay(false, OPERATOR_ACCOUNT, 'patch', 'pods', '-n', namespace);
  await createGated(namespace, 'web-0');
  const [issued] = await cluster.untilSecrets(namespace, 1);
  const event = await eventually('the Event', async () =>
    (await cluster.events(namespace)).find(({ reason }) => reason === 'GateNotLifted'),
  );
  assert.match(event.note ?? '', /no permission to patch pods here/);
  await cluster.untilReason(namespace, 'web', 'PodsFailed');
  await operator.kill();
  await setRules(rules);
  await cluster.plane.untilMay(true, OPERATOR_ACCOUNT, 'patch', 'pods', '-n', namespace);
  assert.deepEqual((await gatesOf(namespace, 'web-0')).gates, [GATE]);

  operator = await start();
  await untilGates(namespace, 'web-0', []);
  await cluster.untilReason(namespace, 'web', 'Issued');
  const [same] = await cluster.secrets(namespace);
  assert.equal(same?.metadata.resourceVersion, issued?.metadata.resourceVersion);
});
