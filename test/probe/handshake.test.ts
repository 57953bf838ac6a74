/** The probe's client against OpenSSL: every suite, group and kind of certificate, and what may surround a handshake. */

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, test } from 'node:test';
import { CIPHER_SUITES } from '../../src/probe/cipher-suite.ts';
import { shakeHands } from '../../src/probe/connect.ts';
import type { TlsError } from '../../src/probe/tls-error.ts';
import { authority, type KeyKind, leaf } from '../../testing/support/openssl.ts';
import { startTlsServer } from './tls-server.ts';

const NAME = 'web.example';
const ca = authority();
const identity = (key: KeyKind) => {
  const { certificatePem, keyPem } = leaf({ issuer: ca, key });
  return { cert: certificatePem + ca.certificatePem, key: keyPem };
};
const web = identity('P-256');

function meet(port: number, alpn: readonly string[] = []) {
  const signal = new AbortController().signal;
  const target = { host: '127.0.0.1', port };
  const options = { target, serverName: NAME, alpn, starttls: undefined, signal };
  return shakeHands(options, { delegatedCredentials: true, firstGroup: 'x25519' });
}

describe('a handshake with OpenSSL', () => {
  for (const { name } of CIPHER_SUITES) {
    test(`completes with ${name}`, async () => {
      await using server = await startTlsServer({ ...web, ciphers: name, minVersion: 'TLSv1.3' });
      const outcome = await meet(server.port);
      assert.equal(outcome.cipherSuite, name);
      assert.equal(outcome.credential, undefined);
      assert.deepEqual(
        outcome.certificates.map((der) => Buffer.from(der).equals(new X509Certificate(der).raw)),
        [true, true],
      );
      assert.equal(new X509Certificate(outcome.certificates[0]).subject, 'CN=web.example');
    });

    test(`starts again for a HelloRetryRequest with ${name}`, async () => {
      await using server = await startTlsServer({ ...web, ciphers: name, ecdhCurve: 'P-256' });
      const outcome = await meet(server.port);
      assert.deepEqual([outcome.retried, outcome.group, outcome.cipherSuite], [true, 'secp256r1', name]);
    });
  }

  for (const [curve, group] of [
    ['P-384', 'secp384r1'],
    ['P-521', 'secp521r1'],
  ] as const) {
    test(`starts again for a HelloRetryRequest of a server that is limited to ${curve}`, async () => {
      await using server = await startTlsServer({ ...web, ecdhCurve: curve });
      const outcome = await meet(server.port);
      assert.deepEqual([outcome.retried, outcome.group], [true, group]);
    });
  }

  test('is refused by a server that has none of its groups, and says so', async () => {
    await using server = await startTlsServer({ ...web, ecdhCurve: 'X448' });
    await assert.rejects(meet(server.port), { code: 'Alert', alert: 'handshake_failure' } satisfies Partial<TlsError>);
  });

  for (const [key, scheme] of [
    ['P-256', 'ecdsa_secp256r1_sha256'],
    ['P-384', 'ecdsa_secp384r1_sha384'],
    ['P-521', 'ecdsa_secp521r1_sha512'],
    ['RSA', 'rsa_pss_rsae_sha256'],
    ['Ed25519', 'ed25519'],
  ] as const) {
    test(`verifies the signature of a certificate with a ${key} key`, async () => {
      await using server = await startTlsServer(identity(key));
      assert.equal((await meet(server.port)).signatureScheme, scheme);
    });
  }

  test('negotiates a protocol by ALPN', async () => {
    await using server = await startTlsServer({ ...web, ALPNProtocols: ['h2', 'http/1.1'] });
    assert.equal((await meet(server.port, ['http/1.1'])).alpn, 'http/1.1');
    assert.equal((await meet(server.port)).alpn, undefined);
  });

  test('goes on where the server asks for a client certificate', async () => {
    await using server = await startTlsServer({ ...web, requestCert: true, rejectUnauthorized: false });
    assert.equal((await meet(server.port)).clientCertificateRequested, true);
  });

  test('takes a chain that fills several records', async () => {
    const chain = Array.from({ length: 24 }, () => ca.certificatePem).join('');
    await using server = await startTlsServer({ cert: web.cert + chain, key: web.key });
    assert.equal((await meet(server.port)).certificates.length, 26);
  });

  test('is refused by a server of TLS 1.2, and says so', async () => {
    await using server = await startTlsServer({ ...web, maxVersion: 'TLSv1.2' });
    await assert.rejects(meet(server.port), { code: 'Alert', alert: 'protocol_version' } satisfies Partial<TlsError>);
  });
});
