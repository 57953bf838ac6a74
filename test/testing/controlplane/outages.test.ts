import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ControlPlane, startControlPlane } from '../../../testing/controlplane/control-plane.ts';
import { eventually } from '../../../testing/support/processes.ts';

const READER = { namespace: 'default', name: 'reader' };
const MEBIBYTE = 1024 * 1024;

function configMap(name: string): object {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } };
}

async function put(plane: ControlPlane, name: string): Promise<string> {
  await plane.kubectl(['apply', '-f', '-'], { input: JSON.stringify(configMap(name)) });
  const { stdout } = await plane.kubectl(['get', 'configmap', name, '-o', 'jsonpath={.metadata.resourceVersion}']);
  return stdout;
}

async function names(plane: ControlPlane): Promise<string> {
  return (await plane.kubectl(['get', 'configmaps', '-o', 'jsonpath={.items[*].metadata.name}'])).stdout;
}

describe('a control plane with a small etcd and an audit log', () => {
  let plane: ControlPlane;

  before(async () => {
    const secrets = [{ resources: ['secrets'] }];
    plane = await startControlPlane({
      etcdQuotaBytes: 24 * MEBIBYTE,
      audit: [
        { level: 'None', userGroups: ['system:masters'] },
        { level: 'Metadata', resources: secrets },
        { level: 'None' },
      ],
    });
    await plane.kubectl(['create', 'serviceaccount', READER.name]);
    await plane.kubectl(['create', 'role', 'reader', '--verb=get,list', '--resource=configmaps']);
    await plane.kubectl(['create', 'rolebinding', 'reader', '--role=reader', '--serviceaccount=default:reader']);
    await plane.untilMay(true, 'system:serviceaccount:default:reader', 'list', 'configmaps');
  });
  after(() => plane?.stop());

  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    test(`keeps its data when etcd is ended by ${signal} and started again`, async () => {
      const name = `kept-${signal.toLowerCase()}`;
      await put(plane, name);
      await plane.stopEtcd({ signal });
      assert.equal(plane.pids.etcd, undefined);
      assert.ok(plane.pids['kube-apiserver'] !== undefined, 'the API server is still there');
      await plane.startEtcd();
      await plane.untilReady();
      assert.match(await names(plane), new RegExp(name));
    });
  }

  test('loses what was written after a snapshot that is restored, and goes back in its resource versions', async () => {
    await put(plane, 'before');
    const snapshot = await plane.saveSnapshot();
    // More writes than the API server itself makes when it starts.
    const items = Array.from({ length: 300 }, (_, number) => configMap(`lost-${number}`));
    await plane.kubectl(['create', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) });
    const lost = Number(await put(plane, 'lost'));
    await plane.restoreSnapshot(snapshot);
    assert.match(await names(plane), /\bbefore\b/);
    assert.doesNotMatch(await names(plane), /\blost\b/);
    assert.ok(Number(await put(plane, 'after')) <= lost, 'a resource version is given out a second time');
  });

  test('goes forward in its resource versions where the snapshot is restored with a revision bump', async () => {
    const snapshot = await plane.saveSnapshot();
    const last = Number(await put(plane, 'newest'));
    await plane.restoreSnapshot(snapshot, { bumpRevision: 1_000_000 });
    assert.ok(Number(await put(plane, 'newer')) > last);
  });

  test('refuses every write while etcd is full, and accepts them again when it is freed', async () => {
    await plane.fillEtcd();
    await assert.rejects(put(plane, 'too-much'), { message: /database space exceeded/ });
    assert.match(await names(plane), /\bbefore\b/, 'reads go on');
    await plane.freeEtcd();
    await put(plane, 'enough');
  });

  test('logs the requests that the audit rules name, and no others', async () => {
    const kubeconfig = await plane.kubeconfigFor({ serviceAccount: READER });
    await plane.kubectl(['get', 'configmaps'], { kubeconfig });
    await assert.rejects(plane.kubectl(['get', 'secrets'], { kubeconfig }), { message: /Forbidden/ });
    // A line is written once the request is answered, perhaps a little later.
    const logged = await eventually('the refused request in the log', async () => {
      const lines = (await plane.auditLog()).filter(({ user }) => user.username.startsWith('system:serviceaccount'));
      return lines.length > 0 ? lines : undefined;
    });
    assert.deepEqual(
      logged.map(({ verb, objectRef, responseStatus }) => [verb, objectRef?.resource, responseStatus?.code]),
      [['list', 'secrets', 403]],
    );
  });

  test('refuses a token that has expired, and accepts the one that replaces it', async () => {
    const expired = await plane.kubeconfigFor({ serviceAccount: READER }, { inFiles: true, lifetimeSeconds: -60 });
    await assert.rejects(plane.kubectl(['get', 'configmaps'], { kubeconfig: expired }), {
      message: /provide credentials|Unauthorized/,
    });
    await plane.renewToken(expired, READER);
    await plane.kubectl(['get', 'configmaps'], { kubeconfig: expired });
  });

  test('takes other flags when the API server is started again', async () => {
    await plane.stopApiServer();
    await plane.startApiServer({ extraArgs: ['--disable-admission-plugins=ServiceAccount', '--anonymous-auth=false'] });
    const { status } = await fetchStatus(plane);
    assert.equal(status, 401, 'without anonymous requests even /version is refused');
    await plane.stopApiServer();
    await plane.startApiServer({ extraArgs: [] });
    assert.equal((await fetchStatus(plane)).status, 200);
  });

  test('changes its CA: clients that read the file again go on, the others fail', async () => {
    const identity = { serviceAccount: READER };
    const [embedded, inFiles] = [
      await plane.kubeconfigFor(identity),
      await plane.kubeconfigFor(identity, { inFiles: true }),
    ];
    const old = plane.certificateAuthority;
    await plane.rotateAuthority({ announce: false });
    assert.notEqual(plane.certificateAuthority, old);
    for (const kubeconfig of [embedded, inFiles]) {
      await assert.rejects(plane.kubectl(['get', 'configmaps'], { kubeconfig }), { message: /x509|certificate/ });
    }
    await plane.publishAuthority();
    await plane.kubectl(['get', 'configmaps'], { kubeconfig: inFiles });
    await plane.kubectl(['get', 'configmaps'], { kubeconfig: await plane.kubeconfigFor(identity) });
    await assert.rejects(plane.kubectl(['get', 'configmaps'], { kubeconfig: embedded }));
  });
});

test('controllers work on after the CA has changed and a snapshot was restored', async () => {
  await using plane = await startControlPlane({ controllerManager: true, scheduler: true });
  const snapshot = await plane.saveSnapshot();
  await plane.rotateAuthority();
  await plane.restoreSnapshot(snapshot);
  await plane.kubectl(['create', 'namespace', 'later']);
  await eventually('the namespace to get its service account', () =>
    plane.kubectl(['get', 'serviceaccount', 'default', '--namespace=later']).then(
      () => true,
      () => undefined,
    ),
  );
});

async function fetchStatus(plane: ControlPlane): Promise<{ readonly status: number }> {
  const { request } = await import('node:https');
  return await new Promise((resolve, reject) => {
    const call = request(`${plane.url}/version`, { ca: plane.certificateAuthority }, (response) => {
      response.resume();
      resolve({ status: response.statusCode ?? 0 });
    });
    call.once('error', reject);
    call.end();
  });
}
