import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ensureBinaries } from '../../../testing/controlplane/binaries.ts';
import { type ControlPlane, startControlPlane } from '../../../testing/controlplane/control-plane.ts';
import { ControlPlaneError } from '../../../testing/controlplane/options.ts';
import { eventually, firstLine, isAlive, processGone } from '../../../testing/support/processes.ts';

/** Kinds of pods that need no node: nothing here runs them. */
const POD = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web' },
  spec: { containers: [{ name: 'web', image: 'example.test/web' }] },
};

function configMap(name: string, extra: object = {}): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, ...extra } });
}

async function namesOf(plane: ControlPlane, kind: string): Promise<readonly string[]> {
  const { stdout } = await plane.kubectl(['get', kind, '-o', 'name']);
  return stdout.split('\n').filter((line) => line !== '');
}

describe('a control plane', () => {
  let plane: ControlPlane;

  before(async () => {
    plane = await startControlPlane();
  });
  after(() => plane?.stop());

  test('answers kubectl', async () => {
    const { stdout } = await plane.kubectl(['version', '-o', 'json']);
    const { clientVersion, serverVersion } = JSON.parse(stdout);
    // Of one minor version; a downloaded one and a built one may differ in the patch.
    assert.equal(serverVersion.minor, clientVersion.minor);
  });

  test('passes input to kubectl', async () => {
    await plane.kubectl(['apply', '-f', '-'], { input: configMap('from-input') });
    assert.ok((await namesOf(plane, 'configmaps')).includes('configmap/from-input'));
  });

  test('accepts pods although nothing makes service accounts', async () => {
    await plane.kubectl(['create', '-f', '-'], { input: JSON.stringify(POD) });
    assert.deepEqual(await namesOf(plane, 'pods'), ['pod/web']);
  });

  test('says what kubectl said when it fails', async () => {
    await assert.rejects(plane.kubectl(['get', 'configmap', 'absent']), { message: /configmaps "absent" not found/ });
  });

  test('answers helm, whose caches stay in its folder', async () => {
    const { stdout } = await plane.helm(['env']);
    assert.match(stdout, new RegExp(`HELM_CACHE_HOME="${plane.directory}/`));
    assert.match((await plane.helm(['list'])).stdout, /NAME/);
  });

  test('authorizes a service account by its own permissions', async () => {
    await plane.kubectl(['create', 'serviceaccount', 'reader']);
    await plane.kubectl(['create', 'role', 'reader', '--verb=get,list', '--resource=configmaps']);
    await plane.kubectl(['create', 'rolebinding', 'reader', '--role=reader', '--serviceaccount=default:reader']);
    await plane.untilMay(true, 'system:serviceaccount:default:reader', 'list', 'configmaps');
    const kubeconfig = await plane.kubeconfigFor({ serviceAccount: { namespace: 'default', name: 'reader' } });
    const { stdout } = await plane.kubectl(['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}'], {
      kubeconfig,
    });
    assert.equal(stdout, 'system:serviceaccount:default:reader');
    await plane.kubectl(['get', 'configmaps'], { kubeconfig });
    await assert.rejects(plane.kubectl(['get', 'secrets'], { kubeconfig }), { message: /Forbidden/ });
  });

  test('knows a user and groups by a client certificate', async () => {
    const kubeconfig = await plane.kubeconfigFor({ user: 'system:node:n1', groups: ['system:nodes', 'web team'] });
    const { stdout } = await plane.kubectl(['auth', 'whoami', '-o', 'json'], { kubeconfig });
    const { username, groups } = JSON.parse(stdout).status.userInfo;
    assert.equal(username, 'system:node:n1');
    assert.deepEqual(groups, ['system:nodes', 'web team', 'system:authenticated']);
  });

  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    test(`keeps its data and its address when the API server is ended by ${signal} and started again`, async () => {
      const { url } = plane;
      const before = plane.pids['kube-apiserver'];
      await plane.kubectl(['apply', '-f', '-'], { input: configMap(`kept-${signal.toLowerCase()}`) });
      await plane.stopApiServer({ signal });
      assert.equal(plane.pids['kube-apiserver'], undefined);
      await assert.rejects(plane.kubectl(['get', 'configmaps']), { message: /refused/ });
      await plane.startApiServer();
      assert.equal(plane.url, url);
      assert.notEqual(plane.pids['kube-apiserver'], before);
      assert.ok((await namesOf(plane, 'configmaps')).includes(`configmap/kept-${signal.toLowerCase()}`));
    });
  }
});

test('two control planes run side by side and share nothing', async () => {
  await using one = await startControlPlane();
  await using other = await startControlPlane();
  await one.kubectl(['apply', '-f', '-'], { input: configMap('mine') });
  assert.notEqual(one.url, other.url);
  assert.ok((await namesOf(one, 'configmaps')).includes('configmap/mine'));
  assert.ok(!(await namesOf(other, 'configmaps')).includes('configmap/mine'));
});

test('with a controller manager, what a deleted object owned is collected', async () => {
  await using plane = await startControlPlane({ controllerManager: true });
  await plane.kubectl(['apply', '-f', '-'], { input: configMap('owner') });
  const { stdout: uid } = await plane.kubectl(['get', 'configmap', 'owner', '-o', 'jsonpath={.metadata.uid}']);
  const ownerReferences = [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'owner', uid }];
  await plane.kubectl(['apply', '-f', '-'], { input: configMap('owned', { ownerReferences }) });
  await plane.kubectl(['delete', 'configmap', 'owner']);
  await eventually(
    'the owned object is collected',
    async () => ((await namesOf(plane, 'configmaps')).includes('configmap/owned') ? undefined : true),
    { intervalMs: 250 },
  );
});

describe('nothing remains', () => {
  test('after stop, which may be called again', async () => {
    const plane = await startControlPlane();
    const pids = Object.values(plane.pids);
    assert.equal(pids.length, 2);
    await plane.stop();
    await plane.stop();
    assert.ok(!existsSync(plane.directory));
    await Promise.all(pids.map((pid) => processGone(pid)));
  });

  for (const signal of ['SIGKILL', 'SIGINT', 'SIGTERM'] as const) {
    test(`when the test process is ended by ${signal}`, async () => {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'crashing-test.ts')], {
        stdio: ['ignore', 'pipe', 'inherit'],
        detached: true,
      });
      const { directory, pids } = JSON.parse(await firstLine(child.stdout)) as { directory: string; pids: number[] };
      assert.ok(existsSync(directory));
      assert.ok(pids.length > 0 && pids.every(isAlive));
      // To the whole process group, like a terminal's Ctrl-C.
      process.kill(-(child.pid ?? 0), signal);
      await Promise.all(pids.map((pid) => processGone(pid)));
      await eventually('the folder is removed', async () => (existsSync(directory) ? undefined : true));
    });
  }

  test('when a component does not start; the error shows the end of its log', async () => {
    const extraArgs = { 'kube-apiserver': ['--no-such-flag'] };
    await assert.rejects(startControlPlane({ extraArgs }), (error) => {
      assert.ok(error instanceof ControlPlaneError);
      assert.match(error.message, /kube-apiserver ended while it was being started/);
      assert.match(error.message, /unknown flag: --no-such-flag/);
      return true;
    });
  });
});

test('a feature gate and an extra flag reach the API server', async () => {
  await using plane = await startControlPlane({
    featureGates: { AllAlpha: false },
    extraArgs: { 'kube-apiserver': ['--runtime-config=batch/v1=false'] },
  });
  assert.doesNotMatch((await plane.kubectl(['api-versions'])).stdout, /^batch\/v1$/m);
});

test('binaries come from KUBEBUILDER_ASSETS where it has them; the rest come from the cache', async () => {
  const built = await ensureBinaries(['etcd', 'kube-apiserver', 'kubectl', 'helm']);
  const assets = await mkdtemp(join(tmpdir(), 'dcred-assets-'));
  try {
    for (const name of ['etcd', 'kube-apiserver', 'kubectl'] as const) await symlink(built[name], join(assets, name));
    const found = await ensureBinaries(['etcd', 'kube-apiserver', 'kubectl', 'helm'], {
      env: { ...process.env, KUBEBUILDER_ASSETS: assets },
    });
    assert.deepEqual(found, {
      etcd: join(assets, 'etcd'),
      'kube-apiserver': join(assets, 'kube-apiserver'),
      kubectl: join(assets, 'kubectl'),
      helm: built.helm,
    });
  } finally {
    await rm(assets, { recursive: true });
  }
});
