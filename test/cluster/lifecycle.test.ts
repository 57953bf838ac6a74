import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startOperator } from '../../testing/cluster/operator-process.ts';
import { eventually } from '../../testing/support/processes.ts';
import { scenario, servedNamespace } from './scenario.ts';
import { assertServes } from './verification.ts';

const running = scenario();
const kubectl = (...args: string[]) => running().cluster.plane.kubectl(args);

async function secretNames(namespace: string): Promise<readonly string[]> {
  return (await running().cluster.secrets(namespace)).map(({ metadata }) => metadata.name ?? '').sort();
}

async function untilNames(namespace: string, names: readonly string[]): Promise<void> {
  await eventually(`the Secrets to be ${names.join()}`, async () =>
    (await secretNames(namespace)).join() === names.join() ? true : undefined,
  );
}

test('a pod that no longer matches, completes, or is deleted, loses its Secret', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  for (const name of ['relabelled', 'succeeds', 'fails', 'goes', 'stays']) await cluster.createPod(namespace, name);
  await cluster.untilSecrets(namespace, 5);
  await kubectl('label', 'pod', 'relabelled', '-n', namespace, 'app=other', '--overwrite');
  for (const [name, phase] of [
    ['succeeds', 'Succeeded'],
    ['fails', 'Failed'],
  ]) {
    await kubectl(
      'patch',
      'pod',
      `${name}`,
      '-n',
      namespace,
      '--subresource=status',
      '-p',
      JSON.stringify({ status: { phase } }),
    );
  }
  await cluster.deletePod(namespace, 'goes');
  await untilNames(namespace, ['web-stays']);
});

test("the status drops what no longer holds, and leaves other clients' conditions alone", async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.createPod(namespace, 'web-a');
  await cluster.untilReason(namespace, 'web', 'Issued');
  assert.ok((await cluster.resource(namespace, 'web')).status?.nextRenewalTime !== undefined);
  const audited = {
    type: 'Audited',
    status: 'True',
    reason: 'Fine',
    message: '',
    lastTransitionTime: '2026-01-01T00:00:00Z',
  };
  const patch = JSON.stringify([{ op: 'add', path: '/status/conditions/-', value: audited }]);
  await kubectl('patch', 'dcred', 'web', '-n', namespace, '--subresource=status', '--type=json', '-p', patch);
  await cluster.deletePod(namespace, 'web-a');
  await cluster.untilReason(namespace, 'web', 'NoPods');
  await cluster.untilStatus(namespace, 'web', 'no times', ({ earliestExpiryTime, nextRenewalTime }) => {
    return nextRenewalTime === undefined && earliestExpiryTime === undefined;
  });
  const { status } = await cluster.resource(namespace, 'web');
  assert.deepEqual(status?.conditions?.map(({ type }) => type).sort(), ['Audited', 'Ready']);
});

test('a terminating pod keeps its Secret while it drains, and gets no new one', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  const pod = await cluster.createPod(namespace, 'draining');
  // A finalizer stands in for containers that are slow to stop: nothing here runs containers.
  await kubectl('patch', 'pod', 'draining', '-n', namespace, '-p', '{"metadata":{"finalizers":["example.com/drain"]}}');
  await cluster.untilSecrets(namespace, 1);
  await cluster.untilReason(namespace, 'web', 'Issued');
  await kubectl('delete', 'pod', 'draining', '-n', namespace, '--wait=false');
  await cluster.untilReason(namespace, 'web', 'NoPods');
  assert.deepEqual(await secretNames(namespace), ['web-draining'], `pod ${pod.metadata.uid} still serves`);
  await kubectl('patch', 'pod', 'draining', '-n', namespace, '-p', '{"metadata":{"finalizers":null}}');
  await cluster.untilSecrets(namespace, 0);
});

test('a pod re-created under the same name gets its own Secret', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.createPod(namespace, 'web-0');
  const [first] = await cluster.untilSecrets(namespace, 1);
  assert.ok(first !== undefined);
  await cluster.deletePod(namespace, 'web-0');
  const second = await cluster.createPod(namespace, 'web-0');
  const secret = await eventually('the Secret of the second pod', async () => {
    const found = await cluster.secret(namespace, 'web-web-0');
    return found?.metadata.ownerReferences?.[0]?.uid === second.metadata.uid ? found : undefined;
  });
  assert.notEqual(assertServes(secret).publicKey, assertServes(first).publicKey);
  await cluster.untilReason(namespace, 'web', 'Issued');
});

test('another Secret name in the annotation moves the Secret', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.createPod(namespace, 'web-a');
  await cluster.untilSecrets(namespace, 1);
  await kubectl('annotate', 'pod', 'web-a', '-n', namespace, 'secret.dcred.dev/web=renamed');
  await untilNames(namespace, ['renamed']);
});

test('deleting the resource deletes its Secrets and no others', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.createResource(namespace, 'other', {
    certificateRef: { name: 'web-tls' },
    podSelector: { matchLabels: { app: 'web' } },
  });
  await cluster.createPods(namespace, 3);
  await cluster.untilSecrets(namespace, 6);
  await kubectl('delete', 'dcred', 'web', '-n', namespace);
  await untilNames(namespace, ['other-web-0', 'other-web-1', 'other-web-2']);
});

test('another selector moves the Secrets to other pods', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.createPod(namespace, 'blue', { labels: { app: 'web', colour: 'blue' } });
  await cluster.createPod(namespace, 'green', { labels: { app: 'next', colour: 'green' } });
  await untilNames(namespace, ['web-blue']);
  await cluster.patchResource(namespace, 'web', { podSelector: { matchLabels: { app: 'next' } } });
  await untilNames(namespace, ['web-green']);
});

test('an operator that was down catches up, and re-issues nothing that is not due', async () => {
  const { cluster, operator } = running();
  const [gone, kept] = [await servedNamespace(running()), await servedNamespace(running())];
  await cluster.createPods(gone, 3);
  await cluster.createPods(kept, 3);
  await cluster.untilSecrets(gone, 3);
  const before = await cluster.untilSecrets(kept, 3);
  await operator.kill();

  await kubectl('delete', 'dcred', 'web', '-n', gone);
  await kubectl('label', 'pod', 'web-2', '-n', kept, 'app=other', '--overwrite');
  await kubectl('patch', 'secret', 'web-web-1', '-n', kept, '-p', JSON.stringify({ data: { 'dc.bin': 'AAAA' } }));
  await cluster.createPod(kept, 'web-3');

  await using next = await startOperator({ kubeconfig: cluster.operatorKubeconfig });
  await cluster.untilSecrets(gone, 0);
  await untilNames(kept, ['web-web-0', 'web-web-1', 'web-web-3']);
  assert.equal(await next.reachedIssued(2), 2);
  await cluster.untilPods(kept, 'web', { selected: 3, issued: 3, failed: 0 });
  for (const secret of await cluster.secrets(kept)) assertServes(secret);
  const untouched = await cluster.secret(kept, 'web-web-0');
  const original = before.find(({ metadata }) => metadata.name === 'web-web-0');
  assert.equal(untouched?.metadata.resourceVersion, original?.metadata.resourceVersion);
  assert.equal(await next.metric('dcred_credentials_issued_total{reason="Missing"}'), 1);
  assert.equal(await next.metric('dcred_credentials_issued_total{reason="Modified"}'), 1);
  assert.equal(await next.issued(), 2);
});
