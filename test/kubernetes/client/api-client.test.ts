/** The client, and the ways to connect, against a real API server. */

import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { isApiError, isMissing } from '../../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import type { Connection } from '../../../src/kubernetes/connection/connection.ts';
import { runExecPlugin } from '../../../src/kubernetes/connection/exec-plugin.ts';
import { inClusterConnection } from '../../../src/kubernetes/connection/in-cluster.ts';
import { kubeconfigConnection } from '../../../src/kubernetes/connection/kubeconfig.ts';
import { loadConnection } from '../../../src/kubernetes/connection/load-connection.ts';
import type { KubernetesObject } from '../../../src/kubernetes/objects.ts';
import { LEASES, PODS, type ResourceType, SECRETS } from '../../../src/kubernetes/resource-type.ts';
import { type ControlPlane, startControlPlane } from '../../../testing/controlplane/control-plane.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';
import { eventually, isAlive } from '../../../testing/support/processes.ts';
import { clientFor, clientOver } from '../clients.ts';

type Secret = KubernetesObject<{ readonly data?: Readonly<Record<string, string>> }>;

const NAMESPACES: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'namespaces',
  kind: 'Namespace',
  namespaced: false,
};
const VALUE = Buffer.from('very secret').toString('base64');

let plane: ControlPlane;
let client: ApiClient;
let folder: string;
const signal = new AbortController().signal;

before(async () => {
  plane = await startControlPlane();
  client = await clientFor(plane.kubeconfig);
  folder = await mkdtemp(join(tmpdir(), 'engine-'));
});
after(async () => {
  await client?.close();
  await plane?.stop();
  await rm(folder, { recursive: true });
});

function secret(name: string, fields: object = {}) {
  return { metadata: { namespace: 'default', name }, data: { key: VALUE }, ...fields };
}

const refTo = (name: string) => ({ namespace: 'default', name });

describe('the verbs', () => {
  test('create, get, replace, delete; a replace over a version that is gone is a Conflict', async () => {
    const created = await client.create<Secret>(SECRETS, secret('crud'), { signal });
    assert.equal(created.data?.['key'], VALUE);
    const read = await client.get<Secret>(SECRETS, refTo('crud'), { signal });
    assert.deepEqual(read, created);
    const replaced = await client.replace<Secret>(SECRETS, { ...read, data: { key: 'bmV3' } } as Secret, { signal });
    assert.equal(replaced.data?.['key'], 'bmV3');
    await assert.rejects(client.replace(SECRETS, read, { signal }), { reason: 'Conflict', status: 409 });
    await assert.rejects(client.create(SECRETS, secret('crud'), { signal }), { reason: 'AlreadyExists' });
    await client.delete(SECRETS, refTo('crud'), { signal });
    await assert.rejects(client.get(SECRETS, refTo('crud'), { signal }), {
      reason: 'NotFound',
      details: { name: 'crud', kind: 'secrets' },
    });
  });

  test('what does not exist is missing; of a kind that is not served nothing is known', async () => {
    const unserved = { group: 'dcred.dev', version: 'v1', plural: 'widgets', kind: 'Widget', namespaced: true };
    const long = 'x'.repeat(253);
    const calls = [
      [() => client.get(SECRETS, refTo(long), { signal }), true],
      [() => client.get(unserved, refTo('web'), { signal }), false],
      [() => client.apply(unserved, { metadata: refTo('web') }, { signal, subresource: 'status' }), false],
    ] as const;
    for (const [call, expected] of calls) {
      const error = await call().catch((failure: unknown) => failure);
      assert.ok(isApiError(error, 'NotFound'));
      assert.equal(isMissing(error), expected);
    }
  });

  test('a delete of another UID, or another version, is refused', async () => {
    const { metadata } = await client.create(SECRETS, secret('guarded'), { signal });
    const wrong = { uid: '00000000-0000-0000-0000-000000000000' };
    await assert.rejects(client.delete(SECRETS, refTo('guarded'), { signal, preconditions: wrong }), {
      reason: 'Conflict',
    });
    await assert.rejects(
      client.delete(SECRETS, refTo('guarded'), { signal, preconditions: { resourceVersion: '1' } }),
      { reason: 'Conflict' },
    );
    assert.ok(metadata.uid !== undefined);
    await client.delete(SECRETS, refTo('guarded'), { signal, preconditions: { uid: metadata.uid } });
  });

  test("server-side apply owns its fields, and takes over other managers' only by force", async () => {
    const other = await clientFor(plane.kubeconfig, { fieldManager: 'other' });
    await client.apply(SECRETS, secret('applied'), { signal });
    const theirs = secret('applied', { data: { key: 'b3RoZXI=' } });
    await assert.rejects(other.apply(SECRETS, theirs, { signal }), (error) => {
      assert.ok(isApiError(error, 'Conflict'));
      assert.equal(error.details?.causes?.[0]?.field, '.data.key');
      return true;
    });
    const forced = await other.apply<Secret>(SECRETS, theirs, { signal, force: true });
    assert.equal(forced.data?.['key'], 'b3RoZXI=');
    await other.close();
  });

  test('a merge patch changes what it names, under the name of the field manager', async () => {
    await client.create(SECRETS, secret('patched'), { signal });
    const patch = { metadata: { labels: { a: 'b' } } };
    const { metadata } = await client.mergePatch(SECRETS, refTo('patched'), patch, { signal });
    assert.deepEqual(metadata.labels, { a: 'b' });
    assert.equal(metadata.managedFields?.[0]?.manager, 'engine-test');
  });

  test('a subresource is written by itself', async () => {
    const pod = {
      metadata: { namespace: 'default', name: 'web' },
      spec: { containers: [{ name: 'web', image: 'example.test/web' }] },
    };
    await client.create(PODS, pod, { signal });
    type Pod = KubernetesObject<{ readonly status: { readonly phase: string } }>;
    const patched = await client.mergePatch<Pod>(
      PODS,
      refTo('web'),
      { status: { phase: 'Running' } },
      { signal, subresource: 'status' },
    );
    assert.equal(patched.status.phase, 'Running');
    const replaced = await client.replace<Pod>(PODS, { ...patched, status: { phase: 'Failed' } } as Pod, {
      signal,
      subresource: 'status',
    });
    assert.equal(replaced.status.phase, 'Failed');
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', ...{ metadata: refTo('web') } };
    await client.create(PODS, eviction, { signal, name: 'web', subresource: 'eviction' });
  });

  test('where only metadata is requested, no answer to a read or a write has data', async () => {
    const options = { signal, metadataOnly: true };
    const created = await client.create(SECRETS, secret('bare'), options);
    const answers = [
      created,
      await client.get(SECRETS, refTo('bare'), options),
      await client.replace(SECRETS, { ...secret('bare'), metadata: created.metadata }, options),
      await client.mergePatch(SECRETS, refTo('bare'), { metadata: { labels: { a: 'b' } } }, options),
      await client.apply(SECRETS, secret('bare'), { ...options, force: true }),
      ...(await client.list(SECRETS, { namespace: 'default', metadataOnly: true }, { signal })).items,
    ];
    for (const answer of answers) {
      assert.ok(answer.metadata.name !== undefined);
      assert.ok(!('data' in answer));
    }
  });

  test('a list comes in pages, is selected by labels and fields, and names its version', async () => {
    for (const i of [1, 2, 3]) {
      await client.create(
        SECRETS,
        { ...secret(`page-${i}`), metadata: { ...refTo(`page-${i}`), labels: { page: 'yes' } } },
        { signal },
      );
    }
    const first = await client.list(SECRETS, { namespace: 'default', labelSelector: 'page=yes', limit: 2 }, { signal });
    assert.equal(first.items.length, 2);
    const token = first.metadata.continue;
    assert.ok(token !== undefined && token !== '');
    const rest = await client.list(
      SECRETS,
      { namespace: 'default', labelSelector: 'page=yes', limit: 2, continue: token },
      { signal },
    );
    assert.deepEqual(
      rest.items.map((item) => item.metadata.name),
      ['page-3'],
    );
    assert.equal(rest.metadata.resourceVersion, first.metadata.resourceVersion);
    const one = await client.list(SECRETS, { fieldSelector: 'metadata.name=page-2' }, { signal });
    assert.deepEqual(
      one.items.map((item) => item.metadata.name),
      ['page-2'],
    );
  });

  test('a nonsensical continue token, and a version that is gone, are reported as such', async () => {
    await assert.rejects(client.list(SECRETS, { continue: 'nonsense' }, { signal }), { status: 400 });
    await assert.rejects(client.list(SECRETS, { resourceVersion: 'x' }, { signal }), { reason: 'BadRequest' });
  });

  test("what the server finds wrong is reported in its words, without a Secret's values", async () => {
    const broken = secret('broken', { data: { key: { 'tls.key': `${VALUE}${VALUE.repeat(20)}` } } });
    const wrongType = { metadata: refTo('broken'), data: { 'bad key!': VALUE } };
    for (const call of [
      () => client.create(SECRETS, broken, { signal }),
      () => client.create(SECRETS, wrongType, { signal }),
      () => client.apply(SECRETS, broken, { signal }),
      () => client.mergePatch(SECRETS, refTo('patched'), { data: { key: [VALUE.repeat(20)] } }, { signal }),
    ]) {
      const error = await call().catch((caught: unknown) => caught);
      assert.ok(isApiError(error), String(error));
      assert.ok(error.status >= 400 && error.status < 600);
      assert.ok(!JSON.stringify([error.message, error.details, error.stack]).includes(VALUE), error.message);
    }
  });

  test('writes that name no object are errors of the caller, found before anything is sent', () => {
    assert.throws(() => client.create(SECRETS, { metadata: { name: 'a' } }, { signal }), TypeError);
    assert.throws(() => client.replace(SECRETS, { metadata: { namespace: 'default' } }, { signal }), TypeError);
    assert.throws(() => client.get(SECRETS, { namespace: 'default', name: '../x' }, { signal }), TypeError);
  });

  test('cluster-wide objects have no namespace', async () => {
    await client.create(NAMESPACES, { metadata: { name: 'elsewhere' } }, { signal });
    assert.equal((await client.get(NAMESPACES, { name: 'elsewhere' }, { signal })).metadata.name, 'elsewhere');
  });

  test('a watch begins with what there is, ends the list with a bookmark, and goes on', async () => {
    const stop = new AbortController();
    const selection = {
      namespace: 'default',
      fieldSelector: 'metadata.name=watched',
      sendInitialEvents: true,
      metadataOnly: true,
    };
    await client.create(SECRETS, secret('watched'), { signal });
    const seen: string[] = [];
    for await (const { type, object } of client.watch(SECRETS, selection, { signal: stop.signal })) {
      assert.ok(!('data' in object));
      seen.push(type);
      if (type === 'BOOKMARK') await client.delete(SECRETS, refTo('watched'), { signal });
      if (type === 'DELETED') break;
    }
    assert.deepEqual(seen, ['ADDED', 'BOOKMARK', 'DELETED']);
  });

  test('server-side apply takes any text, C1 controls, separators and half surrogate pairs included', async () => {
    const metadata = { namespace: 'default', name: 'any-text' };
    const awkward = [
      '\u0085\u009f',
      '\u2028\u2029',
      '\ufeff\ufffe\uffff',
      '\ud800',
      '\u007f\u0001',
      '\u{1F511}é',
      '\\u0041',
    ];
    const texts = fc.oneof(fc.constantFrom(...awkward), fc.string({ unit: 'binary', maxLength: 40 }));
    await fc.assert(
      fc.asyncProperty(texts, async (text) => {
        const object = { metadata: { ...metadata, annotations: { text } } };
        const applied = await client.apply(SECRETS, object, { signal, force: true });
        assert.equal(applied.metadata.annotations?.['text'], text.toWellFormed());
      }),
      { numRuns: 60, examples: awkward.map((text) => [text]) },
    );
  });

  test('the clock skew of a server on this machine is none', async () => {
    await client.get(SECRETS, refTo('any-text'), { signal });
    assert.equal(client.clockSkewMs, 0);
  });

  test('a watch ends by itself after the time that was asked for', async () => {
    for await (const { type } of client.watch(LEASES, { namespace: 'default', timeoutSeconds: 1 }, { signal })) {
      assert.equal(type, 'BOOKMARK');
    }
  });
});

describe('ways to connect', () => {
  interface Review {
    readonly status: { readonly userInfo: { readonly username: string } };
  }
  const REVIEWS: ResourceType = {
    group: 'authentication.k8s.io',
    version: 'v1',
    plural: 'selfsubjectreviews',
    kind: 'SelfSubjectReview',
    namespaced: false,
  };

  async function whoIs(connection: Connection): Promise<string> {
    const connected = clientOver(connection, { maxAttempts: 1 });
    try {
      const review = await connected.create<Review>(REVIEWS, { metadata: {} }, { signal });
      return review.status.userInfo.username;
    } finally {
      await connected.close();
    }
  }

  async function tokenOf(name: string): Promise<string> {
    const { stdout } = await plane.kubectl(['create', 'token', name]);
    return stdout.trim();
  }

  async function kubeconfigFile(name: string, user: object, cluster: object = {}): Promise<string> {
    const path = join(folder, name);
    const authority = Buffer.from(plane.certificateAuthority).toString('base64');
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'mine',
      clusters: [{ name: 'mine', cluster: { server: plane.url, 'certificate-authority-data': authority, ...cluster } }],
      users: [{ name: 'mine', user }],
      contexts: [{ name: 'mine', context: { cluster: 'mine', user: 'mine', namespace: 'here' } }],
    };
    await writeFile(path, JSON.stringify(config));
    return path;
  }

  before(async () => {
    for (const name of ['first', 'second']) await plane.kubectl(['create', 'serviceaccount', name]);
  });

  test('a client certificate', async () => {
    const kubeconfig = await plane.kubeconfigFor({ user: 'jane' });
    assert.equal(await whoIs(await loadConnection({ kubeconfig, env: {} })), 'jane');
  });

  test('a token, with the namespace of the context', async () => {
    const kubeconfig = await kubeconfigFile('token', { token: await tokenOf('first') });
    const connection = await loadConnection({ kubeconfig, env: {} });
    assert.equal(connection.defaultNamespace, 'here');
    assert.equal(await whoIs(connection), 'system:serviceaccount:default:first');
  });

  test('the KUBECONFIG of the environment, several files of it, and another context', async () => {
    const KUBECONFIG = `${join(folder, 'absent')}:${await kubeconfigFile('env', { token: await tokenOf('first') })}:${plane.kubeconfig}`;
    assert.equal(await whoIs(await loadConnection({ env: { KUBECONFIG } })), 'system:serviceaccount:default:first');
    const { stdout } = await plane.kubectl(['config', 'current-context']);
    assert.equal(await whoIs(await loadConnection({ env: { KUBECONFIG }, context: stdout.trim() })), 'admin');
  });

  test('a token file, read again when the server refuses what was in it', async () => {
    const tokenFile = join(folder, 'token-file');
    await writeFile(tokenFile, 'not-a-token');
    const connection = await loadConnection({ kubeconfig: await kubeconfigFile('in-file', { tokenFile }), env: {} });
    await assert.rejects(whoIs(connection), { status: 401 });
    await writeFile(tokenFile, `${await tokenOf('second')}\n`);
    assert.equal(await whoIs(connection), 'system:serviceaccount:default:second');
    await rm(tokenFile);
    const broken = await loadConnection({ kubeconfig: join(folder, 'in-file'), env: {} });
    await assert.rejects(whoIs(broken), { code: 'ConnectionError', message: /expected a token in .*token-file/ });
  });

  test('an exec plugin, run again when the server refuses what it gave', async () => {
    const plugin = join(folder, 'plugin.sh');
    const answer = join(folder, 'answer.json');
    const credential = (token: string) =>
      JSON.stringify({ apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status: { token } });
    await writeFile(plugin, `#!/bin/sh\ncat ${answer}\n`);
    await chmod(plugin, 0o755);
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: plugin, interactiveMode: 'Never' };
    const connection = await loadConnection({ kubeconfig: await kubeconfigFile('exec', { exec }), env: {} });
    await writeFile(answer, credential('not-a-token'));
    await assert.rejects(whoIs(connection), { status: 401 });
    await writeFile(answer, credential(await tokenOf('second')));
    assert.equal(await whoIs(connection), 'system:serviceaccount:default:second');
  });

  test('an exec plugin is told the same of its cluster as by kubectl', async () => {
    const [plugin, told] = [join(folder, 'asking.sh'), join(folder, 'told.json')];
    const apiVersion = 'client.authentication.k8s.io/v1';
    const answer = JSON.stringify({ apiVersion, kind: 'ExecCredential', status: { token: await tokenOf('second') } });
    await writeFile(plugin, `#!/bin/sh\nprintf %s "$KUBERNETES_EXEC_INFO" > ${told}\necho '${answer}'\n`);
    await chmod(plugin, 0o755);
    const exec = { apiVersion, command: plugin, interactiveMode: 'Never', provideClusterInfo: true };
    const extensions = [
      { name: 'client.authentication.k8s.io/exec', extension: { audience: 'edge', scopes: ['a', null, 1.5] } },
    ];
    for (const cluster of [
      {},
      { extensions },
      { server: `${plane.url}/`, 'tls-server-name': 'localhost', 'disable-compression': true },
      { 'certificate-authority-data': undefined, 'insecure-skip-tls-verify': true },
    ]) {
      const kubeconfig = await kubeconfigFile('asking', { exec }, cluster);
      await plane.kubectl(['auth', 'whoami'], { kubeconfig });
      const byKubectl = JSON.parse(await readFile(told, 'utf8')) as unknown;
      await rm(told);
      assert.equal(await whoIs(await loadConnection({ kubeconfig, env: {} })), 'system:serviceaccount:default:second');
      assert.deepEqual(JSON.parse(await readFile(told, 'utf8')), byKubectl);
    }
  });

  test('an exec plugin that hangs ends the call by its signal, and is killed', async () => {
    const plugin = join(folder, 'hanging.sh');
    const started = join(folder, 'hanging.pid');
    await writeFile(plugin, `#!/bin/sh\necho $$ > ${started}\nexec sleep 1000\n`);
    await chmod(plugin, 0o755);
    const stop = new AbortController();
    const cut = runExecPlugin({ command: plugin }, stop.signal).catch((error: unknown) => error);
    // On a busy machine the file may not exist yet.
    const pid = await eventually(
      'the plug-in runs',
      async () => Number(await readFile(started, 'utf8').catch(() => '')) || undefined,
    );
    stop.abort(new Error('enough'));
    assert.deepEqual(await cut, new Error('enough'));
    await eventually('it is gone', async () => (isAlive(pid) ? undefined : true));
  });

  test('an exec plugin that never stops printing is an error', async () => {
    await assert.rejects(runExecPlugin({ command: 'yes' }, signal), { code: 'ConnectionError' });
  });

  test('an exec plugin is run again when its token expires, and not before', async () => {
    const plugin = join(folder, 'counting.sh');
    const runs = join(folder, 'runs');
    const credential = { kind: 'ExecCredential', status: { token: 'x', expirationTimestamp: '2026-01-01T01:00:00Z' } };
    await writeFile(plugin, `#!/bin/sh\necho run >> ${runs}\necho '${JSON.stringify(credential)}'\n`);
    await chmod(plugin, 0o755);
    const clock = new FakeClock(Date.UTC(2026, 0, 1));
    const file = await kubeconfigFile('counting', { exec: { command: plugin } });
    const connection = await kubeconfigConnection([file], undefined, clock);
    const count = async () => (await readFile(runs, 'utf8')).trim().split('\n').length;
    await connection.credentials();
    clock.advance(1_800_000);
    await connection.credentials();
    assert.equal(await count(), 1);
    clock.advance(1_800_000);
    await eventually('it is run again', async () => {
      await connection.credentials();
      clock.advance(10_000);
      return (await count()) > 1 || undefined;
    });
  });

  test('an exec plugin that fails, or whose answer is garbled, is an error without the answer in it', async () => {
    const plugin = join(folder, 'garbled.sh');
    await writeFile(plugin, '#!/bin/sh\necho TOKEN-IN-CLEAR\n');
    await chmod(plugin, 0o755);
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: plugin };
    const connection = await loadConnection({ kubeconfig: await kubeconfigFile('garbled', { exec }), env: {} });
    await assert.rejects(whoIs(connection), (error: Error) => {
      assert.equal(error.name, 'ConnectionError');
      assert.doesNotMatch(`${error.stack} ${String(error.cause)}`, /TOKEN/);
      return true;
    });
  });

  test('the server name of a kubeconfig is the one that is verified', async () => {
    const token = await tokenOf('first');
    const good = await kubeconfigFile('sni', { token }, { 'tls-server-name': 'kubernetes.default.svc' });
    assert.equal(
      await whoIs(await loadConnection({ kubeconfig: good, env: {} })),
      'system:serviceaccount:default:first',
    );
    const bad = await kubeconfigFile('bad-sni', { token }, { 'tls-server-name': 'other.test' });
    await assert.rejects(whoIs(await loadConnection({ kubeconfig: bad, env: {} })), {
      reason: 'Network',
      message: /other\.test/,
    });
  });

  test('a server whose certificate is not trusted is refused', async () => {
    const kubeconfig = await kubeconfigFile('untrusted', { token: 'x' }, { 'certificate-authority-data': undefined });
    await assert.rejects(whoIs(await loadConnection({ kubeconfig, env: {} })), { reason: 'Network' });
  });

  test('a pod’s service account, whose token is replaced while it is used', async () => {
    const mount = join(folder, 'serviceaccount');
    await mkdir(mount);
    await writeFile(join(mount, 'ca.crt'), plane.certificateAuthority);
    await writeFile(join(mount, 'namespace'), 'in-pod');
    await writeFile(join(mount, 'token'), `${await tokenOf('first')}\n`);
    const { hostname, port } = new URL(plane.url);
    const env = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
    const clock = new FakeClock();
    const connection = await inClusterConnection({ env, folder: mount, clock });
    assert.equal(connection.defaultNamespace, 'in-pod');
    assert.equal(await whoIs(connection), 'system:serviceaccount:default:first');
    await writeFile(join(mount, 'token'), await tokenOf('second'));
    clock.advance(60_000);
    await eventually('the new token is read, in the background', async () => {
      return (await whoIs(connection)).endsWith(':second') || undefined;
    });
    await rm(join(mount, 'token'));
    clock.advance(60_000);
    assert.equal(
      await whoIs(connection),
      'system:serviceaccount:default:second',
      'a file that is being replaced is no reason to stop',
    );
    const found = await loadConnection({ env, serviceAccountFolder: mount }).catch((error: unknown) => error);
    assert.ok(found instanceof Error, 'without a token it is not in a pod');
  });

  test('a client certificate that was replaced is used for new calls, while a watch goes on', async () => {
    const load = async (user: string) =>
      (
        await loadConnection({ kubeconfig: await plane.kubeconfigFor({ user, groups: ['system:masters'] }), env: {} })
      ).credentials();
    const [jane, mary] = [await load('jane'), await load('mary')];
    let current = jane;
    const connected = clientOver({ server: plane.url, defaultNamespace: 'default', credentials: async () => current });
    const who = async (): Promise<string> => {
      const review = await connected.create<Review>(REVIEWS, { metadata: {} }, { signal });
      return review.status.userInfo.username;
    };
    assert.equal(await who(), 'jane');
    const selection = { namespace: 'default', fieldSelector: 'metadata.name=rotated', sendInitialEvents: true };
    for await (const { type } of connected.watch(SECRETS, selection, { signal })) {
      if (type === 'ADDED') break;
      current = mary;
      assert.equal(await who(), 'mary');
      await connected.create(SECRETS, secret('rotated'), { signal });
    }
    await connected.close();
  });

  test('credentials that stay the same keep their connections, and rejected ones are loaded once for all', async () => {
    const connection = await kubeconfigConnection([plane.kubeconfig]);
    const first = await connection.credentials();
    assert.equal(await connection.credentials(), first);
    const [a, b] = await Promise.all([connection.credentials(first), connection.credentials(first)]);
    assert.notEqual(a, first);
    assert.equal(a, b);
    assert.equal(await connection.credentials(first), a);
  });

  test('a kubeconfig that cannot be used is an error that says what is wrong and quotes nothing', async () => {
    const path = join(folder, 'broken');
    await writeFile(path, 'users:\n- name: x\n  user: {token: "SECRET\n- ]');
    const cases = [
      [path, undefined, /broken is not a valid kubeconfig: the error is at or before line \d, column \d/],
      [join(folder, 'absent'), undefined, /no kubeconfig: .*absent does not exist; name another/],
      [plane.kubeconfig, 'nowhere', /expected a context named nowhere/],
      [
        await kubeconfigFile('proxy', {}, { 'proxy-url': 'http://proxy.test:3128' }),
        undefined,
        /proxy-url proxy\.test:3128, which is not supported/,
      ],
    ] as const;
    for (const [kubeconfig, context, message] of cases) {
      await assert.rejects(loadConnection({ kubeconfig, context, env: {} }), (error: Error) => {
        assert.equal(error.name, 'ConnectionError');
        assert.match(error.message, message);
        assert.doesNotMatch(`${error.stack} ${String(error.cause)}`, /SECRET/);
        return true;
      });
    }
    assert.ok((await readFile(path, 'utf8')).includes('SECRET'));
  });
});
