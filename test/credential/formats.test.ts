import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { credentialKeyFromPem, generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { MalformedCredentialError } from '../../src/credential/errors.ts';
import { CREDENTIAL_FILE_NAMES, credentialFiles } from '../../src/credential/files.ts';
import { readCredentialFile, toFizz, toHex, toPem } from '../../src/credential/formats.ts';
import { issueCredential } from '../../src/credential/issue.ts';
import type { KeyAlgorithm, Usage } from '../../src/credential/scheme.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { convert, leaf } from '../../testing/support/openssl.ts';
import { vectorBytes, vectorFile, vectorKeyPem } from './vectors.ts';

const bytes = vectorBytes('p256');
const keyPem = vectorKeyPem('p256');
const chainPem = vectorFile('leaf.crt').toString() + vectorFile('ca.crt').toString();

test('hex is lower case, on one line', () => {
  assert.equal(toHex(Uint8Array.of(0xab, 0x01)), 'ab01\n');
  assert.match(toHex(bytes), /^[0-9a-f]+\n$/);
});

test('PEM has the label DELEGATED CREDENTIAL and lines of 64 characters', () => {
  const lines = toPem(bytes).split('\n');
  assert.equal(lines[0], '-----BEGIN DELEGATED CREDENTIAL-----');
  assert.equal(lines.at(-2), '-----END DELEGATED CREDENTIAL-----');
  assert.equal(lines.at(-1), '');
  assert.ok(lines.slice(1, -3).every((line) => line.length === 64));
});

/** Fizz's reader, as its loadDCFromPEM works: it searches for whole lines, and its base64 decoder takes no white space. */
function readAsFizzDoes(text: string, mode: 'SERVER' | 'CLIENT') {
  const between = (label: string): string => {
    const header = `-----BEGIN ${mode} ${label}-----\n`;
    const footer = `-----END ${mode} ${label}-----\n`;
    const start = text.indexOf(header);
    const end = text.indexOf(footer);
    assert.ok(start !== -1 && end !== -1, `label ${mode} ${label} not found`);
    return text.slice(start + header.length, end);
  };
  const credential = between('DELEGATED CREDENTIAL').slice(0, -1);
  assert.match(credential, /^[A-Za-z0-9+/]+={0,2}$/, 'not strict base64');
  return {
    bytes: Uint8Array.from(Buffer.from(credential, 'base64')),
    keyPem: `-----BEGIN PRIVATE KEY-----\n${between('DC PRIVATE KEY')}-----END PRIVATE KEY-----\n`,
    leaf: new X509Certificate(text.slice(text.indexOf('-----BEGIN CERTIFICATE-----'))),
  };
}

test('Fizz’s combined file reads as Fizz reads it, for servers and for clients', () => {
  for (const [usage, mode] of [
    ['Server', 'SERVER'],
    ['Client', 'CLIENT'],
  ] as const) {
    const read = readAsFizzDoes(toFizz({ bytes, usage, keyPem, chainPem }), mode);
    assert.deepEqual(read.bytes, bytes);
    assert.equal(convert(read.keyPem, 'pkey'), convert(keyPem, 'pkey'));
    assert.equal(read.leaf.subject, 'CN=localhost');
  }
});

test('Fizz’s combined file carries the chain after the leaf', () => {
  const text = toFizz({ bytes, usage: 'Server', keyPem, chainPem });
  assert.equal(text.split('-----BEGIN CERTIFICATE-----').length - 1, 2);
});

test('every format is recognised and gives the credential back', () => {
  assert.deepEqual(readCredentialFile(bytes), { format: 'raw', bytes, holdsPrivateKey: false });
  assert.deepEqual(readCredentialFile(Buffer.from(toHex(bytes))), { format: 'hex', bytes, holdsPrivateKey: false });
  assert.deepEqual(readCredentialFile(Buffer.from(toPem(bytes))), { format: 'pem', bytes, holdsPrivateKey: false });
  const windows = Buffer.from(toPem(bytes).replaceAll('\n', '\r\n'));
  assert.deepEqual(readCredentialFile(windows), { format: 'pem', bytes, holdsPrivateKey: false });
  for (const usage of ['Server', 'Client'] satisfies Usage[]) {
    const { leafPem, ...file } = readCredentialFile(Buffer.from(toFizz({ bytes, usage, keyPem, chainPem })));
    assert.deepEqual(file, { format: 'fizz', bytes, usage, holdsPrivateKey: true });
    assert.equal(new X509Certificate(leafPem ?? '').subject, 'CN=localhost');
  }
});

test('a tlslite-ng style file with the key in front is a credential file too', () => {
  const file = readCredentialFile(Buffer.from(keyPem + toPem(bytes)));
  assert.deepEqual(file, { format: 'pem', bytes, holdsPrivateKey: true });
});

test('PEM without a credential is refused, saying what is in it', () => {
  assert.throws(
    () => readCredentialFile(vectorFile('leaf.crt')),
    (error: unknown) =>
      error instanceof MalformedCredentialError &&
      error.code === 'NotACredentialFile' &&
      /found CERTIFICATE/.test(error.message),
  );
});

test('hex with an odd number of digits is refused', () => {
  assert.throws(() => readCredentialFile(Buffer.from('abc\n')), /odd number/);
});

test('any bytes give a credential file or a MalformedCredentialError', () => {
  const text = fc.array(
    fc.constantFrom(
      '-----BEGIN ',
      'DELEGATED CREDENTIAL',
      'SERVER ',
      '-----',
      '\n',
      'END ',
      'AAAA',
      toPem(bytes),
      'ff',
    ),
  );
  const input = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    text.map((pieces) => Buffer.from(pieces.join(''))),
  );
  fc.assert(
    fc.property(input, (data) => {
      try {
        readCredentialFile(data);
      } catch (error) {
        assert.ok(error instanceof MalformedCredentialError, String(error));
      }
    }),
    { numRuns: 2_000 },
  );
});

test('raw bytes survive hex and PEM', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 500 }), (data) => {
      assert.deepEqual(readCredentialFile(Buffer.from(toHex(data))).bytes, Uint8Array.from(data));
      assert.deepEqual(readCredentialFile(Buffer.from(toPem(data))).bytes, Uint8Array.from(data));
    }),
  );
});

async function files(algorithm: KeyAlgorithm) {
  const made = leaf();
  const certificate = readDelegationCertificate(made.certificatePem);
  const key = await generateCredentialKey(algorithm);
  const now = certificate.notBefore + 5;
  const signer = signerFromPem(made.keyPem);
  const issued = await issueCredential({ certificate, signer, key, usage: 'Server', lifetimeSeconds: 3600, now });
  return { certificate, key, issued, files: credentialFiles({ certificate, key, issued }) };
}

test('the files of a credential belong together', async () => {
  const { certificate, files: made, issued, key } = await files('ECDSAP256');
  assert.deepEqual([...made.keys()], [...CREDENTIAL_FILE_NAMES]);
  assert.equal(Buffer.from(made.get('tls.crt') ?? '').toString(), certificate.chainPem);
  const readKey = credentialKeyFromPem(Buffer.from(made.get('dc.key') ?? '').toString());
  assert.deepEqual(readKey.subjectPublicKeyInfo, key.subjectPublicKeyInfo);
  for (const name of ['dc.bin', 'dc.hex', 'dc.pem', 'fizz.pem'] as const) {
    assert.deepEqual(readCredentialFile(made.get(name) ?? new Uint8Array()).bytes, issued.bytes, name);
  }
});

test('Fizz’s file is made for P-256 keys only', async () => {
  for (const algorithm of ['ECDSAP384', 'ECDSAP521', 'Ed25519'] as const) {
    assert.equal((await files(algorithm)).files.has('fizz.pem'), false, algorithm);
  }
});
