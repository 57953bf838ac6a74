import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { readCertificateChain } from '../../src/credential/certificate.ts';
import {
  checkCertificateValidity,
  checkDelegation,
  readDelegationCertificate,
} from '../../src/credential/delegation-certificate.ts';
import { CertificateError, type CertificateErrorCode } from '../../src/credential/errors.ts';
import { verifyCredential } from '../../src/credential/verify.ts';
import { convert, leaf } from '../../testing/support/openssl.ts';
import { VECTOR_TIME, vectorBytes, vectorFile, vectorLeaf } from './vectors.ts';

function refused(code: CertificateErrorCode, message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof CertificateError, `expected CertificateError, got ${String(error)}`);
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  };
}

const leafPem = vectorFile('leaf.crt').toString();
const caPem = vectorFile('ca.crt').toString();

test('what a delegation certificate says is read as OpenSSL reads it', () => {
  const certificate = readDelegationCertificate(leafPem);
  const x509 = new X509Certificate(leafPem);
  assert.deepEqual(Buffer.from(certificate.der), x509.raw);
  assert.equal(certificate.sha256, x509.fingerprint256.replaceAll(':', '').toLowerCase());
  assert.equal(certificate.subject, 'CN=localhost');
  assert.deepEqual(certificate.dnsNames, ['localhost', 'dc.test']);
  assert.equal(certificate.notBefore, Date.UTC(2026, 10, 22, 21, 40, 43) / 1000);
  assert.equal(certificate.notAfter, Date.UTC(2027, 1, 20, 21, 40, 43) / 1000);
  assert.equal(certificate.keyAlgorithm, 'ECDSAP256');
});

test('ECDSA leaves on all three curves may delegate', () => {
  for (const [key, algorithm] of [
    ['P-256', 'ECDSAP256'],
    ['P-384', 'ECDSAP384'],
    ['P-521', 'ECDSAP521'],
  ] as const) {
    assert.equal(readDelegationCertificate(leaf({ key }).certificatePem).keyAlgorithm, algorithm);
  }
});

test('the chain is kept exactly as given, whatever surrounds its certificates', () => {
  const withText = `${convert(leafPem, 'x509', '-text')}\nissued by the test CA:\n${caPem}`;
  for (const chain of [
    leafPem + caPem,
    withText,
    (leafPem + caPem).replaceAll('\n', '\r\n'),
    ` \n${leafPem.trimEnd()}`,
  ]) {
    const certificate = readDelegationCertificate(chain);
    assert.equal(certificate.chainPem, chain);
    assert.equal(certificate.sha256, vectorLeaf().sha256);
    assert.equal(new X509Certificate(certificate.leafPem).subject, 'CN=localhost');
  }
});

test('a leaf with an RSA or Ed25519 key is refused, naming the browser that would refuse it', () => {
  for (const key of ['RSA', 'Ed25519', 'secp256k1'] as const) {
    assert.throws(
      () => readDelegationCertificate(leaf({ key }).certificatePem),
      refused('CertificateKeyUnsupported', /Firefox.*use a certificate with an ECDSA P-256 key/),
      key,
    );
  }
});

test('a leaf without DelegationUsage is refused, with the OID and how to get it', () => {
  const { certificatePem } = leaf({ delegationUsage: null });
  assert.throws(
    () => readDelegationCertificate(certificatePem),
    refused('CertificateCannotDelegate', /-addext 1\.3\.6\.1\.4\.1\.44363\.44=ASN1:NULL/),
  );
});

test('a DelegationUsage whose value is not NULL is refused', () => {
  for (const value of ['ASN1:BOOLEAN:TRUE', 'ASN1:UTF8String:yes', 'DER:05', 'DER:0500ff', 'DER:050100']) {
    const { certificatePem } = leaf({ delegationUsage: value });
    assert.throws(
      () => readDelegationCertificate(certificatePem),
      refused('CertificateCannotDelegate', /not NULL/),
      value,
    );
  }
});

test('a critical DelegationUsage is refused, because clients that do not know it would refuse the certificate', () => {
  const { certificatePem } = leaf({ delegationUsage: 'critical,ASN1:NULL' });
  assert.throws(() => readDelegationCertificate(certificatePem), refused('CertificateCannotDelegate', /critical/));
});

test('a leaf that has no keyUsage, or one without digitalSignature, is refused', () => {
  for (const keyUsage of [null, 'critical,keyAgreement', 'keyEncipherment']) {
    const { certificatePem } = leaf({ keyUsage });
    assert.throws(
      () => readDelegationCertificate(certificatePem),
      refused('CertificateCannotDelegate', /digitalSignature/),
      String(keyUsage),
    );
  }
});

test('digitalSignature is found among other key usages', () => {
  const { certificatePem } = leaf({ keyUsage: 'digitalSignature,keyEncipherment,keyAgreement,decipherOnly' });
  assert.equal(readDelegationCertificate(certificatePem).digitalSignature, true);
});

test('a CA is refused as a delegation certificate', () => {
  const { certificatePem } = leaf({ basicConstraints: 'critical,CA:TRUE' });
  assert.throws(() => readDelegationCertificate(certificatePem), refused('CertificateCannotDelegate', /is a CA/));
});

test('a chain that begins with the CA is refused, saying to put the leaf first', () => {
  assert.throws(() => readDelegationCertificate(caPem + leafPem), refused('CertificateInvalid', /put the leaf first/));
});

test('a private key among the certificates is refused, because it would go to every pod', () => {
  const { certificatePem, keyPem } = leaf();
  const sec1 = convert(keyPem, 'ec', '-outform', 'PEM');
  const mistyped = keyPem.replace('-----BEGIN', '--BEGIN');
  for (const text of [keyPem, sec1, certificatePem + keyPem, sec1 + certificatePem, certificatePem + mistyped]) {
    assert.throws(
      () => readDelegationCertificate(text),
      (error: unknown) => {
        refused('CertificateInvalid', /private key among the certificates/)(error);
        assertNoKey(String(error), keyPem);
        return true;
      },
    );
  }
});

test('texts that hold no certificate are refused with what was expected', () => {
  const cases: readonly [string, string, RegExp][] = [
    ['nothing', '', /is empty.*leaf first/],
    ['white space', ' \r\n\t', /is empty/],
    ['prose', 'hello', /no certificate found/],
    ['another PEM block', convert(leaf().keyPem, 'pkey', '-pubout'), /no certificate found/],
    ['a block that does not end', leafPem.slice(0, 300), /has no line "-----END CERTIFICATE-----"/],
    [
      'a block that is not base64',
      '-----BEGIN CERTIFICATE-----\n$$$$\n-----END CERTIFICATE-----\n',
      /does not hold base64/,
    ],
    ['a block without a body', '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n', /does not hold base64/],
    ['base64 of something else', '-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n', /not an X\.509/],
    [
      'a broken second certificate',
      `${leafPem}-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n`,
      /2 of 2/,
    ],
  ];
  for (const [name, text, message] of cases) {
    assert.throws(() => readDelegationCertificate(text), refused('CertificateInvalid', message), name);
  }
});

test('bytes after the certificate in its block are refused: they would be signed, and no peer sees them', () => {
  const der = Buffer.concat([vectorLeaf().der, Uint8Array.of(5, 0)]);
  const pem = `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`;
  assert.throws(() => readDelegationCertificate(pem), refused('CertificateInvalid', /not an X\.509/));
});

test('whichever byte of a certificate changes, the result is a certificate or a CertificateError', () => {
  const { der } = vectorLeaf();
  fc.assert(
    fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(3), (at, change, cut) => {
      const bytes = Buffer.from(der);
      bytes[at] = (bytes[at] ?? 0) ^ change;
      const text = bytes.subarray(0, bytes.length - cut).toString('base64');
      try {
        const [certificate] = readCertificateChain(`-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`);
        const result = verifyCredential({ bytes: vectorBytes('p256'), certificate, usage: 'Server', now: VECTOR_TIME });
        assert.equal(result.ok, false, 'a credential on another certificate was accepted');
      } catch (error) {
        assert.ok(error instanceof CertificateError, `not one of our errors: ${String(error)}`);
      }
    }),
    { numRuns: 3_000 },
  );
});

test('any text gives a chain or a CertificateError', () => {
  const piece = fc.constantFrom(
    '-----BEGIN ',
    'CERTIFICATE',
    '-----',
    '-----END ',
    '\n',
    '\r\n',
    leafPem,
    caPem,
    'AAAA',
    ' ',
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(piece, fc.string())), (pieces) => {
      try {
        readCertificateChain(pieces.join(''));
      } catch (error) {
        assert.ok(error instanceof CertificateError, `not one of our errors: ${String(error)}`);
      }
    }),
    { numRuns: 2_000 },
  );
});

test('a certificate is valid from its first second to its last', () => {
  const certificate = vectorLeaf();
  const { notAfter, notBefore } = certificate;
  assert.equal(checkCertificateValidity(certificate, notBefore), undefined);
  assert.equal(checkCertificateValidity(certificate, notAfter), undefined);
  assert.ok(
    refused(
      'CertificateInvalid',
      /not valid before 2026-11-22T21:40:43Z/,
    )(checkCertificateValidity(certificate, notBefore - 1)),
  );
  assert.ok(
    refused(
      'CertificateInvalid',
      /expired at 2027-02-20T21:40:43Z.*renew/,
    )(checkCertificateValidity(certificate, notAfter + 1)),
  );
});

test('a subject of several parts reads as one line', () => {
  const [certificate] = readCertificateChain(leaf({ subject: '/O=Example/CN=web.example' }).certificatePem);
  assert.equal(certificate.subject, 'O=Example, CN=web.example');
  assert.equal(checkDelegation(certificate), undefined);
});

test('DNS names are read, and other kinds of name left out', () => {
  assert.deepEqual(readDelegationCertificate(leaf().certificatePem).dnsNames, ['web.example', '*.web.example']);
});

function assertNoKey(text: string, keyPem: string): void {
  for (const line of keyPem.split('\n').filter((candidate) => !candidate.startsWith('-----') && candidate.length > 8)) {
    assert.ok(!text.includes(line), 'key material in an error');
  }
}
