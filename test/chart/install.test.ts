import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { crdFiles, crdYaml } from '../../src/api/crd-yaml.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { CHART, NAMESPACE, type Values } from './chart.ts';
import { createRestrictedNamespaces, deploy } from './cluster.ts';

const RELEASED_FOLDER = join(CHART, '..', 'released');
const RELEASED = readdirSync(RELEASED_FOLDER).filter((name) => name.endsWith('.tgz'));

const CRD = 'delegatedcredentials.dcred.dev';
const CRD_FILE = join('files', 'crds', 'dcred.dev_delegatedcredentials.yaml');

describe('a release', () => {
  let plane: ControlPlane;
  let older: string | undefined;

  before(async () => {
    plane = await startControlPlane();
    await createRestrictedNamespaces(plane, [NAMESPACE, 'edge', 'shop']);
    older = await olderChart();
  });
  after(async () => {
    await plane?.stop();
    if (older !== undefined) await rm(older, { recursive: true, force: true });
  });
  beforeEach(async () => {
    await plane.helm(['uninstall', 'dcred', '--namespace', NAMESPACE, '--ignore-not-found']);
    await plane.deleteCrd(CRD);
  });

  const names = async (...args: readonly string[]): Promise<readonly string[]> => {
    const { stdout } = await plane.kubectl(['get', ...args, '-o', 'name']);
    return stdout.split('\n').filter((line) => line !== '');
  };
  const ours = () => names('clusterroles,clusterrolebindings', '-l', 'app.kubernetes.io/part-of=dcred');
  const shortNames = async () =>
    (await plane.kubectl(['get', 'crd', CRD, '-o', 'jsonpath={.spec.names.shortNames[*]}'])).stdout;

  test('is installed, and its notes list the next three commands', async () => {
    const notes = await deploy(plane, 'install');
    const deployments = ['deployment.apps/dcred', 'deployment.apps/dcred-webhook'];
    assert.deepEqual(await names('deployments', '-n', NAMESPACE), deployments);
    // No kubelet runs here, so nothing becomes available: that the command waits for every Deployment is what can be seen.
    const waited = / wait deployment -l (\S+) --for=condition=Available /.exec(notes)?.[1] ?? 'app=not-in-the-notes';
    assert.deepEqual(await names('deployments', '-n', NAMESPACE, '-l', waited), deployments);
    assert.match(notes, /kind: DelegatedCredential/);
    assert.match(notes, /kubectl get dcred -A -o wide/);
    assert.doesNotMatch(notes, /WARNING/);
  });

  test('shows an example that the API server accepts unchanged', async () => {
    const notes = await deploy(plane, 'install');
    await plane.untilServed(CRD);
    const example = /<<END\n(.*?)\nEND\n/s.exec(notes)?.[1] ?? '';
    await plane.kubectl(['create', '--validate=strict', '-f', '-'], { input: example });
    assert.deepEqual(await names('dcred'), ['delegatedcredential.dcred.dev/web']);
  });

  test('is uninstalled, and leaves only the CRD and the resources', async () => {
    await deploy(plane, 'install');
    await plane.untilServed(CRD);
    const resource = {
      apiVersion: 'dcred.dev/v1alpha1',
      kind: 'DelegatedCredential',
      metadata: { name: 'kept' },
      spec: { certificateRef: { name: 'web-tls' } },
    };
    await plane.kubectl(['create', '-f', '-'], { input: JSON.stringify(resource) });
    await plane.helm(['uninstall', 'dcred', '--namespace', NAMESPACE]);
    assert.deepEqual(await names('dcred'), ['delegatedcredential.dcred.dev/kept']);
    assert.deepEqual(await ours(), []);
    const left = await names(
      'all,roles,rolebindings,pdb,networkpolicies,secrets,mutatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings',
      '-A',
      '-l',
      'app.kubernetes.io/part-of=dcred',
    );
    assert.deepEqual(left, []);
  });

  test('is installed again over the CRD that an earlier release left', async () => {
    await deploy(plane, 'install');
    await plane.helm(['uninstall', 'dcred', '--namespace', NAMESPACE]);
    await deploy(plane, 'install');
    assert.equal(await shortNames(), 'dcred');
  });

  test('adopts a CRD that was applied by hand, with --take-ownership', async () => {
    await plane.kubectl(['apply', '--server-side', '-f', '-'], { input: crdYaml() });
    await assert.rejects(deploy(plane, 'install'), { message: /invalid ownership metadata/ });
    await plane.helm(['uninstall', 'dcred', '--namespace', NAMESPACE, '--ignore-not-found']);
    await plane.helm(['install', 'dcred', CHART, '--namespace', NAMESPACE, '--take-ownership']);
    assert.equal(await shortNames(), 'dcred');
  });

  test('adopts a CRD that was printed for it', async () => {
    await plane.kubectl(['apply', '--server-side', '-f', '-'], {
      input: crdYaml({ namespace: NAMESPACE, name: 'dcred' }),
    });
    await deploy(plane, 'install');
    assert.equal(await shortNames(), 'dcred');
    await deploy(plane, 'upgrade');
  });

  test('removes the CRD when crds.keep is false', async () => {
    await deploy(plane, 'install', { values: { crds: { keep: false } } });
    await plane.untilServed();
    await plane.helm(['uninstall', 'dcred', '--namespace', NAMESPACE]);
    await plane.kubectl(['wait', '--for=delete', `crd/${CRD}`, '--timeout=4m']);
  });

  test('that is upgraded upgrades its CRD', async () => {
    await deploy(plane, 'install', { chart: older ?? assert.fail('not made') });
    assert.equal(await shortNames(), 'older');
    await deploy(plane, 'upgrade');
    assert.equal(await shortNames(), 'dcred');
  });

  for (const name of RELEASED) {
    test(`of ${name} is upgraded, with everything in use`, async () => {
      await deploy(plane, 'install', { chart: join(RELEASED_FOLDER, name) });
      await plane.untilServed(CRD);
      const spec = { certificateRef: { name: 'web-tls' }, lifetimeSeconds: 3600 };
      const resource = {
        apiVersion: 'dcred.dev/v1alpha1',
        kind: 'DelegatedCredential',
        metadata: { name: 'web' },
        spec,
      };
      await plane.kubectl(['create', '-f', '-'], { input: JSON.stringify(resource) });
      await deploy(plane, 'upgrade');
      await plane.untilServed(
        ...crdFiles().map(({ name: file }) => `${file.replace(/^dcred\.dev_|\.yaml$/g, '')}.dcred.dev`),
      );
      const { stdout } = await plane.kubectl(['get', 'dcred', 'web', '-o', 'jsonpath={.spec.lifetimeSeconds}']);
      assert.equal(stdout, '3600');
      assert.deepEqual(await names('deployments', '-n', NAMESPACE), [
        'deployment.apps/dcred',
        'deployment.apps/dcred-webhook',
      ]);
      // What the new chart no longer has is gone, and what it has is as in a new release.
      const upgraded = await ours();
      await plane.helm(['uninstall', 'dcred', '--namespace', NAMESPACE]);
      await deploy(plane, 'install');
      assert.deepEqual(upgraded, await ours());
    });
  }

  test('that is restricted to namespaces loses its cluster-wide permissions', async () => {
    await deploy(plane, 'install');
    assert.ok((await ours()).some((name) => name.startsWith('clusterrolebinding')));
    await deploy(plane, 'upgrade', { values: { namespaces: ['edge', 'shop'], webhook: { enabled: false } } });
    assert.deepEqual(await ours(), [
      'clusterrole.rbac.authorization.k8s.io/dcred-system:dcred-admin',
      'clusterrole.rbac.authorization.k8s.io/dcred-system:dcred-cluster-view',
      'clusterrole.rbac.authorization.k8s.io/dcred-system:dcred-edit',
      'clusterrole.rbac.authorization.k8s.io/dcred-system:dcred-view',
    ]);
    assert.deepEqual(await names('roles', '-n', 'edge'), ['role.rbac.authorization.k8s.io/dcred-operator']);
  });

  test("keeps the signer's certificate, and moves its audit log to another volume", async () => {
    const certificates = [{ namespace: 'shop', names: ['web-tls'] }];
    const withVolume = (volume: Values) => ({
      values: { namespaces: ['edge'], signer: { enabled: true, certificates, auditLog: { volume } } },
    });
    const certificate = async () =>
      (await plane.kubectl(['get', 'secret', 'dcred-signer-tls', '-n', NAMESPACE, '-o', 'jsonpath={.data.tls\\.crt}']))
        .stdout;
    const strategy = async () =>
      (
        await plane.kubectl([
          'get',
          'deployment',
          'dcred-signer',
          '-n',
          NAMESPACE,
          '-o',
          'jsonpath={.spec.strategy.type}',
        ])
      ).stdout;
    await deploy(plane, 'install', withVolume({ emptyDir: {} }));
    const made = await certificate();
    assert.ok(made.length > 0);
    assert.equal(await strategy(), 'RollingUpdate');
    await deploy(plane, 'upgrade', withVolume({ persistentVolumeClaim: { claimName: 'audit' } }));
    assert.deepEqual([await strategy(), await certificate()], ['Recreate', made]);
    await deploy(plane, 'upgrade', withVolume({ emptyDir: {} }));
    assert.deepEqual([await strategy(), await certificate()], ['RollingUpdate', made]);
  });

  test('warns about replicas without leader election', async () => {
    const notes = await deploy(plane, 'install', { values: { replicas: 2, leaderElection: { enabled: false } } });
    assert.match(notes, /WARNING: 2 replicas without leader election/);
  });
});

/** The chart as an earlier version: its CRD has a different short name. */
async function olderChart(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'dcred-chart-'));
  await cp(CHART, folder, { recursive: true });
  const crd = await readFile(join(folder, CRD_FILE), 'utf8');
  const changed = crd.replace('- dcred\n    categories', '- older\n    categories');
  assert.notEqual(changed, crd);
  await writeFile(join(folder, CRD_FILE), changed);
  return folder;
}
