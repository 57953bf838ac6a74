/** Certificates of another namespace: what a DelegationGrant permits, and everything that it does not. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { AUDITED_ACCESS } from '../../testing/cluster/access.ts';
import { type Cluster, type Secret, startCluster } from '../../testing/cluster/cluster.ts';
import { type OperatorProcess, startOperator } from '../../testing/cluster/operator-process.ts';
import { createTestAuthority, type LeafFiles, type TestAuthority } from '../../testing/support/certificates.ts';
import { eventually } from '../../testing/support/processes.ts';
import { assertServes } from './verification.ts';

let cluster: Cluster;
let authority: TestAuthority;
let operator: OperatorProcess;
let leaf: LeafFiles;

before(async () => {
  cluster = await startCluster({ controllerManager: true, audit: AUDITED_ACCESS });
  authority = await createTestAuthority();
  leaf = await authority.issue();
  operator = await startOperator({ kubeconfig: cluster.operatorKubeconfig });
});
after(async () => {
  await operator?.stop();
  await cluster?.[Symbol.asyncDispose]();
});

const kubectl = async (...args: readonly string[]) => (await cluster.plane.kubectl(args)).stdout;

/** A namespace with the certificate `web-tls`. */
async function vault(): Promise<string> {
  const namespace = await cluster.namespace();
  await cluster.putCertificate(namespace, 'web-tls', leaf);
  return namespace;
}

async function putGrant(namespace: string, spec: object, name = 'web'): Promise<void> {
  const grant = {
    apiVersion: 'dcred.dev/v1alpha1',
    kind: 'DelegationGrant',
    metadata: { namespace, name },
    spec: { certificateRef: { name: 'web-tls' }, ...spec },
  };
  await cluster.plane.kubectl(['apply', '-f', '-'], { input: JSON.stringify(grant) });
}

/** A resource `web` that uses the certificate of another namespace, and its pods. */
async function consumer(of: string, { pods = 1, ...spec }: { readonly pods?: number } & Record<string, unknown> = {}) {
  const namespace = await cluster.namespace();
  await use(namespace, of, spec);
  await cluster.createPods(namespace, pods);
  return namespace;
}

async function use(namespace: string, of: string, spec: object = {}): Promise<void> {
  const certificateRef = { name: 'web-tls', namespace: of };
  await cluster.createResource(namespace, 'web', {
    certificateRef,
    podSelector: { matchLabels: { app: 'web' } },
    ...spec,
  });
}

const lifetimeOf = ({ metadata: { annotations = {} } }: Secret) =>
  (Date.parse(annotations['dcred.dev/expires-at'] ?? '') - Date.parse(annotations['dcred.dev/issued-at'] ?? '')) / 1000;

/** Requests for Secrets of that namespace in the API server's audit log. */
async function readsOfSecrets(namespace: string): Promise<number> {
  const events = await cluster.plane.auditLog();
  return events.filter(({ objectRef: ref }) => ref?.resource === 'secrets' && ref.namespace === namespace).length;
}

describe('a certificate of another namespace', () => {
  test('is used by its grant, for the smaller lifetime, and its key stays where it is', async () => {
    const owner = await vault();
    const namespace = await consumer(owner, { pods: 2, lifetimeSeconds: 7200, renewBeforeSeconds: 6000 });
    await putGrant(owner, { from: [{ namespace }], maxLifetimeSeconds: 3600 });
    await cluster.untilReason(namespace, 'web', 'Issued');
    const secrets = await cluster.untilSecrets(namespace, 2);
    for (const secret of secrets) {
      assertServes(secret);
      assert.equal(lifetimeOf(secret), 3600);
      assert.ok(!('tls.key' in (secret.data ?? {})));
    }
    const resource = await cluster.resource(namespace, 'web');
    assert.equal((resource.status as { lifetimeSeconds?: number }).lifetimeSeconds, 3600);
    // Neither the pods' namespace nor the log has a line of the key.
    const keyLine = leaf.keyPem.split('\n')[1] ?? 'none';
    const everything = await kubectl('get', 'secrets,events,dcred,pods', '-n', namespace, '-o', 'json');
    const decoded = secrets
      .flatMap(({ data = {} }) => Object.values(data))
      .map((text) => Buffer.from(text, 'base64').toString());
    assert.ok(![everything, operator.log, ...decoded].some((text) => text.includes(keyLine)));
    await eventually('the status of the grant', async () => {
      const status = JSON.parse(await kubectl('get', 'dcgrant', 'web', '-n', owner, '-o', 'jsonpath={.status}'));
      const [condition] = status.conditions;
      const isRight = status.pods === 2 && status.users?.[0]?.namespace === namespace && status.users[0].pods === 2;
      return isRight && condition.type === 'Accepted' && condition.status === 'True' ? true : undefined;
    });
  });

  const DENIED: Readonly<Record<string, (owner: string, namespace: string) => Promise<void>>> = {
    'no grant': async () => {},
    'a grant that the consumer wrote in its own namespace': async (_owner, namespace) =>
      putGrant(namespace, { from: [{ namespace }] }),
    'a grant of another Secret': async (owner, namespace) =>
      putGrant(owner, { from: [{ namespace }], certificateRef: { name: 'api-tls' } }),
    'a grant to another namespace': async (owner) => putGrant(owner, { from: [{ namespace: 'another' }] }),
    'a grant to namespaces with other labels': async (owner) =>
      putGrant(owner, { from: [{ namespaceSelector: { matchLabels: { tier: 'edge' } } }] }),
    'a grant for another usage': async (owner, namespace) =>
      putGrant(owner, { from: [{ namespace }], usages: ['Client'] }),
    'a grant to another cluster': async (owner) => putGrant(owner, { from: [{ cluster: 'eu-west' }] }),
    'a grant to a namespace of that name with another uid': async (owner, namespace) =>
      putGrant(owner, { from: [{ namespace, uid: 'another' }] }),
  };

  test('is neither used nor read with anything less than a grant, and the message does not say why', async (t) => {
    const messages = new Set<string>();
    for (const [what, grant] of Object.entries(DENIED)) {
      await t.test(`with ${what}`, async () => {
        const owner = await vault();
        const namespace = await cluster.namespace();
        await grant(owner, namespace);
        await use(namespace, owner);
        await cluster.createPod(namespace, 'web-a');
        const { message } = await cluster.untilReason(namespace, 'web', 'CertificateNotPermitted');
        messages.add(message.replaceAll(owner, 'OWNER').replaceAll(namespace, 'CONSUMER'));
        assert.equal((await cluster.secrets(namespace)).length, 0);
        assert.equal(await readsOfSecrets(owner), 0, 'nothing was read of the namespace of the certificate');
      });
    }
    await t.test('and also where there is no such Secret, with a grant or without', async () => {
      const empty = await cluster.namespace();
      const namespace = await consumer(empty);
      const before = await cluster.untilReason(namespace, 'web', 'CertificateNotPermitted');
      await putGrant(empty, { from: [{ namespace }] });
      await eventually('the owner to be told', async () => {
        const conditions = await kubectl(
          'get',
          'dcgrant',
          'web',
          '-n',
          empty,
          '-o',
          'jsonpath={.status.conditions[*].reason}',
        );
        return conditions.includes('CertificateNotFound') ? true : undefined;
      });
      const after_ = await cluster.untilReason(namespace, 'web', 'CertificateNotPermitted');
      assert.equal(after_.message, before.message);
      messages.add(after_.message.replaceAll(empty, 'OWNER').replaceAll(namespace, 'CONSUMER'));
    });
    assert.equal(messages.size, 1, [...messages].join('\n'));
  });
});

describe('a withdrawn grant', () => {
  test('stops every re-issue at once, and leaves what was issued', async () => {
    const owner = await vault();
    const namespace = await consumer(owner, { pods: 3 });
    await putGrant(owner, { from: [{ namespace }] });
    await cluster.untilReason(namespace, 'web', 'Issued');
    const before = await cluster.untilSecrets(namespace, 3);
    await kubectl('delete', 'dcgrant', 'web', '-n', owner);
    await cluster.untilReason(namespace, 'web', 'CertificateNotPermitted');
    await kubectl(
      'annotate',
      'dcred',
      'web',
      '-n',
      namespace,
      `dcred.dev/renew-requested-at=${new Date().toISOString()}`,
    );
    await cluster.createPod(namespace, 'web-late');
    // Once another resource that was enqueued later is served, this one's keys were taken as well.
    const other = await consumer(owner);
    await putGrant(owner, { from: [{ namespace: other }] });
    await cluster.untilReason(other, 'web', 'Issued');
    const still = await cluster.secrets(namespace);
    const versions = (all: readonly Secret[]) => new Set(all.map(({ metadata }) => metadata.resourceVersion));
    assert.deepEqual(versions(still), versions(before));
  });

  test('deletes what was issued where it says so, even when it is withdrawn while no operator runs', async () => {
    const owner = await vault();
    const namespace = await consumer(owner, { pods: 2 });
    const kept = await consumer(owner, { pods: 1 });
    await putGrant(owner, { from: [{ namespace }], onWithdraw: 'Delete' });
    await putGrant(owner, { from: [{ namespace: kept }] }, 'kept');
    await cluster.untilPods(namespace, 'web', { selected: 2, issued: 2, failed: 0 });
    await cluster.untilPods(kept, 'web', { selected: 1, issued: 1, failed: 0 });
    await operator.stop();
    await kubectl('delete', 'dcgrant', '--all', '-n', owner);
    operator = await startOperator({ kubeconfig: cluster.operatorKubeconfig });
    await cluster.untilSecrets(namespace, 0);
    await cluster.untilReason(kept, 'web', 'CertificateNotPermitted');
    assert.equal((await cluster.secrets(kept)).length, 1);
    assert.equal(await operator.reached('dcred_secrets_deleted_total{reason="GrantWithdrawn"}', 2), 2);
  });

  test('that is changed to Keep before it is withdrawn deletes nothing', async () => {
    const owner = await vault();
    const namespace = await consumer(owner);
    await putGrant(owner, { from: [{ namespace }], onWithdraw: 'Delete' });
    const marked = async (mark: string | undefined) =>
      eventually(`the Secret to be marked ${mark}`, async () => {
        const [secret] = await cluster.secrets(namespace);
        return secret !== undefined && secret.metadata.annotations?.['dcred.dev/on-withdraw'] === mark
          ? secret
          : undefined;
      });
    const before = await marked('Delete');
    await putGrant(owner, { from: [{ namespace }], onWithdraw: 'Keep' });
    const secret = await marked(undefined);
    assert.deepEqual(secret.data, before.data, 'the credential is the same');
  });
});

test('a namespace that gets and loses the label of a selector gets and loses the use', async () => {
  const owner = await vault();
  const namespace = await consumer(owner);
  await putGrant(owner, { from: [{ namespaceSelector: { matchLabels: { tier: 'edge' } } }], onWithdraw: 'Delete' });
  await cluster.untilReason(namespace, 'web', 'CertificateNotPermitted');
  await kubectl('label', 'namespace', namespace, 'tier=edge');
  await cluster.untilReason(namespace, 'web', 'Issued');
  await kubectl('label', 'namespace', namespace, 'tier-');
  await cluster.untilReason(namespace, 'web', 'CertificateNotPermitted');
  await cluster.untilSecrets(namespace, 0);
});

test('a namespace that is deleted and created again starts with nothing of what its predecessor had', async () => {
  const owner = await vault();
  const namespace = await consumer(owner, { pods: 2 });
  const uid = await kubectl('get', 'namespace', namespace, '-o', 'jsonpath={.metadata.uid}');
  await kubectl('label', 'namespace', namespace, 'tier=edge');
  await putGrant(owner, { from: [{ namespaceSelector: { matchLabels: { tier: 'edge' } } }] }, 'by-label');
  await putGrant(owner, { from: [{ namespace, uid }], maxPods: 2 }, 'by-uid');
  await cluster.untilReason(namespace, 'web', 'Issued');
  await kubectl('delete', 'pods', '--all', '-n', namespace, '--grace-period=0', '--force');
  await kubectl('delete', 'namespace', namespace, '--timeout=4m');
  await cluster.namespace(namespace);
  // Neither its labels nor its uid match the grants.
  await use(namespace, owner);
  await cluster.createPods(namespace, 2);
  await cluster.untilReason(namespace, 'web', 'CertificateNotPermitted');
  assert.equal((await cluster.secrets(namespace)).length, 0);
  // A grant by name alone covers it, and its predecessor's pods do not count.
  await putGrant(owner, { from: [{ namespace }], maxPods: 2 }, 'by-name');
  await cluster.untilReason(namespace, 'web', 'Issued');
  await cluster.untilSecrets(namespace, 2);
});

test('no more pods than maxPods get a credential, and another one does when one is gone', async () => {
  const owner = await vault();
  const namespace = await cluster.namespace();
  await putGrant(owner, { from: [{ namespace }], maxPods: 3 });
  await use(namespace, owner);
  await cluster.createPods(namespace, 6);
  const ready = await cluster.untilReason(namespace, 'web', 'PodsFailed');
  assert.match(ready.message, /at most 3 pods of this DelegatedCredential/);
  const [first] = await cluster.untilSecrets(namespace, 3);
  await cluster.untilPods(namespace, 'web', { selected: 6, issued: 3, failed: 3 });
  await cluster.deletePod(namespace, first?.metadata.annotations?.['dcred.dev/pod-name'] ?? '');
  await eventually('another pod to be served', async () => {
    const secrets = await cluster.secrets(namespace);
    const isNew = secrets.length === 3 && !secrets.some(({ metadata }) => metadata.uid === first?.metadata.uid);
    return isNew ? true : undefined;
  });
});
