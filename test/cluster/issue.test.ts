import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../testing/support/processes.ts';
import { scenario, servedNamespace } from './scenario.ts';
import { assertServes, FILES, file } from './verification.ts';

const running = scenario();

test('fifty pods created at once have verified Secrets, each with its own key', async (t) => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.untilReason(namespace, 'web', 'NoPods');
  await cluster.createPods(namespace, 50);
  const created = performance.now();
  const secrets = await cluster.untilSecrets(namespace, 50);
  t.diagnostic(`the last Secret was there ${Math.round(performance.now() - created)} ms after the last pod`);
  const keys = new Set(secrets.map((secret) => assertServes(secret).publicKey));
  assert.equal(keys.size, 50, 'every pod has a key of its own');
  await cluster.untilReason(namespace, 'web', 'Issued');
  await cluster.untilPods(namespace, 'web', { selected: 50, issued: 50, failed: 0 });
});

test('an issued Secret is what the contract says', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running(), {
    secretTemplate: { labels: { team: 'edge' }, annotations: { 'example.com/note': 'x' } },
  });
  const pod = await cluster.createPod(namespace, 'web-a');
  const [secret] = await cluster.untilSecrets(namespace, 1);
  assert.ok(secret !== undefined);
  const { metadata } = secret;
  assert.equal(metadata.name, 'web-web-a');
  assert.equal(secret.type, 'dcred.dev/delegated-credential');
  assert.deepEqual(metadata.labels, {
    'app.kubernetes.io/managed-by': 'dcred',
    'dcred.dev/delegated-credential': 'web',
    team: 'edge',
  });
  assert.deepEqual(Object.keys(metadata.annotations ?? {}).sort(), [
    'dcred.dev/certificate-sha256',
    'dcred.dev/chain-sha256',
    'dcred.dev/credential-sha256',
    'dcred.dev/expires-at',
    'dcred.dev/issued-at',
    'dcred.dev/key-algorithm',
    'dcred.dev/pod-name',
    'dcred.dev/pod-uid',
    'dcred.dev/renew-at',
    'dcred.dev/usage',
    'example.com/note',
  ]);
  assert.deepEqual(metadata.ownerReferences, [{ apiVersion: 'v1', kind: 'Pod', name: 'web-a', uid: pod.metadata.uid }]);
  assert.deepEqual(Object.keys(secret.data ?? {}).sort(), [...FILES, 'fizz.pem'].sort());
  assert.match(file(secret, 'dc.hex').toString(), /^[0-9a-f]+\n$/);
  assertServes(secret);
});

test('usage and key algorithm are as the resource says, and a change of either re-issues', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running(), { usage: 'Client', keyAlgorithm: 'ECDSAP384' });
  await cluster.createPod(namespace, 'web-a');
  const [first] = await cluster.untilSecrets(namespace, 1);
  assert.ok(first !== undefined);
  assertServes(first, 'Client');
  assert.equal(first.data?.['fizz.pem'], undefined, 'Fizz reads P-256 only');

  await cluster.patchResource(namespace, 'web', { usage: 'Server', keyAlgorithm: 'Ed25519' });
  const second = await eventually('the Secret to be re-issued', async () => {
    const secret = await cluster.secret(namespace, 'web-web-a');
    return secret?.metadata.annotations?.['dcred.dev/key-algorithm'] === 'Ed25519' ? secret : undefined;
  });
  assertServes(second, 'Server');
});

test('a pod labelled dcred.dev/inject is served without a selector', async () => {
  const { authority, cluster } = running();
  const namespace = await cluster.namespace();
  await cluster.putCertificate(namespace, 'web-tls', await authority.issue());
  await cluster.createResource(namespace, 'web', { certificateRef: { name: 'web-tls' } });
  await cluster.createPod(namespace, 'asks', {
    labels: { 'dcred.dev/inject': 'web' },
    annotations: { 'secret.dcred.dev/web': 'a-name-of-its-own' },
  });
  await cluster.createPod(namespace, 'does-not', { labels: { app: 'web' } });
  const [secret] = await cluster.untilSecrets(namespace, 1);
  assert.equal(secret?.metadata.name, 'a-name-of-its-own');
  await cluster.untilReason(namespace, 'web', 'Issued');
});

test('two resources serve one pod, each with its own Secret', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.createResource(namespace, 'clients', {
    certificateRef: { name: 'web-tls' },
    podSelector: { matchExpressions: [{ key: 'app', operator: 'Exists' }] },
    usage: 'Client',
  });
  await cluster.createPod(namespace, 'web-a');
  const secrets = await cluster.untilSecrets(namespace, 2);
  const byName = new Map(secrets.map((secret) => [secret.metadata.name, secret]));
  const [server, client] = [byName.get('web-web-a'), byName.get('clients-web-a')];
  assert.ok(server !== undefined && client !== undefined);
  assert.notEqual(assertServes(server).publicKey, assertServes(client, 'Client').publicKey);
});

test('a suspended resource issues and deletes nothing, and resumes where it stopped', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.createPod(namespace, 'web-a');
  const [before] = await cluster.untilSecrets(namespace, 1);
  await cluster.patchResource(namespace, 'web', {
    suspend: true,
    podSelector: { matchLabels: { app: null, other: 'x' } },
  });
  await cluster.untilReason(namespace, 'web', 'Suspended');
  await cluster.createPod(namespace, 'other', { labels: { other: 'x' } });
  // The status was written after the pod was reconciled: a wrong write would have happened by then.
  await eventually('the pod to be counted', async () => {
    const { status } = await cluster.resource(namespace, 'web');
    return status?.pods?.selected === 1 ? true : undefined;
  });
  const [still, ...more] = await cluster.secrets(namespace);
  assert.equal(still?.metadata.resourceVersion, before?.metadata.resourceVersion);
  assert.equal(more.length, 0);
  await cluster.patchResource(namespace, 'web', { suspend: false });
  const resumed = await eventually('the Secrets to follow the selector', async () => {
    const names = (await cluster.secrets(namespace)).map(({ metadata }) => metadata.name);
    return names.join() === 'web-other' ? names : undefined;
  });
  assert.deepEqual(resumed, ['web-other']);
});

test('kubectl get shows what the printer columns promise', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.createPod(namespace, 'web-a');
  await cluster.untilReason(namespace, 'web', 'Issued');
  const { stdout } = await cluster.plane.kubectl(['get', 'dcred', '-n', namespace, '-o', 'wide']);
  const [header = '', row = ''] = stdout.split('\n');
  assert.match(
    header,
    /^NAME\s+READY\s+REASON\s+PODS\s+ISSUED\s+NEXT RENEWAL\s+AGE\s+LEAF\s+LEAF EXPIRY\s+EARLIEST EXPIRY/,
  );
  assert.match(row, /^web\s+True\s+Issued\s+1\s+1\s+\d{4}-\S+Z\s+\S+\s+CN=web\.example\s+\S+Z\s+\S+Z/);
});
