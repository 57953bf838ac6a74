/**
 * Keys in the transit engine of Vault: a fake; a real Vault where it was built (DCRED_VAULT=1 builds it); and a server elsewhere with an
 * empty transit engine at `transit/`, where DCRED_VAULT_ADDR and DCRED_VAULT_TOKEN name one.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { schemeBySubjectPublicKeyInfo } from '../../src/credential/scheme.ts';
import { verifyWithNode } from '../../src/credential/signature.ts';
import type { KeyResult } from '../../src/keys/guarded-key.ts';
import { VaultClient } from '../../src/keys/hashivault/vault-client.ts';
import { readVaultSettings } from '../../src/keys/hashivault/vault-settings.ts';
import { VaultToken } from '../../src/keys/hashivault/vault-token.ts';
import type { KeyError } from '../../src/keys/key-error.ts';
import { KeyOpener } from '../../src/keys/key-opener.ts';
import { parseKeyUri } from '../../src/keys/key-uri.ts';
import { type Clock, systemClock } from '../../src/kubernetes/clock.ts';
import { FakeVault } from '../../testing/keys/fake-vault.ts';
import { FakeClock, settle } from '../../testing/support/fake-clock.ts';
import { startPatientServer } from '../../testing/support/patient-server.ts';
import { callVault, findVault, type TransitServer, type VaultServer } from '../../testing/vault/vault.ts';
import { temporaryDirectory } from '../cli/run-command.ts';

const never = new AbortController().signal;
const MESSAGE = Buffer.from('TLS, server delegated credentials');

const real: TransitServer | undefined = process.env['DCRED_VAULT_ADDR']
  ? { url: process.env['DCRED_VAULT_ADDR'], rootToken: process.env['DCRED_VAULT_TOKEN'] ?? '' }
  : undefined;
const built = await findVault();
let fake: FakeVault;
let vault: VaultServer;

before(async () => {
  fake = await FakeVault.start();
  if (built.available) vault = await built.start();
});
after(async () => {
  await fake?.[Symbol.asyncDispose]();
  await vault?.[Symbol.asyncDispose]();
});

/** The certificate of a version of the key. */
async function certificateOf(server: TransitServer, name: string, version = 1) {
  const { data } = await callVault(server, 'GET', `transit/keys/${name}`);
  const { keys: versions } = data as { readonly keys: Readonly<Record<number, { readonly public_key: string }>> };
  const publicKey = createPublicKey(versions[version]?.public_key ?? '');
  const scheme = schemeBySubjectPublicKeyInfo(publicKey.export({ type: 'spki', format: 'der' }));
  return { keyAlgorithm: scheme?.keyAlgorithm, publicKey, subject: 'CN=web.example' };
}

type Certificate = Awaited<ReturnType<typeof certificateOf>>;

let keys = 0;
async function createKey(server: TransitServer, type = 'ecdsa-p256'): Promise<string> {
  keys += 1;
  const name = `web-${process.pid}-${keys}`;
  await callVault(server, 'POST', `transit/keys/${name}`, { type });
  return name;
}

async function open(
  server: TransitServer,
  name: string,
  certificate: Certificate | undefined,
  env: object = {},
  { clock = systemClock, results = [] }: { readonly clock?: Clock; readonly results?: KeyResult[] } = {},
) {
  const uri = parseKeyUri(`hashivault://${name}`);
  assert.ok(uri.scheme === 'hashivault');
  const opener = new KeyOpener({
    env: { VAULT_ADDR: server.url, VAULT_TOKEN: server.rootToken, ...env },
    clock,
    observe: (_backend, result) => results.push(result),
  });
  return await opener.open(uri, certificate, never);
}

/** A server that is not available is left out without a skipped test: the fake stands for it. */
const SERVERS: readonly (readonly [string, () => TransitServer | undefined])[] = [
  ['the fake', () => fake],
  ...(built.available ? [['Vault', () => vault] as const] : []),
  ...(real === undefined ? [] : [['the server at DCRED_VAULT_ADDR', () => real] as const]),
];

for (const [where, server] of SERVERS) {
  describe(`a key in the transit engine of ${where}`, () => {
    const any = () => server() ?? assert.fail('there is no server');

    for (const type of ['ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521']) {
      test(`signs as the certificate's key: ${type}`, async () => {
        const name = await createKey(any(), type);
        const certificate = await certificateOf(any(), name);
        const key = await open(any(), name, certificate);
        for (const signature of await Promise.all([key.sign(MESSAGE), key.sign(MESSAGE)])) {
          const { publicKey } = certificate;
          assert.ok(verifyWithNode({ scheme: key.scheme, publicKey, message: MESSAGE, signature }));
        }
        await key.close();
      });
    }

    test('that was rotated signs by the version that the certificate was made for', async () => {
      const name = await createKey(any());
      const first = await certificateOf(any(), name);
      const open_ = await open(any(), name, first);
      await callVault(any(), 'POST', `transit/keys/${name}/rotate`);
      const second = await certificateOf(any(), name, 2);
      assert.ok(!second.publicKey.equals(first.publicKey));
      for (const certificate of [first, second]) {
        const key = await open(any(), name, certificate);
        const { publicKey } = certificate;
        const signature = await key.sign(MESSAGE);
        assert.ok(verifyWithNode({ scheme: key.scheme, publicKey, message: MESSAGE, signature }));
        await key.close();
      }
      await open_.sign(MESSAGE);
      await open_.close();
      const newest = await open(any(), name, undefined);
      assert.ok(newest.publicKey.equals(second.publicKey), 'for a certificate that is still to be made');
      await newest.close();
    });

    test('that is another one, none, or one that browsers refuse is reported when it is opened', async () => {
      const [name, other, edwards] = [
        await createKey(any()),
        await createKey(any()),
        await createKey(any(), 'ed25519'),
      ];
      const certificate = await certificateOf(any(), name);
      await assert.rejects(open(any(), other, certificate), { code: 'KeyMismatch' });
      await assert.rejects(open(any(), 'nosuch', certificate), { code: 'KeyNotFound' });
      await assert.rejects(open(any(), edwards, undefined), { code: 'KeyUnusable', message: /found ed25519/ });
      await assert.rejects(open(any(), name, certificate, { VAULT_TOKEN: 'hvs.S3CRET' }), (error: Error) => {
        assert.equal((error as { code?: string }).code, 'KeyDenied');
        assert.doesNotMatch(error.message, /S3CRET/);
        return true;
      });
    });
  });
}

describe('Vault itself', { skip: built.available ? false : built.reason }, () => {
  test('that is sealed is retried until it is unsealed', async () => {
    const name = await createKey(vault);
    const results: KeyResult[] = [];
    const key = await open(vault, name, await certificateOf(vault, name), {}, { results });
    await callVault(vault, 'POST', 'sys/seal');
    const signing = key.sign(MESSAGE);
    while (!results.includes('KeyUnavailable')) await new Promise((resolve) => setImmediate(resolve));
    await callVault(vault, 'POST', 'sys/unseal', { key: vault.unsealKey });
    await signing;
    await key.close();
  });

  test('lets a token use the key with the two permissions that the documentation names, and with no fewer', async () => {
    const name = await createKey(vault);
    const certificate = await certificateOf(vault, name);
    const tokenOf = async (id: string, policy: string) => {
      await callVault(vault, 'POST', `sys/policies/acl/${id}`, { policy });
      const { auth } = await callVault(vault, 'POST', 'auth/token/create', { policies: [id], ttl: '1h' });
      return (auth as { readonly client_token: string }).client_token;
    };
    const read = `path "transit/keys/${name}" { capabilities = ["read"] }`;
    const sign = `path "transit/sign/${name}" { capabilities = ["update"] }`;
    const key = await open(vault, name, certificate, { VAULT_TOKEN: await tokenOf('both', `${read}\n${sign}`) });
    await key.sign(MESSAGE);
    await key.close();
    for (const [id, policy] of Object.entries({ read, sign })) {
      const VAULT_TOKEN = await tokenOf(id, policy);
      await assert.rejects(open(vault, name, certificate, { VAULT_TOKEN }), { code: 'KeyDenied' }, id);
    }
  });
});

test('a connection to Vault that was idle for half a minute is used no more, whatever the server offers', async (t) => {
  await using server = await startPatientServer();
  const client = await VaultClient.create(readVaultSettings({ VAULT_ADDR: server.url, VAULT_TOKEN: 't' }), systemClock);
  const call = () => client.call({ method: 'GET', path: 'sys/health', token: undefined, what: 'look', signal: never });
  t.mock.timers.enable({ apis: ['setTimeout'] });
  await call();
  await settle();
  await call();
  assert.equal(server.connections, 1);
  await settle();
  t.mock.timers.tick(30_000);
  await call();
  assert.equal(server.connections, 2);
  await client.close();
});

describe('a token that was logged in for', () => {
  /** Logs in with tokens that are handed out here. */
  function login(t: TestContext, logIn: () => Promise<string>, call: VaultClient['call'], clock: Clock): VaultToken {
    const path = join(temporaryDirectory(t), 'token');
    writeFileSync(path, 'header.payload.signature');
    const client: Pick<VaultClient, 'call'> = {
      call: async (one) => {
        if (one.path !== 'auth/kubernetes/login') return await call(one);
        one.signal.throwIfAborted();
        return { auth: { client_token: await logIn(), lease_duration: 3_600 } };
      },
    };
    return new VaultToken(client, { by: 'kubernetes', role: 'dcred', mount: 'kubernetes', path }, clock);
  }

  test('is revoked too where it comes as the key is closed', async (t) => {
    const clock = new FakeClock();
    const revoked: (string | undefined)[] = [];
    const waiting: ((token: string) => void)[] = [];
    const logIn = () => new Promise<string>((resolve) => waiting.push(resolve));
    const revoke: VaultClient['call'] = async ({ path, token }) => {
      assert.equal(path, 'auth/token/revoke-self');
      revoked.push(token);
    };
    const token = login(t, logIn, revoke, clock);
    const first = token.get(never);
    while (waiting.length < 1) await settle();
    waiting[0]?.('hvs.first');
    await first;
    clock.advance(1_800_000);
    while (waiting.length < 2) await settle();
    await token.close();
    assert.deepEqual(revoked, ['hvs.first']);
    waiting[1]?.('hvs.second');
    while (revoked.length < 2) await settle();
    assert.deepEqual(revoked, ['hvs.first', 'hvs.second']);
    await assert.rejects(token.get(never), { code: 'KeyUnavailable' });
    assert.equal(revoked.length, 2);
  });

  test('is revoked by the call that Vault has for it', { skip: built.available ? false : built.reason }, async (t) => {
    const create = async () => {
      const { auth } = await callVault(vault, 'POST', 'auth/token/create', { policies: ['default'], ttl: '1h' });
      return (auth as { readonly client_token: string }).client_token;
    };
    const settings = readVaultSettings({ VAULT_ADDR: vault.url, VAULT_TOKEN: vault.rootToken });
    const client = await VaultClient.create(settings, systemClock);
    const token = login(t, create, (call) => client.call(call), systemClock);
    const look = { method: 'GET', path: 'auth/token/lookup-self', what: 'look', signal: never } as const;
    const mine = await token.get(never);
    await client.call({ ...look, token: mine });
    await token.close();
    await assert.rejects(client.call({ ...look, token: mine }), { code: 'KeyDenied' });
    await client.close();
  });
});

describe('the fake, which does what a real Vault does rarely', () => {
  for (const [what, fault] of [
    ['a Vault that is sealed', { status: 503, body: { errors: ['Vault is sealed'] } }],
    ['a standby', { status: 473, body: {} }],
    ['a rate limit', { status: 429, body: { errors: ['request path "transit/sign": rate limit quota exceeded'] } }],
  ] as const) {
    test(`${what} is retried until it passes`, async () => {
      const name = await createKey(fake);
      const results: KeyResult[] = [];
      const key = await open(fake, name, await certificateOf(fake, name), {}, { results });
      fake.fault = fault;
      const signing = key.sign(MESSAGE);
      while (!results.includes('KeyUnavailable')) await new Promise((resolve) => setImmediate(resolve));
      fake.fault = undefined;
      await signing;
      await key.close();
    });
  }

  test('a file that holds no CA, or no token, is said, and nothing is trusted in its place', async (t) => {
    const directory = temporaryDirectory(t);
    const [empty, pipe] = [join(directory, 'empty'), join(directory, 'pipe')];
    writeFileSync(empty, '');
    execFileSync('mkfifo', [pipe]);
    for (const [env, message] of [
      [{ VAULT_CACERT: empty }, /VAULT_CACERT: expected certificates in PEM in .*\/empty/],
      [{ VAULT_CACERT: pipe }, /cannot read the CA at VAULT_CACERT from .*\/pipe: it is not a regular file/],
      [{ VAULT_CACERT: '/does/not/exist' }, /\/does\/not\/exist: ENOENT/],
      [{ VAULT_TOKEN: '', VAULT_TOKEN_FILE: pipe }, /cannot read the token for Vault from .*\/pipe: it is not/],
      [{ VAULT_TOKEN: '', VAULT_TOKEN_FILE: empty }, /expected a Vault token in .*\/empty/],
    ] as const) {
      await assert.rejects(open(fake, 'nosuch', undefined, env), { code: 'KeyNotConfigured', message });
    }
  });

  test('a CA that TLS would skip without a word is refused, with the line to correct', async (t) => {
    const directory = temporaryDirectory(t);
    const pem = (name: string) => readFileSync(new URL(`../credential/cases/pem/${name}`, import.meta.url), 'utf8');
    const [good, file] = [pem('good.crt'), join(directory, 'ca.crt')];
    for (const [content, why] of [
      [pem('quoted.crt'), /is not at the beginning of line 1: remove/],
      [pem('glued.crt'), /line \d+ ends a PEM block and begins another/],
      [good.replace(/^/gm, '  '), /is not at the beginning of line 1: remove/],
      [`ca: ${good}`, /is not at the beginning of line 1: remove/],
      [`${good}${good.replace(/^/gm, '  ')}`, /is not at the beginning of line \d\d+: remove/],
      [good.replace(/^M/m, 'N'), /certificate 1 of 2 is not an X.509 certificate/],
    ] as const) {
      writeFileSync(file, content);
      const refused = await VaultClient.create(
        readVaultSettings({ VAULT_ADDR: 'https://vault', VAULT_TOKEN: 'x', VAULT_CACERT: file }),
        systemClock,
      ).then(
        () => assert.fail(content),
        (error: KeyError) => error,
      );
      assert.equal(refused.code, 'KeyNotConfigured');
      assert.match(refused.message, /^VAULT_CACERT: expected certificates in PEM in .*ca\.crt: /);
      assert.match(refused.message, why);
    }
  });

  /** The environment of one that may log in. */
  function serviceAccount(t: TestContext): Readonly<Record<string, string>> {
    const path = join(temporaryDirectory(t), 'token');
    writeFileSync(path, 'header.payload.signature');
    fake.accounts.set('header.payload.signature', { role: 'dcred', leaseSeconds: 3_600 });
    return { VAULT_TOKEN: '', VAULT_KUBERNETES_ROLE: 'dcred', VAULT_KUBERNETES_TOKEN_FILE: path };
  }

  test('a service account logs in, again before its token expires, and again where Vault refuses it', async (t) => {
    const name = await createKey(fake);
    const env = serviceAccount(t);
    const clock = new FakeClock(Date.now());
    const logins = () => fake.calls.get('POST auth/kubernetes/login') ?? 0;
    const key = await open(fake, name, await certificateOf(fake, name), env, { clock });
    assert.equal(logins(), 1);
    await key.sign(MESSAGE);
    clock.advance(1_800_000);
    while (logins() < 2) await settle();
    await key.sign(MESSAGE);
    assert.equal(logins(), 2, 'at half of its life');
    for (const token of fake.tokens) if (token !== fake.rootToken) fake.revoke(token);
    await key.sign(MESSAGE);
    assert.equal(logins(), 3);
    await key.close();
    await assert.rejects(open(fake, name, undefined, { ...env, VAULT_KUBERNETES_ROLE: 'other' }), {
      code: 'KeyDenied',
    });
  });

  test('a login leaves no token in Vault once the key is closed, whether or not it was opened', async (t) => {
    const [name, other, edwards] = [await createKey(fake), await createKey(fake), await createKey(fake, 'ed25519')];
    const certificate = await certificateOf(fake, name);
    const env = serviceAccount(t);
    const before = fake.calls.get('POST auth/kubernetes/login') ?? 0;
    for (const token of fake.tokens) if (token !== fake.rootToken) fake.revoke(token);
    await assert.rejects(open(fake, other, certificate, env), { code: 'KeyMismatch' });
    await assert.rejects(open(fake, 'nosuch', certificate, env), { code: 'KeyNotFound' });
    await assert.rejects(open(fake, edwards, undefined, env), { code: 'KeyUnusable' });
    fake.denied.add(`POST transit/sign/${name}`);
    await assert.rejects(open(fake, name, certificate, env), { code: 'KeyDenied' });
    fake.denied.clear();
    const key = await open(fake, name, certificate, env);
    await key.close();
    assert.equal((fake.calls.get('POST auth/kubernetes/login') ?? 0) - before, 5);
    assert.deepEqual(fake.tokens, [fake.rootToken]);
  });

  test('a token that was given is revoked by nobody', async (t) => {
    const name = await createKey(fake);
    const certificate = await certificateOf(fake, name);
    const path = join(temporaryDirectory(t), 'token');
    writeFileSync(path, fake.rootToken);
    for (const env of [{}, { VAULT_TOKEN: '', VAULT_TOKEN_FILE: path }]) {
      const key = await open(fake, name, certificate, env);
      await key.close();
    }
    assert.ok(fake.tokens.includes(fake.rootToken));
  });

  test('a key whose token cannot be revoked is closed all the same', async (t) => {
    const name = await createKey(fake);
    const clock = new FakeClock(Date.now());
    const certificate = await certificateOf(fake, name);
    const key = await open(fake, name, certificate, serviceAccount(t), { clock });
    fake.endless.add('POST auth/token/revoke-self');
    const before = fake.calls.get('POST auth/token/revoke-self') ?? 0;
    const closing = key.close();
    while ((fake.calls.get('POST auth/token/revoke-self') ?? 0) === before) await settle();
    clock.advance(2_000);
    await closing;
    fake.endless.clear();
    const denied = await open(fake, name, certificate, serviceAccount(t));
    fake.denied.add('POST auth/token/revoke-self');
    await denied.close();
    fake.denied.clear();
  });

  for (const call of ['GET auth/token/lookup-self', 'POST auth/kubernetes/login']) {
    test(`an answer to ${call} that does not end holds up no caller that gives up, and no later one`, async (t) => {
      const name = await createKey(fake);
      const env = serviceAccount(t);
      const clock = new FakeClock(Date.now());
      const key = await open(fake, name, await certificateOf(fake, name), env, { clock });
      for (const token of fake.tokens) if (token !== fake.rootToken) fake.revoke(token);
      fake.endless.add(call);
      const before = fake.calls.get(call) ?? 0;
      const stop = new AbortController();
      const signing = key.sign(MESSAGE, { signal: stop.signal });
      while ((fake.calls.get(call) ?? 0) === before) await settle();
      stop.abort(new Error('given up'));
      await assert.rejects(signing, /given up/);
      fake.endless.clear();
      await clock.advanceAsync(15_000);
      await key.sign(MESSAGE);
      await key.close();
    });
  }

  test('a service account that may not sign does not log in for each signature that is refused', async (t) => {
    const name = await createKey(fake);
    const env = serviceAccount(t);
    const logins = () => fake.calls.get('POST auth/kubernetes/login') ?? 0;
    const key = await open(fake, name, await certificateOf(fake, name), env);
    const before = logins();
    fake.denied.add(`POST transit/sign/${name}`);
    for (let count = 0; count < 5; count += 1) await assert.rejects(key.sign(MESSAGE), { code: 'KeyDenied' });
    assert.equal(logins(), before);
    fake.denied.clear();
    await key.sign(MESSAGE);
    await key.close();
  });
});
