import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { contextNames, loadConnection } from '../../../src/kubernetes/connection/load-connection.ts';
import { createTestAuthority } from '../../../testing/support/certificates.ts';

let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dcred-test-'));
  await mkdir(join(folder, '.kube'));
  await writeFile(join(folder, '.kube', 'config'), kubeconfig('everyday'));
});
after(() => rm(folder, { recursive: true, force: true }));

function kubeconfig(name: string, { context = {}, cluster = {} }: { context?: object; cluster?: object } = {}): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': name,
    contexts: [{ name, context: { cluster: name, user: name, ...context } }],
    clusters: [{ name, cluster: { server: `https://${name}.invalid`, ...cluster } }],
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
    for (const name of ['token', 'namespace']) await writeFile(join(folder, name), name);
    await writeFile(join(folder, 'ca.crt'), (await createTestAuthority()).certificatePem);
    const env = { HOME: folder, KUBECONFIG, KUBERNETES_SERVICE_HOST: '192.0.2.1' };
    const { server } = await loadConnection({ env, serviceAccountFolder: folder });
    assert.equal(server, 'https://192.0.2.1:443');

    for (const [host, port] of [
      ['a b', '443'],
      ['::1', 'x'],
      ['192.0.2.1', '99999'],
      ['192.0.2.1', '443/x'],
      ['me@host', '443'],
    ] as const) {
      const odd = { ...env, KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port };
      await assert.rejects(loadConnection({ env: odd, serviceAccountFolder: folder }), {
        code: 'ConnectionError',
        message: `expected a host and a port in KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, found "${host}" and "${port}"`,
      });
    }

    await writeFile(join(folder, 'token'), 'SECRET\nx: y');
    await assert.rejects(loadConnection({ env, serviceAccountFolder: folder }), {
      code: 'ConnectionError',
      message: /^expected a token of one line in .*token, found characters that no HTTP header can carry$/,
    });
    await writeFile(join(folder, 'token'), 'token');

    await writeFile(join(folder, 'ca.crt'), '');
    await assert.rejects(loadConnection({ env, serviceAccountFolder: folder }), {
      code: 'ConnectionError',
      message: /^expected the certificates of authorities, in PEM, in .*ca\.crt$/,
    });
  });
});

test('without a KUBECONFIG, or with an empty one, ~/.kube/config counts', async () => {
  for (const KUBECONFIG of [undefined, '', ':']) {
    const env = { HOME: folder, KUBECONFIG };
    assert.equal((await loadConnection({ env })).server, 'https://everyday.invalid');
    assert.deepEqual(await contextNames({ env }), ['everyday']);
  }
});

test('a context without a namespace, or with an empty one, means "default"', async () => {
  const file = join(folder, 'context');
  for (const context of [{}, { namespace: '' }, { namespace: null }]) {
    await writeFile(file, kubeconfig('everyday', { context }));
    assert.equal((await loadConnection({ kubeconfig: file, env: {} })).defaultNamespace, 'default');
  }
});

test('what cannot be a namespace or a proxy is reported with the file, before any call', async () => {
  const file = join(folder, 'odd');
  const odd: readonly (readonly [Parameters<typeof kubeconfig>[1], RegExp])[] = [
    ...['a/b', '..', 'Edge', 'a\nb', 'a'.repeat(64), 5].map(
      (namespace) => [{ context: { namespace } }, /odd: expected a namespace in context everyday, found /] as const,
    ),
    [{ cluster: { 'proxy-url': 'me:secret@//x' } }, /cluster everyday is behind the proxy-url \(no URL\), which/],
    [{ cluster: { 'proxy-url': 'http://me:secret@proxy.invalid:3128' } }, /the proxy-url proxy\.invalid:3128, which/],
  ];
  for (const [change, message] of odd) {
    await writeFile(file, kubeconfig('everyday', change));
    await assert.rejects(loadConnection({ kubeconfig: file, env: {} }), { code: 'ConnectionError', message });
  }
});
