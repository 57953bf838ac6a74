/** What other clients and unlucky timing do to the loops: each kind costs a bounded number of writes, and no key. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PODS, SECRETS } from '../../src/kubernetes/resource-type.ts';
import { OPERATOR_ACCOUNT, type Secret } from '../../testing/cluster/cluster.ts';
import { eventually } from '../../testing/support/processes.ts';
import { scenario, servedNamespace } from './scenario.ts';
import { assertServes, file } from './verification.ts';

const running = scenario();
const kubectl = (...args: string[]) => running().cluster.plane.kubectl(args);

const versions = (secrets: readonly Secret[]) =>
  secrets.map(({ metadata }) => `${metadata.name} ${metadata.resourceVersion}`).sort();

test('a client that deletes Secrets on sight gets ever fewer of them', async (t) => {
  const { client, signal } = running().cluster;
  const namespace = await servedNamespace(running());
  const stop = new AbortController();
  let deleted = 0;
  const rival = (async () => {
    const selection = { namespace, labelSelector: 'app.kubernetes.io/managed-by=dcred', sendInitialEvents: true };
    for await (const { object, type } of client.watch<Secret>(SECRETS, selection, { signal: stop.signal })) {
      if (type !== 'ADDED') continue;
      deleted += 1;
      await client.delete(SECRETS, { namespace, name: object.metadata.name ?? '' }, { signal });
    }
  })().catch(() => undefined);
  const started = performance.now();
  await running().cluster.createPod(namespace, 'web-a');
  await eventually('the first five to be deleted', async () => (deleted >= 5 ? true : undefined));
  stop.abort();
  await rival;
  // The first, three at once, then 1, 2, 4 s apart: on a slow machine fewer.
  const seconds = (performance.now() - started) / 1000;
  t.diagnostic(`${deleted} Secrets in ${seconds.toFixed(1)} s`);
  assert.ok(deleted <= 5 + Math.log2(1 + seconds), `${deleted} Secrets in ${seconds} s`);
  const [secret] = await running().cluster.untilSecrets(namespace, 1);
  assert.ok(secret !== undefined);
  assertServes(secret);
});

test('a new selector and new labels of the pods: they keep their credentials', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  const names = await cluster.createPods(namespace, 20);
  await cluster.createPod(namespace, 'leaves');
  const before = (await cluster.untilSecrets(namespace, 21)).filter(({ metadata }) => metadata.name !== 'web-leaves');
  await cluster.patchResource(namespace, 'web', { podSelector: { matchLabels: { app: null, tier: 'edge' } } });
  // As `kubectl apply` does, but without a process for each pod: even a busy machine is done before the deletions that wait ten seconds.
  const labels = { metadata: { labels: { tier: 'edge' } } };
  const { client, signal } = cluster;
  await Promise.all(names.map((name) => client.mergePatch(PODS, { namespace, name }, labels, { signal })));
  // When the pod that is not relabelled loses its Secret, any of the others would have lost theirs too.
  const after = await cluster.untilSecrets(namespace, 20);
  assert.deepEqual(versions(after), versions(before));
});

test('a new chain under the same leaf reaches the pods, and key and credential stay', async () => {
  const { authority, cluster } = running();
  const namespace = await cluster.namespace();
  const leaf = await authority.issue();
  const end = '-----END CERTIFICATE-----\n';
  const alone = leaf.certificatePem.slice(0, leaf.certificatePem.indexOf(end) + end.length);
  const intermediate = leaf.certificatePem.slice(alone.length);
  await cluster.putCertificate(namespace, 'web-tls', { ...leaf, certificatePem: alone });
  await cluster.createResource(namespace, 'web', {
    certificateRef: { name: 'web-tls' },
    podSelector: { matchLabels: { app: 'web' } },
  });
  await cluster.createPods(namespace, 3);
  const before = await cluster.untilSecrets(namespace, 3);
  await cluster.untilReason(namespace, 'web', 'Issued');
  await cluster.putCertificate(namespace, 'web-tls', leaf);
  const after = await eventually('every Secret to hold the new chain', async () => {
    const secrets = await cluster.secrets(namespace);
    return secrets.every((secret) => file(secret, 'tls.crt').toString() === leaf.certificatePem) ? secrets : undefined;
  });
  for (const secret of after) {
    const old = before.find(({ metadata }) => metadata.name === secret.metadata.name);
    assert.ok(old !== undefined);
    for (const name of ['dc.key', 'dc.bin', 'dc.hex', 'dc.pem']) assert.deepEqual(file(secret, name), file(old, name));
    const [, line = 'no line'] = intermediate.trim().split('\n');
    assert.ok(file(secret, 'fizz.pem').toString().includes(line), 'Fizz reads the chain from its file');
    assertServes(secret);
  }
  await cluster.untilReason(namespace, 'web', 'Issued');
});

test("a finalizer on a predecessor's Secret keeps no pod waiting", async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.createPod(namespace, 'web-0');
  await cluster.untilSecrets(namespace, 1);
  const finalizers = JSON.stringify({ metadata: { finalizers: ['example.com/backup'] } });
  await kubectl('patch', 'secret', 'web-web-0', '-n', namespace, '--type=merge', '-p', finalizers);
  await cluster.deletePod(namespace, 'web-0');
  const second = await cluster.createPod(namespace, 'web-0');
  const secret = await eventually('the Secret of the second pod', async () => {
    const found = await cluster.secret(namespace, 'web-web-0');
    return found?.metadata.ownerReferences?.[0]?.uid === second.metadata.uid ? found : undefined;
  });
  assertServes(secret);
  await kubectl(
    'patch',
    'secret',
    'web-web-0',
    '-n',
    namespace,
    '--type=merge',
    '-p',
    '{"metadata":{"finalizers":null}}',
  );
});

test('a webhook that cannot be called is a failure of the pod, in status and Events, until it passes', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  const webhook = {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingWebhookConfiguration',
    metadata: { name: `refuses-${namespace}` },
    webhooks: [
      {
        name: 'refuses.example.com',
        clientConfig: { url: 'https://127.0.0.1:1/' },
        rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['secrets'] }],
        namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
        failurePolicy: 'Fail',
        sideEffects: 'None',
        admissionReviewVersions: ['v1'],
      },
    ],
  };
  const type = {
    group: 'admissionregistration.k8s.io',
    version: 'v1',
    plural: 'validatingwebhookconfigurations',
    kind: 'ValidatingWebhookConfiguration',
    namespaced: false,
  };
  await cluster.client.create(type, webhook, { signal: cluster.signal });
  try {
    // The API server learns of it a moment later.
    await eventually('Secrets to be refused', async () => {
      const tried = kubectl('create', 'secret', 'generic', 'tried', '-n', namespace, '--dry-run=server');
      return await tried.then(
        () => undefined,
        (error: Error) => error.message.includes('failed calling webhook') || undefined,
      );
    });
    await cluster.createPod(namespace, 'web-a');
    const ready = await cluster.untilReason(namespace, 'web', 'PodsFailed');
    assert.match(ready.message, /web-a: the API server refuses the Secret: .*failed calling webhook/);
    await eventually('an Event on the pod', async () =>
      (await cluster.events(namespace)).find(
        ({ reason, regarding }) => reason === 'SecretRefused' && regarding?.name === 'web-a',
      ),
    );
  } finally {
    await cluster.client.delete(type, { name: webhook.metadata.name }, { signal: cluster.signal });
  }
  await cluster.untilReason(namespace, 'web', 'Issued');
});

test('a delete that is forbidden is a condition and an Event, and pods are still served', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.createPod(namespace, 'leaves');
  await cluster.untilSecrets(namespace, 1);
  const role = 'clusterrole/dcred-system:dcred-operator';
  const { stdout } = await kubectl('get', role, '-o', 'json');
  const { rules } = JSON.parse(stdout) as { rules: readonly { resources: string[]; verbs: string[] }[] };
  const without = rules.map((rule) =>
    rule.resources.includes('secrets') ? { ...rule, verbs: rule.verbs.filter((verb) => verb !== 'delete') } : rule,
  );
  const setRules = (value: object) => kubectl('patch', role, '--type=merge', '-p', JSON.stringify({ rules: value }));
  await setRules(without);
  try {
    await cluster.plane.untilMay(false, OPERATOR_ACCOUNT, 'delete', 'secrets', '-n', namespace);
    await kubectl('label', 'pod', 'leaves', '-n', namespace, 'app=other', '--overwrite');
    await eventually('an Event on the resource', async () =>
      (await cluster.events(namespace)).find(({ reason }) => reason === 'CleanUpRefused'),
    );
    const condition = await eventually('the condition', async () =>
      (await cluster.resource(namespace, 'web')).status?.conditions?.find(({ type }) => type === 'CleanedUp'),
    );
    assert.match(condition.message, /Secrets of 1 pod that are no longer needed remain: .*forbidden/);
    await cluster.createPod(namespace, 'web-a');
    await cluster.untilSecrets(namespace, 2);
    await cluster.untilReason(namespace, 'web', 'Issued');
  } finally {
    await setRules(rules);
  }
  await cluster.untilSecrets(namespace, 1);
  await eventually('the condition to go', async () =>
    (await cluster.resource(namespace, 'web')).status?.conditions?.some(({ type }) => type === 'CleanedUp')
      ? undefined
      : true,
  );
});
