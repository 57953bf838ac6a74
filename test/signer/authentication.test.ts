/** Tokens of another cluster, whose clock differs from the signer's by some seconds. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { exportJWK, SignJWT } from 'jose';
import { Authenticator } from '../../src/signer/authentication.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';

const ISSUER = 'https://issuer.us-east.example';
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const clock = new FakeClock();
const NOW = clock.now() / 1000;
const authenticator = new Authenticator({
  clients: [{ name: 'us', cluster: 'us', serviceAccount: 'dcred-system/dcred', issuer: ISSUER, tlsName: undefined }],
  keySets: new Map([[ISSUER, { keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256', kid: 'one' }] }]]),
  reviewToken: undefined,
  clock,
});

async function isAccepted(times: { readonly nbf?: number; readonly exp?: number }): Promise<boolean> {
  const claims = {
    iss: ISSUER,
    sub: 'system:serviceaccount:dcred-system:dcred',
    aud: 'dcred-signer',
    exp: NOW + 3_600,
  };
  const token = await new SignJWT({ ...claims, ...times }).setProtectedHeader({ alg: 'ES256' }).sign(privateKey);
  const credentials = { certificate: undefined, authorization: `Bearer ${token}`, address: '192.0.2.1' };
  return (await authenticator.authenticate(credentials, new AbortController().signal)) !== undefined;
}

test('a token that was made this moment is accepted by a signer that is half a minute behind, and not by one further behind', async () => {
  assert.equal(await isAccepted({ nbf: NOW + 20 }), true);
  assert.equal(await isAccepted({ nbf: NOW + 30 }), true);
  assert.equal(await isAccepted({ nbf: NOW + 31 }), false);
});

test('a token that has expired is accepted for half a minute, and no longer', async () => {
  assert.equal(await isAccepted({ exp: NOW - 29 }), true);
  assert.equal(await isAccepted({ exp: NOW - 30 }), false);
});
