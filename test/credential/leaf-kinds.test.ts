/** Leaves that OpenSSL makes and reads, and that TLS peers refuse: each kind is refused here, with what to do. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type Certificate, readCertificateChain } from '../../src/credential/certificate.ts';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import {
  checkCertificateUsage,
  checkDelegation,
  readDelegationCertificate,
} from '../../src/credential/delegation-certificate.ts';
import { CertificateError } from '../../src/credential/errors.ts';
import { issueCredential } from '../../src/credential/issue.ts';
import { writePem } from '../../src/credential/pem.ts';
import type { Usage } from '../../src/credential/scheme.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { verifyCredential } from '../../src/credential/verify.ts';
import { type LeafOptions, leaf } from '../../testing/support/openssl.ts';

function refusalOf(options: LeafOptions | string): CertificateError {
  const pem = typeof options === 'string' ? options : leaf(options).certificatePem;
  try {
    readDelegationCertificate(pem);
  } catch (error) {
    assert.ok(error instanceof CertificateError, String(error));
    return error;
  }
  assert.fail('accepted');
}

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** A self-signed leaf for a key as `openssl ec` re-encodes it. */
function leafWithKeyEncoding(...encoding: readonly string[]): { certificatePem: string; keyPem: string } {
  const directory = mkdtempSync(join(tmpdir(), 'dcred-leaf-'));
  try {
    const [key, certificate] = [join(directory, 'tls.key'), join(directory, 'tls.crt')];
    writeFileSync(key, leaf().keyPem);
    openssl('ec', '-in', key, ...encoding, '-out', key);
    const extensions = [
      '1.3.6.1.4.1.44363.44=ASN1:NULL',
      'keyUsage=critical,digitalSignature',
      'basicConstraints=CA:FALSE',
    ];
    const named = ['-subj', '/CN=web.example', '-days', '90', ...extensions.flatMap((one) => ['-addext', one])];
    openssl('req', '-x509', '-key', key, '-out', certificate, ...named);
    return { certificatePem: readFileSync(certificate, 'utf8'), keyPem: readFileSync(key, 'utf8') };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

describe("a leaf's key", () => {
  const cases: readonly [string, string, RegExp][] = [
    ['explicit parameters', leafWithKeyEncoding('-param_enc', 'explicit').certificatePem, /explicit parameters/],
    ['a compressed point', leafWithKeyEncoding('-conv_form', 'compressed').certificatePem, /a compressed point/],
    ['a hybrid point', leafWithKeyEncoding('-conv_form', 'hybrid').certificatePem, /an unusual encoding/],
    ['explicit parameters, from a real file', caseFile('explicit.crt'), /explicit parameters/],
  ];
  for (const [name, pem, message] of cases) {
    test(`with ${name} is refused, with how to re-create it`, () => {
      const { code, message: found } = refusalOf(pem);
      assert.equal(code, 'CertificateKeyUnsupported');
      assert.match(found, message);
      assert.match(found, /openssl ec -in tls\.key -param_enc named_curve -conv_form uncompressed/);
      const [certificate] = readCertificateChain(pem);
      const result = verifyCredential({ bytes: Uint8Array.of(), certificate, usage: 'Server', now: 0 });
      assert.equal(result.ok, false);
    });
  }

  test('re-created as the message says is accepted', () => {
    const { certificatePem } = leafWithKeyEncoding('-param_enc', 'named_curve', '-conv_form', 'uncompressed');
    assert.equal(readDelegationCertificate(certificatePem).keyAlgorithm, 'ECDSAP256');
  });
});

function caseFile(name: string): string {
  return readFileSync(new URL(`cases/leaf-key/${name}`, import.meta.url), 'utf8');
}

describe('extendedKeyUsage', () => {
  const cases: readonly [string | undefined, readonly Usage[]][] = [
    [undefined, ['Server', 'Client']],
    ['serverAuth', ['Server']],
    ['clientAuth', ['Client']],
    ['critical,serverAuth', ['Server']],
    ['serverAuth,clientAuth', ['Server', 'Client']],
    ['anyExtendedKeyUsage', ['Server', 'Client']],
    ['codeSigning,anyExtendedKeyUsage', ['Server', 'Client']],
    ['codeSigning,emailProtection', []],
  ];
  for (const [extendedKeyUsage, permitted] of cases) {
    test(`${extendedKeyUsage ?? 'absent'} permits ${permitted.join(' and ') || 'neither side'}`, async () => {
      const extensions = extendedKeyUsage === undefined ? [] : [`extendedKeyUsage=${extendedKeyUsage}`];
      const { certificatePem, keyPem } = leaf({ extensions });
      const certificate = readDelegationCertificate(certificatePem);
      const key = await generateCredentialKey('ECDSAP256');
      const now = certificate.notBefore + 10;
      for (const usage of ['Server', 'Client'] as const) {
        const request = { certificate, signer: signerFromPem(keyPem), key, usage, lifetimeSeconds: 600, now };
        if (permitted.includes(usage)) {
          const { bytes } = await issueCredential(request);
          assert.equal(verifyCredential({ bytes, certificate, usage, now }).ok, true);
          continue;
        }
        await assert.rejects(issueCredential(request), {
          code: 'CertificateCannotDelegate',
          message: new RegExp(`refuse it for a ${usage}: ask its CA for one with ${usage.toLowerCase()}Auth`),
        });
        assert.equal(checkCertificateUsage(certificate, usage)?.code, 'CertificateCannotDelegate');
        // As an issuer that does not check would make it.
        const { bytes } = await issueCredential({
          ...request,
          certificate: { ...certificate, permittedUsages: [usage] },
        });
        const result = verifyCredential({ bytes, certificate, usage, now });
        assert.equal(result.ok === false && result.code, 'CertificateCannotDelegate');
      }
    });
  }

  test('with anything other than purposes in it is refused', () => {
    assert.equal(refusalOf({ extensions: ['2.5.29.37=DER:30:03:01:01:FF'] }).code, 'CertificateInvalid');
  });
});

describe('DelegationUsage', () => {
  const values = ['05:01:00', '05:00:05:00', '05:81:00', '01:01:FF', '30:00', '04:00', '05', '30:02:05:00'];
  for (const value of values) {
    test(`with the value ${value} is refused`, () => {
      const error = refusalOf({ delegationUsage: `DER:${value}` });
      assert.equal(error.code, 'CertificateCannotDelegate');
      assert.match(error.message, /is not NULL \(05 00\)/);
    });
  }
});

describe('keyUsage', () => {
  const facts = (der: string): Certificate =>
    readCertificateChain(leaf({ keyUsage: null, extensions: [`2.5.29.15=DER:${der}`] }).certificatePem)[0];

  test('has digitalSignature in any length of it', () => {
    for (const der of ['03:02:07:80', '03:02:00:FF', '03:03:07:80:80', '03:02:06:C0']) {
      assert.equal(facts(der).digitalSignature, true, der);
    }
  });

  test('without that bit cannot delegate', () => {
    for (const der of ['03:02:06:40', '03:01:00', '03:03:07:00:80']) {
      assert.equal(facts(der).digitalSignature, false, der);
      assert.equal(checkDelegation(facts(der))?.code, 'CertificateCannotDelegate', der);
    }
  });

  test('that no strict reader accepts makes the certificate invalid', () => {
    for (const der of ['03:02:08:80', '03:02:07:81', '03:01:07', '03:00', '03:81:02:07:80', '04:02:07:80']) {
      assert.throws(() => facts(der), { code: 'CertificateInvalid' }, der);
    }
  });
});

test('extensions that occur twice make the certificate invalid', () => {
  // OpenSSL does not write such a one: the second OID is made the first. No signature is checked here.
  const [{ der }] = readCertificateChain(
    leaf({ extensions: ['1.2.3.4=DER:05:00', '1.2.3.5=DER:05:00'] }).certificatePem,
  );
  const twice = Buffer.from(der).toString('latin1').replace('\x2a\x03\x05', '\x2a\x03\x04');
  const error = refusalOf(writePem('CERTIFICATE', Buffer.from(twice, 'latin1')));
  assert.equal(error.code, 'CertificateInvalid');
  assert.match(error.message, /1\.2\.3\.4 occurs twice/);
});

test('a certificate of version 1 has no DelegationUsage', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dcred-v1-'));
  try {
    const [request, certificate, key] = ['r', 'c', 'k'].map((name) => join(directory, name));
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key ?? ''];
    openssl('req', '-new', ...newKey, '-subj', '/CN=web.example', '-out', request ?? '');
    openssl('x509', '-req', '-in', request ?? '', '-key', key ?? '', '-out', certificate ?? '');
    assert.match(refusalOf(readFileSync(certificate ?? '', 'utf8')).message, /lacks the DelegationUsage extension/);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

describe('text from a certificate', () => {
  test('is printable and short', () => {
    const subject = `/CN=\u202ea\u200bb\u0085c`;
    const [certificate] = readCertificateChain(leaf({ subject, options: ['-utf8'] }).certificatePem);
    assert.equal(certificate.subject, 'CN=\\u202ea\\u200bb\\x85c');
  });

  test('has at most 100 DNS names, and a count of the rest', () => {
    const names = Array.from({ length: 300 }, (_, index) => `DNS:${index}.example`).join(',');
    const [certificate] = readCertificateChain(leaf({ subjectAltName: names }).certificatePem);
    assert.equal(certificate.dnsNames.length, 100);
    assert.equal(certificate.dnsNames[99], '99.example');
    assert.equal(certificate.dnsNamesOmitted, 200);
  });
});
