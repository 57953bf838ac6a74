import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ConnectionCredentials } from '../../../src/kubernetes/connection/connection.ts';
import { ConnectionError } from '../../../src/kubernetes/connection/connection-error.ts';
import { kubeconfigConnection } from '../../../src/kubernetes/connection/kubeconfig.ts';
import { createTestAuthority } from '../../../testing/support/certificates.ts';

/** What a kubeconfig may hold, before any call is made. That what it holds works is shown in client/api-client.test.ts. */

type Json = { [field: string]: unknown };

let folder: string;
let ca: string;
let cert: string;
let key: string;

const base64 = (text: string): string => Buffer.from(text).toString('base64');

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dcred-test-'));
  const authority = await createTestAuthority();
  ca = authority.certificatePem;
  ({ certificatePem: cert, keyPem: key } = await authority.issue());
  await writeFile(join(folder, 'plug-in'), '#!/bin/sh\necho \'{"status":{"token":"printed"}}\'\n', { mode: 0o755 });
  await writeFile(join(folder, 'ca.crt'), ca);
  await writeFile(join(folder, 'token'), 'from-a-file\n');
  await writeFile(join(folder, 'empty'), '');
});
after(() => rm(folder, { recursive: true, force: true }));

function kubeconfig({ cluster = {}, user = {}, ...rest }: { cluster?: Json; user?: Json } & Json = {}): Json {
  return {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'edge',
    contexts: [{ name: 'edge', context: { cluster: 'edge', user: 'jane' } }],
    clusters: [
      {
        name: 'edge',
        cluster: { server: 'https://edge.invalid', 'certificate-authority-data': base64(ca), ...cluster },
      },
    ],
    users: [{ name: 'jane', user }],
    ...rest,
  };
}

async function credentials(content: Json | string): Promise<ConnectionCredentials> {
  const file = join(folder, 'config');
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
  return (await kubeconfigConnection([file])).credentials();
}

async function refusal(content: Json | string): Promise<string> {
  try {
    await credentials(content);
  } catch (error) {
    assert.ok(error instanceof ConnectionError, String(error));
    return error.message;
  }
  throw new assert.AssertionError({ message: 'the kubeconfig was accepted' });
}

describe('what a kubeconfig says', () => {
  test('data count before files, and a token file before a token, as for client-go', async () => {
    const cluster = { 'certificate-authority': 'empty', 'tls-server-name': 'other.test' };
    const user = {
      token: 'fixed',
      tokenFile: 'token',
      'client-certificate-data': base64(cert),
      'client-key-data': base64(key),
    };
    const { headers, tls } = await credentials(kubeconfig({ cluster, user }));
    assert.deepEqual(headers, { authorization: 'Bearer from-a-file' });
    assert.deepEqual(tls, { ca, cert, key, servername: 'other.test' });
  });

  test('paths count from the folder of the file that names them, that of a plug-in too', async () => {
    const cluster = { 'certificate-authority-data': null, 'certificate-authority': 'ca.crt' };
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: './plug-in' };
    const { headers, tls } = await credentials(kubeconfig({ cluster, user: { exec } }));
    assert.deepEqual([headers, tls], [{ authorization: 'Bearer printed' }, { ca }]);
  });

  /** What a plug-in of that kubeconfig is told, as the token that it prints. */
  async function told(cluster: Json, exec: Json): Promise<unknown> {
    const command = './telling-plug-in';
    const script =
      '#!/bin/sh\nprintf \'{"status":{"token":"%s"}}\' "$(printf %s "$KUBERNETES_EXEC_INFO" | base64 | tr -d "\\n")"\n';
    await writeFile(join(folder, command), script, { mode: 0o755 });
    const apiVersion = 'client.authentication.k8s.io/v1';
    const { headers } = await credentials(kubeconfig({ cluster, user: { exec: { apiVersion, command, ...exec } } }));
    const [, token = ''] = (headers['authorization'] ?? '').split(' ');
    return JSON.parse(Buffer.from(token, 'base64').toString());
  }
  const info = (spec: Json) => ({
    apiVersion: 'client.authentication.k8s.io/v1',
    kind: 'ExecCredential',
    spec: { ...spec, interactive: false },
  });

  test('a plug-in is told of its cluster where it wants to know it, and only there', async () => {
    const config = { audience: 'edge', scopes: ['a', null] };
    const extensions = [
      { name: 'other', extension: { x: 1 } },
      { name: 'client.authentication.k8s.io/exec', extension: config },
    ];
    const cluster = {
      server: 'https://edge.invalid/abc/',
      'certificate-authority-data': null,
      'certificate-authority': 'ca.crt',
      'tls-server-name': 'other.test',
      'disable-compression': true,
      extensions,
    };
    assert.deepEqual(await told(cluster, {}), info({}));
    assert.deepEqual(await told(cluster, { provideClusterInfo: false }), info({}));
    assert.deepEqual(
      await told(cluster, { provideClusterInfo: true }),
      info({
        cluster: {
          server: 'https://edge.invalid/abc/',
          'certificate-authority-data': base64(ca),
          'tls-server-name': 'other.test',
          'disable-compression': true,
          config,
        },
      }),
    );
    const unverified = { 'certificate-authority-data': null, 'insecure-skip-tls-verify': true };
    assert.deepEqual(
      await told(unverified, { provideClusterInfo: true }),
      info({ cluster: { server: 'https://edge.invalid', 'insecure-skip-tls-verify': true, config: null } }),
    );
  });

  test('a context without a user is anonymous, and trusts the CA of its cluster', async () => {
    const contexts = [{ name: 'edge', context: { cluster: 'edge' } }];
    assert.deepEqual(await credentials(kubeconfig({ contexts, users: null })), { headers: {}, tls: { ca } });
  });

  test('entries of other contexts that lack something, and null where something may be missing, are no hindrance', async () => {
    const { clusters, contexts, users } = kubeconfig({
      user: { token: 'x', as: null, exec: null, 'auth-provider': null },
    });
    const lacking = { name: 'other' };
    const content = kubeconfig({
      clusters: [lacking, { name: 'none', cluster: { server: null } }, ...(clusters as Json[])],
      contexts: [lacking, ...(contexts as Json[])],
      users: [lacking, ...(users as Json[])],
      preferences: null,
    });
    assert.deepEqual((await credentials(content)).headers, { authorization: 'Bearer x' });
  });
});

describe('a kubeconfig that cannot be used says what is wrong', () => {
  const certificateAuthority = (change: Json) => ({ cluster: { 'certificate-authority-data': null, ...change } });

  test('a CA that is none: nobody else is trusted in its place', async () => {
    const expected = /^expected the certificates of authorities, in PEM, in /;
    for (const data of ['garbage', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', '\n', key]) {
      const message = await refusal(kubeconfig({ cluster: { 'certificate-authority-data': base64(data) } }));
      assert.match(message, expected);
      assert.match(message, /certificate-authority-data of cluster edge$/);
    }
    assert.match(await refusal(kubeconfig(certificateAuthority({ 'certificate-authority': 'empty' }))), expected);
    const absent = certificateAuthority({ 'certificate-authority': 'absent' });
    assert.match(
      await refusal(kubeconfig(absent)),
      /a file of the kubeconfig cannot be used: .*absent does not exist$/,
    );
    const device = certificateAuthority({ 'certificate-authority': '/dev/zero' });
    assert.match(await refusal(kubeconfig(device)), /\/dev\/zero is not a regular file$/);
  });

  test('half a client certificate, or another key', async () => {
    const pair = (certificate: string, privateKey: string) =>
      kubeconfig({ user: { 'client-certificate-data': base64(certificate), 'client-key-data': base64(privateKey) } });
    const half = { 'client-certificate-data': base64(cert) };
    assert.match(
      await refusal(kubeconfig({ user: half })),
      /^user jane has a client certificate and no client key: expected/,
    );
    const { keyPem: other } = await (await createTestAuthority()).issue();
    const mismatch = /^expected the client certificate of user jane and its key, in PEM: OpenSSL: key values mismatch$/;
    assert.match(await refusal(pair(cert, other)), mismatch);
    assert.match(await refusal(pair('x', 'y')), /in PEM: OpenSSL: no start line$/);
  });

  test('a user that is not there: the call is not made without one', async () => {
    assert.match(
      await refusal(kubeconfig({ users: [] })),
      /expected a user named jane, as in context edge, in .*, found none$/,
    );
  });

  test('an impersonation that dcred cannot send', async () => {
    const user = { token: 'x', as: 'mary', 'as-groups': ['viewers'] };
    assert.match(await refusal(kubeconfig({ user })), /^user jane of .* has as-groups, which is not supported; /);
  });

  test('a password in an address, without the password', async () => {
    const message = await refusal(kubeconfig({ cluster: { server: 'http://me:SECRET@edge.invalid' } }));
    assert.match(message, /found a URL with a user in it, which is not shown$/);
  });

  test('a token that no header can carry, from a file or a plug-in', async () => {
    await writeFile(join(folder, 'lines'), 'SECRET\nx: y');
    const expected = /^expected a token of one line in the credentials of user jane, found characters/;
    assert.match(await refusal(kubeconfig({ user: { tokenFile: 'lines' } })), expected);
    const script = `#!/bin/sh\ncat <<'END'\n${JSON.stringify({ status: { token: 'SECRET\nx: y' } })}\nEND\n`;
    await writeFile(join(folder, 'plug-in-of-lines'), script, { mode: 0o755 });
    assert.match(await refusal(kubeconfig({ user: { exec: { command: './plug-in-of-lines' } } })), expected);
  });

  test('what has no end', async () => {
    await assert.rejects(
      kubeconfigConnection(['/dev/zero']),
      /^ConnectionError: \/dev\/zero is not a kubeconfig: it has more than/,
    );
  });
});

/** Each field that dcred reads, with something that is valid there. */
function complete(): Json {
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: './plug-in',
    args: ['x'],
    env: [{ name: 'A', value: 'b' }],
  };
  const content = kubeconfig({
    cluster: {
      'certificate-authority': 'ca.crt',
      'insecure-skip-tls-verify': false,
      'tls-server-name': 'other.test',
      'proxy-url': '',
    },
    user: {
      token: 'SECRET',
      tokenFile: 'token',
      username: 'jane',
      password: 'SECRET',
      as: 'mary',
      'client-certificate': 'ca.crt',
      'client-certificate-data': base64(cert),
      'client-key': 'ca.crt',
      'client-key-data': base64(key),
      exec,
    },
  });
  return {
    ...content,
    contexts: [{ name: 'edge', context: { cluster: 'edge', user: 'jane', namespace: 'shop' } }],
    users: [
      ...(content['users'] as Json[]),
      // With a token file the plug-in is not run.
      { name: 'plug-in', user: { exec } },
      { name: 'old', user: { 'auth-provider': { name: 'gcp', config: { 'access-token': 'SECRET' } } } },
    ],
  };
}

function* pathsOf(value: unknown, path: readonly string[] = []): Generator<readonly string[]> {
  yield path;
  if (typeof value !== 'object' || value === null) return;
  for (const [field, inner] of Object.entries(value)) yield* pathsOf(inner, [...path, field]);
}

function withValueAt(value: unknown, [field, ...rest]: readonly string[], other: unknown): unknown {
  if (field === undefined) return other;
  const copy: unknown = Array.isArray(value) ? [...value] : { ...(value as Json) };
  Reflect.set(copy as object, field, withValueAt(Reflect.get(value as object, field), rest, other));
  return copy;
}

/** Values of every type, with a word in them that no message may repeat where it stands for a secret. */
function oddValues(path: readonly string[]): readonly unknown[] {
  const isSecret = /token$|password|key-data|config/.test(path.at(-1) ?? '');
  const word = isSecret ? 'SECRET' : 'ODD';
  return [null, 5, true, '', `${word}\r\nx: y`, '\u001b[2J€', [], {}, [null], [word], { [word]: word }, '../../..'];
}

test('no field of a kubeconfig, whatever it is, gives another error than one of the connection, or shows a secret', async () => {
  const good = complete();
  const paths = [...pathsOf(good)];
  assert.ok(paths.length > 50, String(paths.length));
  let refused = 0;
  for (const [index, user] of ['jane', 'plug-in', 'old'].entries()) {
    const content = withValueAt(good, ['contexts', '0', 'context', 'user'], user);
    await credentials(content as Json);
    // What all users share is walked with the first.
    const own = paths.filter(([field, position]) => index === 0 || (field === 'users' && position === String(index)));
    for (const path of own) {
      for (const odd of oddValues(path)) {
        const changed = withValueAt(content, path, odd);
        const error: unknown = await credentials(JSON.stringify(changed)).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        if (error === undefined) continue;
        refused += 1;
        const stack = error instanceof Error ? error.stack : '';
        const what = `${path.join('.')}: ${JSON.stringify(odd)}: ${stack}`;
        assert.ok(error instanceof ConnectionError, what);
        assert.doesNotMatch(error.message, /argument|undefined|not a function|Cannot read|SECRET/, what);
      }
    }
  }
  assert.ok(refused > 500, String(refused));
});

test('more about a cluster than a plug-in can be told is an error that says how much', async () => {
  const exec = { command: './plug-in', provideClusterInfo: true };
  const cluster = { 'certificate-authority-data': base64(ca.repeat(Math.ceil(100_000 / ca.length))) };
  const expected = /plug-in wants provideClusterInfo: expected at most 122880 bytes about the cluster, found 1\d{5};/;
  assert.match(await refusal(kubeconfig({ cluster, user: { exec } })), expected);
});
