import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Secret } from '../../testing/cluster/cluster.ts';
import { eventually } from '../../testing/support/processes.ts';
import { scenario, servedNamespace } from './scenario.ts';
import { assertServes, file } from './verification.ts';

const running = scenario();

async function onePod(spec: object = {}): Promise<{ readonly namespace: string; readonly secret: Secret }> {
  const namespace = await servedNamespace(running(), spec);
  await running().cluster.createPod(namespace, 'web-a');
  const [secret] = await running().cluster.untilSecrets(namespace, 1);
  assert.ok(secret !== undefined);
  return { namespace, secret };
}

/** Waits for another credential under the same name, and verifies it. */
async function reissued(namespace: string, before: Secret): Promise<Secret> {
  const name = before.metadata.name ?? '';
  return await eventually(`Secret ${name} to be restored`, async () => {
    const now = await running().cluster.secret(namespace, name);
    if (now === undefined || now.data?.['dc.bin'] === before.data?.['dc.bin']) return undefined;
    assertServes(now);
    return now;
  });
}

const kubectl = (...args: string[]) => running().cluster.plane.kubectl(args);

test('a Secret that is deleted is re-created', async () => {
  const { namespace, secret } = await onePod();
  await kubectl('delete', 'secret', 'web-web-a', '-n', namespace);
  await reissued(namespace, secret);
});

const EDITS: readonly (readonly [string, object])[] = [
  ['another key', { data: { 'dc.key': Buffer.from('not a key').toString('base64') } }],
  ['one file less', { data: { 'dc.hex': null } }],
  ['one file more', { data: { 'extra.txt': Buffer.from('x').toString('base64') } }],
  ['a forged expiry', { metadata: { annotations: { 'dcred.dev/expires-at': '2099-01-01T00:00:00Z' } } }],
  ['no renewal time', { metadata: { annotations: { 'dcred.dev/renew-at': null } } }],
  ["another pod's uid", { metadata: { annotations: { 'dcred.dev/pod-uid': 'somebody-else' } } }],
];

for (const [what, patch] of EDITS) {
  test(`a Secret edited by another client is restored: ${what}`, async () => {
    const { namespace, secret } = await onePod();
    await kubectl('patch', 'secret', 'web-web-a', '-n', namespace, '--type=merge', '-p', JSON.stringify(patch));
    const restored = await reissued(namespace, secret);
    assert.equal(restored.data?.['extra.txt'], undefined);
  });
}

for (const [what, patch] of EDITS.slice(0, 3)) {
  test(`a Secret edited under the name of dcred itself is restored: ${what}`, async () => {
    const { namespace, secret } = await onePod();
    const args = ['--type=merge', '--field-manager=dcred', '-p', JSON.stringify(patch)];
    await kubectl('patch', 'secret', 'web-web-a', '-n', namespace, ...args);
    const restored = await reissued(namespace, secret);
    assert.equal(restored.data?.['extra.txt'], undefined);
  });
}

test('a Secret that was made immutable is still re-issued', async () => {
  const { namespace, secret } = await onePod();
  await kubectl('patch', 'secret', 'web-web-a', '-n', namespace, '-p', '{"immutable":true}');
  await running().cluster.patchResource(namespace, 'web', { keyAlgorithm: 'ECDSAP384' });
  await reissued(namespace, secret);
});

test("other clients' labels, annotations and finalizers stay, through a re-issue too, except kubectl's copy of the key", async () => {
  const { namespace, secret } = await onePod();
  await kubectl('label', 'secret', 'web-web-a', '-n', namespace, 'backup=no');
  await kubectl(
    'annotate',
    'secret',
    'web-web-a',
    '-n',
    namespace,
    'example.com/owner=edge',
    'kubectl.kubernetes.io/last-applied-configuration=x',
  );
  const finalizers = JSON.stringify({ metadata: { finalizers: ['example.com/backup'] } });
  await kubectl('patch', 'secret', 'web-web-a', '-n', namespace, '--type=merge', '-p', finalizers);
  await running().cluster.patchResource(namespace, 'web', { keyAlgorithm: 'ECDSAP384' });
  const { metadata } = await reissued(namespace, secret);
  assert.deepEqual(metadata.finalizers, ['example.com/backup']);
  assert.equal(metadata.labels?.['backup'], 'no');
  assert.equal(metadata.annotations?.['example.com/owner'], 'edge');
  assert.equal(metadata.annotations?.['kubectl.kubernetes.io/last-applied-configuration'], undefined);
});

test('a new secretTemplate changes labels and annotations and keeps the credential', async () => {
  const { namespace, secret } = await onePod({ secretTemplate: { labels: { team: 'edge', old: 'x' } } });
  await kubectl('label', 'secret', 'web-web-a', '-n', namespace, 'backup=no');
  await running().cluster.patchResource(namespace, 'web', {
    secretTemplate: { labels: { team: 'shop', old: null }, annotations: { 'example.com/note': 'y' } },
  });
  const changed = await eventually('the metadata to follow', async () => {
    const now = await running().cluster.secret(namespace, 'web-web-a');
    return now?.metadata.labels?.['team'] === 'shop' ? now : undefined;
  });
  assert.equal(changed.metadata.labels?.['old'], undefined);
  assert.equal(changed.metadata.labels?.['backup'], 'no');
  assert.equal(changed.metadata.annotations?.['example.com/note'], 'y');
  assert.deepEqual(file(changed, 'dc.bin'), file(secret, 'dc.bin'));
  assertServes(changed);
});

test('another renewal point moves renew-at and keeps the credential', async () => {
  const { namespace, secret } = await onePod();
  await running().cluster.patchResource(namespace, 'web', { renewBeforeSeconds: 3600 });
  const before = secret.metadata.annotations?.['dcred.dev/renew-at'];
  const changed = await eventually('renew-at to move', async () => {
    const now = await running().cluster.secret(namespace, 'web-web-a');
    return now?.metadata.annotations?.['dcred.dev/renew-at'] === before ? undefined : now;
  });
  assert.deepEqual(file(changed, 'dc.bin'), file(secret, 'dc.bin'));
});

test('a shorter lifetime re-issues what would live too long', async () => {
  const { namespace, secret } = await onePod();
  await running().cluster.patchResource(namespace, 'web', { lifetimeSeconds: 3600 });
  const now = await reissued(namespace, secret);
  assert.ok(assertServes(now).expiresAt <= Date.now() / 1000 + 3600);
});

test('a Secret that dcred does not own is never touched: the clash is an Event and PodsFailed until that Secret is deleted', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await kubectl('create', 'secret', 'generic', 'web-web-a', '-n', namespace, '--from-literal=mine=1');
  await cluster.createPod(namespace, 'web-a');
  await cluster.createPod(namespace, 'web-b');
  const ready = await cluster.untilReason(namespace, 'web', 'PodsFailed');
  assert.match(
    ready.message,
    /^1 of 2 pods cannot be served: web-a: Secret "web-web-a" exists and was not issued by dcred.*rename or delete it/,
  );
  await cluster.untilPods(namespace, 'web', { selected: 2, issued: 1, failed: 1 });
  const { stdout } = await kubectl('get', 'secret', 'web-web-a', '-n', namespace, '-o', 'jsonpath={.data}');
  assert.deepEqual(JSON.parse(stdout), { mine: Buffer.from('1').toString('base64') });
  const event = await eventually('an Event on the pod', async () =>
    (await cluster.events(namespace)).find(
      ({ reason, regarding }) => reason === 'SecretNameTaken' && regarding?.name === 'web-a',
    ),
  );
  assert.equal(event.type, 'Warning');

  await kubectl('delete', 'secret', 'web-web-a', '-n', namespace);
  await cluster.untilReason(namespace, 'web', 'Issued');
});

/** What a backup holds: the tools drop what the API server sets, and the owner. */
async function backup(namespace: string): Promise<Secret & { readonly metadata: object }> {
  const { stdout } = await kubectl('get', 'secret', 'web-web-a', '-n', namespace, '-o', 'json');
  const secret = JSON.parse(stdout) as Secret;
  const { annotations = {}, labels = {}, name = '' } = secret.metadata;
  return { ...secret, metadata: { name, namespace, labels, annotations } };
}

const create = (object: object) =>
  running().cluster.plane.kubectl(['create', '-f', '-'], { input: JSON.stringify(object) });

test('a Secret restored from a backup makes way for a pod of the same name once its own pod is gone', async () => {
  const { cluster } = running();
  const { namespace, secret } = await onePod();
  const saved = await backup(namespace);
  await cluster.deletePod(namespace, 'web-a');
  await eventually('the Secret to go with its pod', async () =>
    (await cluster.secrets(namespace)).length === 0 ? true : undefined,
  );
  await create(saved);
  await cluster.createPod(namespace, 'web-a');
  const now = await reissued(namespace, secret);
  assert.equal(now.metadata.ownerReferences?.[0]?.kind, 'Pod');
  await cluster.untilReason(namespace, 'web', 'Issued');
});

test('such a Secret of another type, or of a pod that exists, is not touched', async () => {
  const { cluster } = running();
  const { namespace } = await onePod();
  const saved = await backup(namespace);
  const living = { ...saved, metadata: { ...saved.metadata, name: 'web-web-b' } };
  const foreign = structuredClone({ ...saved, type: 'Opaque', metadata: { ...saved.metadata, name: 'web-web-c' } });
  Object.assign(foreign.metadata.annotations ?? {}, { 'dcred.dev/pod-uid': 'gone' });
  await create(living);
  await create(foreign);
  await cluster.createPod(namespace, 'web-b');
  await cluster.createPod(namespace, 'web-c');
  await eventually('both pods to fail', async () =>
    (await cluster.resource(namespace, 'web')).status?.pods?.failed === 2 ? true : undefined,
  );
  for (const { metadata, data } of [living, foreign]) {
    const found = await cluster.secret(namespace, metadata.name ?? '');
    assert.deepEqual(found?.data, data);
    assert.equal(found?.metadata.ownerReferences, undefined);
  }
});

test("a Secret that lost dcred's label no longer belongs to dcred, and is left alone", async () => {
  const { namespace, secret } = await onePod();
  await kubectl(
    'label',
    'secret',
    'web-web-a',
    '-n',
    namespace,
    'app.kubernetes.io/managed-by=somebody',
    '--overwrite',
  );
  await running().cluster.untilReason(namespace, 'web', 'PodsFailed');
  const { stdout } = await kubectl('get', 'secret', 'web-web-a', '-n', namespace, '-o', 'json');
  assert.deepEqual((JSON.parse(stdout) as Secret).data, secret.data);
});

test('two pods that claim one Secret name: the first gets it, the second an Event, and neither the key of the other', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  const annotations = { 'secret.dcred.dev/web': 'shared' };
  await cluster.createPod(namespace, 'web-a', { annotations });
  const [first] = await cluster.untilSecrets(namespace, 1);
  await cluster.createPod(namespace, 'web-b', { annotations });
  const ready = await cluster.untilReason(namespace, 'web', 'PodsFailed');
  assert.match(ready.message, /web-b: Secret "shared" (was issued for pod "web-a"|exists)/);
  const [still, ...more] = await cluster.secrets(namespace);
  assert.deepEqual([still?.metadata.resourceVersion, more.length], [first?.metadata.resourceVersion, 0]);
});

test('an annotation that is not a Secret name is an Event that says what to write', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.createPod(namespace, 'web-a', { annotations: { 'secret.dcred.dev/web': '../etc' } });
  const ready = await cluster.untilReason(namespace, 'web', 'PodsFailed');
  assert.match(
    ready.message,
    /web-a: annotation secret\.dcred\.dev\/web is not a valid Secret name: use lower-case letters/,
  );
  assert.equal((await cluster.secrets(namespace)).length, 0);
});
