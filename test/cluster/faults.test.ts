import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Cluster, startCluster } from '../../testing/cluster/cluster.ts';
import { startOperator } from '../../testing/cluster/operator-process.ts';
import { createTestAuthority, type TestAuthority } from '../../testing/support/certificates.ts';
import { eventually } from '../../testing/support/processes.ts';
import { sha256Of } from './issued.ts';
import { servedNamespace } from './scenario.ts';
import { assertServes } from './verification.ts';

let cluster: Cluster;
let authority: TestAuthority;

before(async () => {
  cluster = await startCluster({ controllerManager: true });
  authority = await createTestAuthority();
});

after(() => cluster?.[Symbol.asyncDispose]());

const operatorWith = (...args: string[]) =>
  startOperator({ kubeconfig: cluster.operatorKubeconfig, ...(args.length === 0 ? {} : { args }) });

test('kill -9 and restart: nothing that is not due is re-issued', async () => {
  const namespace = await servedNamespace({ authority, cluster });
  const first = await operatorWith();
  await cluster.createPods(namespace, 30);
  const issued = await cluster.untilSecrets(namespace, 30);
  await first.kill();
  await using second = await operatorWith();
  await cluster.createPod(namespace, 'after-the-restart');
  await cluster.untilSecrets(namespace, 31);
  assert.equal(await second.reachedIssued(1), 1);
  const now = await cluster.secrets(namespace);
  for (const { metadata } of issued) {
    const same = now.find((secret) => secret.metadata.name === metadata.name);
    assert.equal(same?.metadata.resourceVersion, metadata.resourceVersion);
  }
  await cluster.untilPods(namespace, 'web', { selected: 31, issued: 31, failed: 0 });
  assert.equal(await second.issued(), 1);
});

test('two operators without a lease waste work and break nothing', async () => {
  const namespace = await servedNamespace({ authority, cluster });
  await using one = await operatorWith();
  await using two = await operatorWith();
  await cluster.createPods(namespace, 40);
  await cluster.untilSecrets(namespace, 40);
  await cluster.untilReason(namespace, 'web', 'Issued');
  await cluster.patchResource(namespace, 'web', { keyAlgorithm: 'ECDSAP384' });
  const leaf = await authority.issue();
  await cluster.putCertificate(namespace, 'web-tls', leaf);
  const secrets = await eventually('all to be of the new leaf and the new algorithm', async () => {
    const { status } = await cluster.resource(namespace, 'web');
    const all = await cluster.secrets(namespace);
    const current = all.every(
      ({ metadata }) =>
        metadata.annotations?.['dcred.dev/key-algorithm'] === 'ECDSAP384' &&
        metadata.annotations['dcred.dev/certificate-sha256'] === sha256Of(leaf),
    );
    return current && all.length === 40 && status?.pods?.issued === 40 ? all : undefined;
  });
  for (const secret of secrets) assertServes(secret);
  // They settle: neither reverts what the other wrote.
  const versions = secrets.map(({ metadata }) => metadata.resourceVersion);
  await cluster.createPod(namespace, 'web-last');
  await cluster.untilSecrets(namespace, 41);
  const again = (await cluster.secrets(namespace)).filter(({ metadata }) => metadata.name !== 'web-web-last');
  assert.deepEqual(
    again.map(({ metadata }) => metadata.resourceVersion),
    versions,
  );
  assert.equal((await one.issued()) + (await two.issued()) >= 41, true);
});

test('one operator leads; when it exits, the other takes over and re-issues nothing', async () => {
  const namespace = await servedNamespace({ authority, cluster });
  const args = ['--leader-elect=true'];
  const env = { POD_NAMESPACE: 'dcred-system' };
  const kubeconfig = cluster.operatorKubeconfig;
  const leader = await startOperator({ kubeconfig, args, env });
  await leader.until('leading');
  await using standby = await startOperator({ kubeconfig, args, env });
  await cluster.createPods(namespace, 5);
  await cluster.untilSecrets(namespace, 5);
  assert.equal(await standby.metric('leader_election_master_status{name="dcred-operator"}'), 0);
  assert.equal(await standby.health('/readyz'), 200, 'a standby is ready: its caches are warm');
  assert.equal(await leader.stop(), 0);
  await standby.until('leading');
  await cluster.createPod(namespace, 'web-last');
  await cluster.untilSecrets(namespace, 6);
  assert.equal(await standby.reachedIssued(1), 1);
});

test('two installations in one namespace, each with a Lease of its own: both lead', async () => {
  const install = async (leaseName: string) => {
    const namespace = await servedNamespace({ authority, cluster });
    const args = ['--leader-elect=true', `--leader-elect-resource-name=${leaseName}`, '-n', namespace];
    // The chart permits an account the Lease of its own release; these two are of no release.
    const kubeconfig = cluster.plane.kubeconfig;
    return { namespace, operator: await startOperator({ kubeconfig, args, env: { POD_NAMESPACE: 'dcred-system' } }) };
  };
  const edge = await install('dcred-operator-edge');
  await using first = edge.operator;
  await first.until('leading');
  const shop = await install('dcred-operator-shop');
  await using second = shop.operator;
  await second.until('leading');
  for (const { namespace } of [edge, shop]) {
    await cluster.createPod(namespace, 'web-0');
    await cluster.untilSecrets(namespace, 1);
  }
  assert.equal(await first.metric('leader_election_master_status{name="dcred-operator-edge"}'), 1);
  assert.equal(await second.metric('leader_election_master_status{name="dcred-operator-shop"}'), 1);
});

test('an API server that goes away and comes back: the operator catches up', async () => {
  const namespace = await servedNamespace({ authority, cluster });
  await using operator = await operatorWith();
  await cluster.createPods(namespace, 3);
  await cluster.untilSecrets(namespace, 3);
  // A Secret can be seen before its writer has the answer, and that answer must not be lost here.
  await eventually('three answers', async () => (await operator.issued()) === 3 || undefined);
  await cluster.plane.stopApiServer({ signal: 'SIGKILL' });
  await cluster.plane.startApiServer();
  await cluster.createPod(namespace, 'web-late');
  await cluster.untilSecrets(namespace, 4);
  await cluster.untilPods(namespace, 'web', { selected: 4, issued: 4, failed: 0 });
  assert.equal(await operator.reachedIssued(4), 4);
});

test('an operator for a list of namespaces leaves the others alone', async () => {
  const served = await servedNamespace({ authority, cluster });
  const other = await servedNamespace({ authority, cluster });
  await using operator = await operatorWith('--leader-elect=false', '-n', served);
  await cluster.createPods(other, 1);
  await cluster.createPods(served, 1);
  await cluster.untilSecrets(served, 1);
  await cluster.untilReason(served, 'web', 'Issued');
  assert.equal((await cluster.secrets(other)).length, 0);
  assert.equal(await operator.reachedIssued(1), 1);
});

test('a namespace that cannot be read is reported, and the others are served', async () => {
  const served = await servedNamespace({ authority, cluster });
  const late = await servedNamespace({ authority, cluster });
  const kubectl = (args: readonly string[]) => cluster.plane.kubectl(args);
  const account = `system:serviceaccount:${served}:narrow`;
  await kubectl(['create', 'serviceaccount', 'narrow', '-n', served]);
  const allow = (namespace: string) =>
    kubectl(['create', 'rolebinding', 'narrow', '-n', namespace, '--clusterrole=admin-of-all', `--user=${account}`]);
  await kubectl(['create', 'clusterrole', 'admin-of-all', '--verb=*', '--resource=*.*', '--resource=secrets']);
  await allow(served);
  const kubeconfig = await cluster.plane.kubeconfigFor({ serviceAccount: { namespace: served, name: 'narrow' } });
  const args = ['--leader-elect=false', '-n', late, '-n', served];
  await using operator = await startOperator({ kubeconfig, args });
  await cluster.createPods(served, 1);
  await cluster.untilSecrets(served, 1);
  await cluster.untilReason(served, 'web', 'Issued');
  await operator.until('namespace cannot be read: its pods are not served');
  assert.equal(await operator.reached(`dcred_namespace_unreadable{resource="pods",namespace="${late}"}`, 1), 1);
  assert.equal(await operator.health('/readyz'), 503);
  const told = operator.entries.filter(({ msg }) => msg === 'namespace cannot be read: its pods are not served');
  assert.deepEqual([...new Set(told.map(({ namespace }) => namespace))], [late]);

  await cluster.createPods(late, 1);
  await allow(late);
  await cluster.untilSecrets(late, 1);
  await eventually('it to be ready', async () => ((await operator.health('/readyz')) === 200 ? true : undefined));
});

test('SIGTERM makes the operator finish its work and exit with status 0', async () => {
  const namespace = await servedNamespace({ authority, cluster });
  const operator = await operatorWith();
  await cluster.createPods(namespace, 30);
  assert.equal(await operator.stop(), 0);
  for (const secret of await cluster.secrets(namespace)) assertServes(secret);
  assert.match(operator.log, /"msg":"draining"/);
});
