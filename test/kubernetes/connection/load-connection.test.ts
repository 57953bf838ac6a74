import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { contextNames, loadConnection } from '../../../src/kubernetes/connection/load-connection.ts';

let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dcred-test-'));
  await mkdir(join(folder, '.kube'));
  await writeFile(join(folder, '.kube', 'config'), kubeconfig('everyday'));
});
after(() => rm(folder, { recursive: true, force: true }));

function kubeconfig(name: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': name,
    contexts: [{ name, context: { cluster: name, user: name } }],
    clusters: [{ name, cluster: { server: `https://${name}.invalid` } }],
    users: [{ name, user: { token: 'token' } }],
  });
}

describe('a KUBECONFIG whose files are all missing', () => {
  const KUBECONFIG = '/absent/staging:/absent/other';

  test('never leads to the cluster of ~/.kube/config, and is named', async () => {
    const env = { HOME: folder, KUBECONFIG };
    await assert.rejects(loadConnection({ env }), { code: 'ConnectionError', message: /\/absent\/staging/ });
    await assert.rejects(contextNames({ env }), { code: 'ConnectionError', message: /\/absent\/staging/ });
  });

  test('leads to the cluster of a pod in a pod, as with kubectl', async () => {
    for (const name of ['token', 'ca.crt', 'namespace']) await writeFile(join(folder, name), name);
    const env = { HOME: folder, KUBECONFIG, KUBERNETES_SERVICE_HOST: '192.0.2.1' };
    const { server } = await loadConnection({ env, serviceAccountFolder: folder });
    assert.equal(server, 'https://192.0.2.1:443');
  });
});

test('without a KUBECONFIG, or with an empty one, ~/.kube/config counts', async () => {
  for (const KUBECONFIG of [undefined, '', ':']) {
    const env = { HOME: folder, KUBECONFIG };
    assert.equal((await loadConnection({ env })).server, 'https://everyday.invalid');
    assert.deepEqual(await contextNames({ env }), ['everyday']);
  }
});
