import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { MAX_LIFETIME_SECONDS } from '../../src/credential/lifetime.ts';
import { decideRequest, mayRead, NOT_PERMITTED, type PolicyInput, type SignerGrant } from '../../src/signer/policy.ts';
import type { SignRequest } from '../../src/signer/protocol.ts';
import { leaf } from '../../testing/support/openssl.ts';

const certificate = readDelegationCertificate(leaf({ days: 5 }).certificatePem);
const key = await generateCredentialKey('ECDSAP256');
const NOW = Math.floor(Date.now() / 1000);
const HOUR = 3_600;

const grant = (change: Partial<SignerGrant> = {}): SignerGrant => ({
  certificate: 'vault/web-tls',
  from: [{ cluster: 'eu', namespace: 'edge' }],
  usages: ['Server'],
  maxLifetimeSeconds: undefined,
  ...change,
});

const request = (change: Partial<SignRequest> = {}): SignRequest => ({
  certificate: 'vault/web-tls',
  usage: 'Server',
  dcCertVerifyAlgorithm: 0x0403,
  subjectPublicKeyInfo: key.subjectPublicKeyInfo,
  expiresAt: NOW + HOUR,
  namespace: 'edge',
  resource: 'web',
  podUid: 'uid',
  ...change,
});

function decideOn(change: Partial<PolicyInput> = {}) {
  const input = { request: request(), cluster: 'eu', grants: [grant()], isConfigured: true, certificate, now: NOW };
  return decideRequest({ ...input, maxLifetimeSeconds: MAX_LIFETIME_SECONDS, ...change });
}

describe('a request', () => {
  test('that a grant covers is allowed, with valid_time from notBefore', () => {
    assert.deepEqual(decideOn(), { ok: true, certificate });
  });

  for (const [what, change] of [
    ['another namespace', { request: request({ namespace: 'shop' }) }],
    ['another cluster', { cluster: 'us' }],
    ['another usage', { request: request({ usage: 'Client' }) }],
    ['another certificate', { request: request({ certificate: 'vault/other' }) }],
    ['a certificate that does not exist', { isConfigured: false, certificate: undefined }],
    ['no grant at all', { grants: [] }],
  ] as const) {
    test(`for ${what} is refused in the one text`, () => {
      assert.equal(decideOn(change), NOT_PERMITTED);
    });
  }

  for (const [what, change, reason] of [
    ['with an expiry in the past', { expiresAt: NOW }, 'LifetimeNotAllowed'],
    ['that would outlive its certificate', { expiresAt: certificate.notAfter }, 'LifetimeNotAllowed'],
    ['for longer than RFC 9345 allows', { expiresAt: NOW + MAX_LIFETIME_SECONDS + 1 }, 'LifetimeNotAllowed'],
    ['whose key is of another kind', { dcCertVerifyAlgorithm: 0x0503 }, 'PublicKeyUnsupported'],
    ['whose key is invalid', { subjectPublicKeyInfo: Buffer.from('00', 'hex') }, 'PublicKeyUnsupported'],
  ] as const) {
    test(`${what} is refused`, () => {
      const decision = decideOn({ request: request(change) });
      assert.equal(decision.ok === false && decision.reason, reason);
    });
  }

  test('is refused while the certificate is not valid', () => {
    for (const now of [certificate.notBefore - 1, certificate.notAfter + 1]) {
      const decision = decideOn({ now, request: request({ expiresAt: now + HOUR }) });
      assert.equal(decision.ok === false && decision.reason, 'CertificateInvalid');
    }
  });

  test('never gets more than the most generous grant that covers it, the signer and RFC 9345 allow', () => {
    const lifetimes = fc.array(fc.option(fc.integer({ min: 60, max: MAX_LIFETIME_SECONDS }), { nil: undefined }), {
      minLength: 1,
      maxLength: 4,
    });
    const any = fc.tuple(
      lifetimes,
      fc.integer({ min: 60, max: MAX_LIFETIME_SECONDS }),
      fc.integer({ min: 1, max: 700_000 }),
    );
    fc.assert(
      fc.property(any, ([granted, own, life]) => {
        const grants = [
          ...granted.map((maxLifetimeSeconds) => grant({ maxLifetimeSeconds })),
          // Does not cover the request, and must not lengthen anything.
          grant({ from: [{ cluster: 'us' }], maxLifetimeSeconds: MAX_LIFETIME_SECONDS }),
        ];
        const most = Math.max(...granted.map((one) => one ?? MAX_LIFETIME_SECONDS));
        const { ok } = decideOn({ grants, maxLifetimeSeconds: own, request: request({ expiresAt: NOW + life }) });
        assert.equal(ok, life <= Math.min(most, own) && NOW + life < certificate.notAfter);
      }),
    );
  });
});

test('the public certificate may be read by clusters that have a grant of it', () => {
  assert.ok(mayRead([grant()], 'vault/web-tls', 'eu'));
  assert.ok(mayRead([grant({ from: [{ namespace: 'edge' }] })], 'vault/web-tls', 'us'));
  assert.ok(!mayRead([grant()], 'vault/web-tls', 'us'));
  assert.ok(!mayRead([grant()], 'vault/other', 'eu'));
});
