import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { KubernetesObject } from '../../src/kubernetes/objects.ts';
import { PODS } from '../../src/kubernetes/resource-type.ts';
import { OPERATOR_ACCOUNT, type Secret } from '../../testing/cluster/cluster.ts';
import { startOperator } from '../../testing/cluster/operator-process.ts';
import { eventually } from '../../testing/support/processes.ts';
import { scenario, servedNamespace } from './scenario.ts';
import { assertServes } from './verification.ts';

const running = scenario();
const CHART = join(import.meta.dirname, '..', '..', 'charts', 'dcred');
const RENEWED_AT = 'dcred.dev/renewed-at';
const SENT = 'dcred_kubelet_nudges_total{outcome="ok"}';
const LOST = 'dcred_kubelet_nudges_total{outcome="failed"}';

async function pod(namespace: string, name: string): Promise<KubernetesObject> {
  const { client, signal } = running().cluster;
  return await client.get(PODS, { namespace, name }, { signal, metadataOnly: true });
}

async function nudgedAt(namespace: string, name: string): Promise<string | undefined> {
  return (await pod(namespace, name)).metadata.annotations?.[RENEWED_AT];
}

/** Another key algorithm: all credentials are re-issued. */
async function reissue(namespace: string, keyAlgorithm = 'ECDSAP384'): Promise<void> {
  await running().cluster.patchResource(namespace, 'web', { keyAlgorithm });
}

async function untilReissued(namespace: string, name: string, keyAlgorithm = 'ECDSAP384'): Promise<Secret> {
  return await eventually(`${name} to be re-issued`, async () => {
    const secret = await running().cluster.secret(namespace, name);
    return secret?.metadata.annotations?.['dcred.dev/key-algorithm'] === keyAlgorithm ? secret : undefined;
  });
}

const untilNudged = (namespace: string, name: string) =>
  eventually(`pod ${name} to be nudged`, () => nudgedAt(namespace, name), { intervalMs: 5 });

test('a re-issue nudges the kubelet after the Secret was written', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.createPod(namespace, 'web-0');
  await cluster.untilSecrets(namespace, 1);
  await cluster.untilReason(namespace, 'web', 'Issued');
  assert.equal(await nudgedAt(namespace, 'web-0'), undefined, 'a first Secret is mounted when the pod starts');

  const before = Date.now();
  await reissue(namespace);
  const at = await untilNudged(namespace, 'web-0');
  const secret = await cluster.secret(namespace, 'web-web-0');
  assert.equal(secret?.metadata.annotations?.['dcred.dev/key-algorithm'], 'ECDSAP384', 'the Secret came first');
  assertServes(secret);
  assert.ok(Date.parse(at) >= before, 'its value is the time of the nudge');
});

test('a nudge changes nothing else of the pod, and triggers nothing', async () => {
  const { cluster, operator } = running();
  const namespace = await servedNamespace(running());
  await cluster.createPod(namespace, 'web-0', { labels: { app: 'web' }, annotations: { theirs: '1' } });
  await cluster.untilSecrets(namespace, 1);
  const before = await pod(namespace, 'web-0');
  await reissue(namespace);
  const at = await untilNudged(namespace, 'web-0');
  await cluster.untilReason(namespace, 'web', 'Issued');
  const [issued, secret] = [await operator.issued(), await cluster.secret(namespace, 'web-web-0')];
  const after = await pod(namespace, 'web-0');
  assert.deepEqual(after.metadata.annotations, { ...before.metadata.annotations, [RENEWED_AT]: at });
  assert.deepEqual(after.metadata.labels, before.metadata.labels);

  // Anything that the nudge triggered is reconciled before a pod that is created now.
  await cluster.createPod(namespace, 'web-1');
  await cluster.untilSecrets(namespace, 2);
  assert.equal(await operator.reachedIssued(issued + 1), issued + 1);
  const later = await cluster.secret(namespace, 'web-web-0');
  assert.equal(later?.metadata.resourceVersion, secret?.metadata.resourceVersion);
});

test('every pod of a wave is nudged', async () => {
  const { cluster, operator } = running();
  const namespace = await servedNamespace(running());
  const names = await cluster.createPods(namespace, 20);
  await cluster.untilSecrets(namespace, 20);
  const before = await operator.metric(SENT);
  await reissue(namespace);
  for (const name of names) await untilNudged(namespace, name);
  assert.equal(await operator.reached(SENT, before + 20), before + 20);
});

test('without permission to patch pods the re-issue stands, and lost nudges are counted', async () => {
  const { cluster, operator } = running();
  const namespace = await servedNamespace(running());
  await cluster.createPod(namespace, 'web-0');
  await cluster.untilSecrets(namespace, 1);
  const before = await operator.metric(LOST);
  const upgrade = async (value: boolean) => {
    const values = `webhook.enabled=false,notifyPods=${value}`;
    await cluster.plane.helm(['upgrade', 'dcred', CHART, '-n', 'dcred-system', '--set', values]);
    await cluster.plane.untilMay(value, OPERATOR_ACCOUNT, 'patch', 'pods', '-n', namespace);
  };
  await upgrade(false);
  try {
    await reissue(namespace);
    const secret = await untilReissued(namespace, 'web-web-0');
    assertServes(secret);
    await cluster.untilReason(namespace, 'web', 'Issued');
    await eventually('the loss to be counted', async () => ((await operator.metric(LOST)) > before ? true : undefined));
    const later = await cluster.secret(namespace, 'web-web-0');
    assert.equal(later?.metadata.resourceVersion, secret.metadata.resourceVersion, 'it was not issued again');
    assert.equal(await nudgedAt(namespace, 'web-0'), undefined);
  } finally {
    await upgrade(true);
  }
});

test('--notify-pods=false leaves pods alone', async () => {
  const { cluster, operator } = running();
  await operator.stop();
  const namespace = await servedNamespace(running());
  await cluster.createPod(namespace, 'web-0');
  const args = ['--leader-elect=false', '--notify-pods=false'];
  await using silent = await startOperator({ kubeconfig: cluster.operatorKubeconfig, args });
  await cluster.untilSecrets(namespace, 1);
  await reissue(namespace);
  await untilReissued(namespace, 'web-web-0');
  await cluster.untilReason(namespace, 'web', 'Issued');
  assert.equal(await nudgedAt(namespace, 'web-0'), undefined);
  assert.equal((await silent.metric(SENT)) + (await silent.metric(LOST)), 0);
});
