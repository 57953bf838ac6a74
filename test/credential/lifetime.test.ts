import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CertificateError } from '../../src/credential/errors.ts';
import {
  CLOCK_SKEW_SECONDS,
  expiryFor,
  MAX_LIFETIME_SECONDS,
  MAX_VALIDITY_SECONDS,
  MIN_LIFETIME_SECONDS,
} from '../../src/credential/lifetime.ts';

const notBefore = 1_800_000_000;
const notAfter = notBefore + 90 * 86_400;
const certificate = { subject: 'CN=web', notBefore, notAfter };

test('the longest lifetime is seven days less an hour of clock skew', () => {
  assert.equal(MAX_VALIDITY_SECONDS, 7 * 24 * 3600);
  assert.equal(MAX_LIFETIME_SECONDS + CLOCK_SKEW_SECONDS, MAX_VALIDITY_SECONDS);
  assert.equal(MAX_LIFETIME_SECONDS, 601_200);
});

test('a credential expires after its lifetime, where the certificate lasts longer', () => {
  assert.equal(expiryFor({ certificate, lifetimeSeconds: 172_800, now: notBefore }), notBefore + 172_800);
});

test('a credential expires a second before its certificate, where that is earlier', () => {
  const at = (remaining: number) => expiryFor({ certificate, lifetimeSeconds: 3600, now: notAfter - remaining });
  assert.equal(at(3602), notAfter - 2, 'the lifetime fits');
  assert.equal(at(3601), notAfter - 1, 'it fits exactly');
  assert.equal(at(3600), notAfter - 1, 'the certificate cuts it');
  assert.equal(at(61), notAfter - 1, 'the last moment');
});

test('a certificate that leaves less than a minute is refused, saying to renew it', () => {
  for (const remaining of [60, 30, 1, 0]) {
    assert.throws(
      () => expiryFor({ certificate, lifetimeSeconds: 3600, now: notAfter - remaining }),
      (error: unknown) =>
        error instanceof CertificateError &&
        error.code === 'CertificateInvalid' &&
        /expires at .*: renew it/.test(error.message),
      `${remaining} s`,
    );
  }
});

test('a certificate that is expired or not valid yet is refused', () => {
  for (const [now, message] of [
    [notBefore - 1, /not valid before/],
    [notAfter + 1, /expired at/],
  ] as const) {
    assert.throws(() => expiryFor({ certificate, lifetimeSeconds: 3600, now }), message);
  }
});

test('a certificate older than valid_time can count is refused, not wrapped around', () => {
  const ancient = { ...certificate, notBefore: notBefore - 2 ** 32 };
  assert.throws(
    () => expiryFor({ certificate: ancient, lifetimeSeconds: 3600, now: notBefore }),
    (error: unknown) => error instanceof CertificateError && /136 years/.test(error.message),
  );
});

test('lifetimes outside the contract’s range are a programming error', () => {
  for (const lifetimeSeconds of [MIN_LIFETIME_SECONDS - 1, MAX_LIFETIME_SECONDS + 1, 90.5, Number.NaN, -1]) {
    assert.throws(
      () => expiryFor({ certificate, lifetimeSeconds, now: notBefore }),
      RangeError,
      String(lifetimeSeconds),
    );
  }
  for (const lifetimeSeconds of [MIN_LIFETIME_SECONDS, MAX_LIFETIME_SECONDS]) {
    assert.equal(expiryFor({ certificate, lifetimeSeconds, now: notBefore }), notBefore + lifetimeSeconds);
  }
});

test('whatever the certificate and the time, a credential lasts a minute, expires first, and never outlives its lifetime', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: -10, max: 90 * 86_400 + 10 }),
      fc.integer({ min: MIN_LIFETIME_SECONDS, max: MAX_LIFETIME_SECONDS }),
      (age, lifetimeSeconds) => {
        const now = notBefore + age;
        try {
          const expiry = expiryFor({ certificate, lifetimeSeconds, now });
          assert.ok(expiry < notAfter);
          assert.ok(expiry - now >= MIN_LIFETIME_SECONDS && expiry - now <= lifetimeSeconds);
        } catch (error) {
          assert.ok(error instanceof CertificateError, String(error));
          assert.ok(now < notBefore || now + MIN_LIFETIME_SECONDS >= notAfter);
        }
      },
    ),
  );
});
