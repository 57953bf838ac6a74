/**
 * Keys in the transit engine of Vault: a named fake, and where DCRED_VAULT_ADDR and DCRED_VAULT_TOKEN name one, a real server
 * with an empty transit engine at `transit/`.
 */
import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { schemeBySubjectPublicKeyInfo } from '../../src/credential/scheme.ts';
import { verifyWithNode } from '../../src/credential/signature.ts';
import type { KeyResult } from '../../src/keys/guarded-key.ts';
import { KeyOpener } from '../../src/keys/key-opener.ts';
import { parseKeyUri } from '../../src/keys/key-uri.ts';
import { type Clock, systemClock } from '../../src/kubernetes/clock.ts';
import { FakeVault } from '../../testing/keys/fake-vault.ts';
import { FakeClock, settle } from '../../testing/support/fake-clock.ts';
import { temporaryDirectory } from '../cli/run-command.ts';

const never = new AbortController().signal;
const MESSAGE = Buffer.from('TLS, server delegated credentials');

interface Server {
  readonly url: string;
  readonly rootToken: string;
}

const real: Server | undefined = process.env['DCRED_VAULT_ADDR']
  ? { url: process.env['DCRED_VAULT_ADDR'], rootToken: process.env['DCRED_VAULT_TOKEN'] ?? '' }
  : undefined;
let fake: FakeVault;

before(async () => {
  fake = await FakeVault.start();
});
after(() => fake?.[Symbol.asyncDispose]());

async function admin({ rootToken, url }: Server, method: string, path: string, body?: object) {
  const answer = await fetch(`${url}/v1/${path}`, {
    method,
    headers: { 'x-vault-token': rootToken },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  const text = await answer.text();
  return text === '' ? {} : JSON.parse(text);
}

/** The certificate of a version of the key. */
async function certificateOf(server: Server, name: string, version = 1) {
  const { data } = await admin(server, 'GET', `transit/keys/${name}`);
  const publicKey = createPublicKey(data.keys[version].public_key);
  const scheme = schemeBySubjectPublicKeyInfo(publicKey.export({ type: 'spki', format: 'der' }));
  return { keyAlgorithm: scheme?.keyAlgorithm, publicKey, subject: 'CN=web.example' };
}

type Certificate = Awaited<ReturnType<typeof certificateOf>>;

let keys = 0;
async function createKey(server: Server, type = 'ecdsa-p256'): Promise<string> {
  keys += 1;
  const name = `web-${process.pid}-${keys}`;
  await admin(server, 'POST', `transit/keys/${name}`, { type });
  return name;
}

async function open(
  server: Server,
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

/** One that nobody has is no test that is missing: the fake stands for it. */
const SERVERS: readonly (readonly [string, () => Server | undefined])[] = [
  ['the fake', () => fake],
  ...(real === undefined ? [] : [['a real Vault', () => real] as const]),
];

for (const [where, server] of SERVERS) {
  describe(`a key in the transit engine of ${where}`, () => {
    const vault = () => server() ?? assert.fail('there is no server');

    for (const type of ['ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521']) {
      test(`signs as the certificate's key: ${type}`, async () => {
        const name = await createKey(vault(), type);
        const certificate = await certificateOf(vault(), name);
        const key = await open(vault(), name, certificate);
        for (const signature of await Promise.all([key.sign(MESSAGE), key.sign(MESSAGE)])) {
          const { publicKey } = certificate;
          assert.ok(verifyWithNode({ scheme: key.scheme, publicKey, message: MESSAGE, signature }));
        }
        await key.close();
      });
    }

    test('that was rotated signs by the version that the certificate was made for', async () => {
      const name = await createKey(vault());
      const first = await certificateOf(vault(), name);
      const open_ = await open(vault(), name, first);
      await admin(vault(), 'POST', `transit/keys/${name}/rotate`);
      const second = await certificateOf(vault(), name, 2);
      assert.ok(!second.publicKey.equals(first.publicKey));
      for (const certificate of [first, second]) {
        const key = await open(vault(), name, certificate);
        const { publicKey } = certificate;
        const signature = await key.sign(MESSAGE);
        assert.ok(verifyWithNode({ scheme: key.scheme, publicKey, message: MESSAGE, signature }));
        await key.close();
      }
      await open_.sign(MESSAGE);
      await open_.close();
      const newest = await open(vault(), name, undefined);
      assert.ok(newest.publicKey.equals(second.publicKey), 'for a certificate that is still to be made');
      await newest.close();
    });

    test('that is another one, none, or one that browsers refuse is said when it is opened', async () => {
      const [name, other, edwards] = [
        await createKey(vault()),
        await createKey(vault()),
        await createKey(vault(), 'ed25519'),
      ];
      const certificate = await certificateOf(vault(), name);
      await assert.rejects(open(vault(), other, certificate), { code: 'KeyMismatch' });
      await assert.rejects(open(vault(), 'nosuch', certificate), { code: 'KeyNotFound' });
      await assert.rejects(open(vault(), edwards, undefined), { code: 'KeyUnusable', message: /found ed25519/ });
      await assert.rejects(open(vault(), name, certificate, { VAULT_TOKEN: 'hvs.S3CRET' }), (error: Error) => {
        assert.equal((error as { code?: string }).code, 'KeyDenied');
        assert.doesNotMatch(error.message, /S3CRET/);
        return true;
      });
    });
  });
}

describe('the fake, which does what a real one does rarely', () => {
  for (const [what, fault] of [
    ['a Vault that is sealed', { status: 503, body: { errors: ['Vault is sealed'] } }],
    ['a standby', { status: 473, body: {} }],
    ['a rate limit', { status: 429, body: { errors: ['request path "transit/sign": rate limit quota exceeded'] } }],
  ] as const) {
    test(`${what} is waited out`, async () => {
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

  test('a service account logs in, again before its token expires, and again where Vault refuses it', async (t) => {
    const name = await createKey(fake);
    const path = join(temporaryDirectory(t), 'token');
    writeFileSync(path, 'header.payload.signature');
    fake.accounts.set('header.payload.signature', { role: 'dcred', leaseSeconds: 3_600 });
    const env = { VAULT_TOKEN: '', VAULT_KUBERNETES_ROLE: 'dcred', VAULT_KUBERNETES_TOKEN_FILE: path };
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
});
