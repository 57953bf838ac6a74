/** What a probe thinks of the certificates behind the leaf: those that it cannot read are no reason to think nothing of the server. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readCertificateChain } from '../../src/credential/certificate.ts';
import { readPem } from '../../src/credential/pem.ts';
import { assess } from '../../src/probe/assess.ts';
import type { HandshakeOutcome } from '../../src/probe/handshake.ts';
import { givenRoots } from '../../src/probe/roots.ts';
import { authority, leaf } from '../../testing/support/openssl.ts';

const issuer = authority();
const derOf = (pem: string) => readPem(pem)[0]?.der ?? assert.fail('no PEM block');
const [leafDer, issuerDer] = [derOf(leaf({ issuer }).certificatePem), derOf(issuer.certificatePem)];
const roots = givenRoots(readCertificateChain(issuer.certificatePem));
// Read after the certificates were made: they are valid from that second on.
const now = Math.floor(Date.now() / 1000);

function served(...certificates: readonly [Uint8Array, ...Uint8Array[]]): HandshakeOutcome {
  return {
    cipherSuite: 'TLS_AES_128_GCM_SHA256',
    group: 'x25519',
    retried: false,
    alpn: undefined,
    clientCertificateRequested: false,
    certificates,
    credential: undefined,
    signatureScheme: 'ecdsa_secp256r1_sha256',
  };
}

/** A certificate in every respect, but for an algorithm of its key that nobody knows. */
function ofUnknownAlgorithm(der: Uint8Array): Uint8Array {
  const ecPublicKey = Buffer.from('06072a8648ce3d0201', 'hex');
  const changed = Buffer.from(der);
  const position = changed.indexOf(ecPublicKey);
  assert.notEqual(position, -1);
  changed.writeUInt8(0x7f, position + ecPublicKey.length - 1);
  return Uint8Array.from(changed);
}

const UNREADABLE = fc.oneof(
  fc.constantFrom(ofUnknownAlgorithm(issuerDer), ofUnknownAlgorithm(leafDer), issuerDer.subarray(0, -1)),
  fc.uint8Array({ minLength: 1, maxLength: 60 }),
);

test('a chain with unreadable certificates in it leads where the others lead', () => {
  fc.assert(
    fc.property(fc.array(UNREADABLE, { maxLength: 4 }), fc.nat(4), (unreadable, place) => {
      const others = unreadable.toSpliced(place, 0, issuerDer);
      const { certificate, checks } = assess(served(leafDer, ...others), { roots, name: undefined, now });
      assert.equal(certificate.chainLength, others.length + 1);
      assert.deepEqual(
        checks.map(({ ok }) => ok),
        [true],
      );
    }),
    { numRuns: 60 },
  );
});

test('they are not read at all where no chain is verified', () => {
  const { certificate, checks } = assess(served(leafDer, Uint8Array.of(1)), { roots: undefined, name: undefined, now });
  assert.equal(certificate.chainLength, 2);
  assert.deepEqual(checks, []);
});

test('where no path is found, it says how many cannot be read', () => {
  const other = givenRoots(readCertificateChain(authority('/CN=another').certificatePem));
  const outcome = served(leafDer, issuerDer, ofUnknownAlgorithm(issuerDer));
  const [check] = assess(outcome, { roots: other, name: undefined, now }).checks;
  assert.equal(check?.ok, false);
  assert.match(
    check?.message ?? '',
    /through the 2 other certificates that the server sent \(1 of them cannot be read\) to a/,
  );
});

test('a leaf that cannot be read is an error', () => {
  assert.throws(() => assess(served(Uint8Array.of(1), issuerDer), { roots, name: undefined, now }), {
    code: 'CertificateInvalid',
  });
});

test('a certificate is for a name as browsers have it, not as OpenSSL does by default', () => {
  const isFor = (subjectAltName: string, name: string) => {
    const der = derOf(leaf({ issuer, subject: '/CN=web.example', subjectAltName }).certificatePem);
    const [check] = assess(served(der), { roots: undefined, name, now }).checks;
    return check?.ok;
  };
  assert.equal(isFor('DNS:web.example', 'WEB.example'), true);
  assert.equal(isFor('DNS:*.site.example', 'web.site.example'), true);
  assert.equal(isFor('DNS:*.site.example', 'a.web.site.example'), false);
  assert.equal(isFor('DNS:w*.site.example', 'web.site.example'), false, 'a wildcard within a label');
  assert.equal(isFor('IP:127.0.0.1', 'web.example'), false, 'a common name alone');
  assert.equal(isFor('IP:127.0.0.1', '127.0.0.1'), true);
  assert.equal(isFor('DNS:127.0.0.1', '127.0.0.1'), false, 'an address as a DNS name');
});
