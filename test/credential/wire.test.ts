import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type MalformedCredentialCode, MalformedCredentialError } from '../../src/credential/errors.ts';
import {
  type DelegatedCredential,
  decodeDelegatedCredential,
  encodeCredential,
  encodeDelegatedCredential,
  MAX_CREDENTIAL_BYTES,
  signatureInput,
} from '../../src/credential/wire.ts';
import { type VectorName, vectorBytes } from './vectors.ts';

const arbitraryCredential: fc.Arbitrary<DelegatedCredential> = fc.record(
  {
    validTime: fc.integer({ min: 0, max: 0xffff_ffff }),
    dcCertVerifyAlgorithm: fc.integer({ min: 0, max: 0xffff }),
    subjectPublicKeyInfo: fc.uint8Array({ minLength: 1, maxLength: 300 }),
    algorithm: fc.integer({ min: 0, max: 0xffff }),
    signature: fc.uint8Array({ minLength: 1, maxLength: 300 }),
  },
  { noNullPrototype: true },
);

const sample: DelegatedCredential = {
  validTime: 0x01020304,
  dcCertVerifyAlgorithm: 0x0403,
  subjectPublicKeyInfo: Uint8Array.of(0xaa, 0xbb),
  algorithm: 0x0503,
  signature: Uint8Array.of(0xcc, 0xdd, 0xee),
};

function malformed(code: MalformedCredentialCode) {
  return (error: unknown) => {
    assert.ok(error instanceof MalformedCredentialError, `expected MalformedCredentialError, got ${String(error)}`);
    assert.equal(error.code, code);
    return true;
  };
}

test('a credential is laid out as RFC 9345 section 4 says', () => {
  const expected = '01020304' + '0403' + '000002' + 'aabb' + '0503' + '0003' + 'ccddee';
  assert.equal(Buffer.from(encodeDelegatedCredential(sample)).toString('hex'), expected);
  assert.deepEqual(decodeDelegatedCredential(Buffer.from(expected, 'hex')), sample);
});

test('every vector decodes, and encodes to the same bytes', () => {
  for (const name of ['p256', 'p384', 'client', 'long', 'exp'] satisfies VectorName[]) {
    const bytes = vectorBytes(name);
    assert.deepEqual(encodeDelegatedCredential(decodeDelegatedCredential(bytes)), bytes, name);
  }
});

test('what is encoded decodes to the same credential', () => {
  fc.assert(
    fc.property(arbitraryCredential, (credential) => {
      assert.deepEqual(decodeDelegatedCredential(encodeDelegatedCredential(credential)), credential);
    }),
  );
});

test('bytes that decode are the only encoding of what they decode to', () => {
  const mutated = fc
    .tuple(arbitraryCredential, fc.nat(), fc.integer({ min: 0, max: 255 }))
    .map(([credential, at, byte]) => {
      const bytes = encodeDelegatedCredential(credential);
      bytes[at % bytes.length] = byte;
      return bytes;
    });
  fc.assert(
    fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 64 })), (bytes) => {
      let decoded: DelegatedCredential;
      try {
        decoded = decodeDelegatedCredential(bytes);
      } catch (error) {
        assert.ok(error instanceof MalformedCredentialError, `not one of our errors: ${String(error)}`);
        return;
      }
      assert.deepEqual(encodeDelegatedCredential(decoded), Uint8Array.from(bytes));
    }),
    { numRuns: 20_000 },
  );
});

test('a credential cut short is refused wherever the cut is, naming the field', () => {
  const bytes = encodeDelegatedCredential(sample);
  const codeAt = (length: number): MalformedCredentialCode => {
    if (length < 4) return 'TruncatedValidTime';
    if (length < 6) return 'TruncatedVerifyAlgorithm';
    if (length < 9) return 'TruncatedPublicKeyLength';
    if (length < 11) return 'TruncatedPublicKey';
    if (length < 13) return 'TruncatedAlgorithm';
    if (length < 15) return 'TruncatedSignatureLength';
    return 'TruncatedSignature';
  };
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(
      () => decodeDelegatedCredential(bytes.subarray(0, length)),
      malformed(codeAt(length)),
      `${length} bytes`,
    );
  }
});

test('bytes after the signature are refused', () => {
  const bytes = Buffer.concat([encodeDelegatedCredential(sample), Uint8Array.of(0)]);
  assert.throws(() => decodeDelegatedCredential(bytes), malformed('TrailingBytes'));
});

test('an empty public key and an empty signature are refused, read or written', () => {
  const empty = new Uint8Array();
  assert.throws(() => decodeDelegatedCredential(Buffer.from('010203040403000000', 'hex')), malformed('EmptyPublicKey'));
  assert.throws(
    () => decodeDelegatedCredential(Buffer.from('010203040403000001aa05030000', 'hex')),
    malformed('EmptySignature'),
  );
  assert.throws(
    () => encodeDelegatedCredential({ ...sample, subjectPublicKeyInfo: empty }),
    malformed('EmptyPublicKey'),
  );
  assert.throws(() => encodeDelegatedCredential({ ...sample, signature: empty }), malformed('EmptySignature'));
});

test('a length that claims more than there is costs nothing and is refused', () => {
  const claimsSixteenMebibytes = Buffer.from('010203040403ffffffaabb', 'hex');
  assert.throws(() => decodeDelegatedCredential(claimsSixteenMebibytes), malformed('TruncatedPublicKey'));
});

test('a credential that no TLS extension could carry is refused, read or written', () => {
  const largest = MAX_CREDENTIAL_BYTES - 13 - sample.signature.length;
  const withKeyOf = (length: number) => ({ ...sample, subjectPublicKeyInfo: new Uint8Array(length).fill(1) });
  const bytes = encodeDelegatedCredential(withKeyOf(largest));
  assert.equal(bytes.length, MAX_CREDENTIAL_BYTES);
  assert.deepEqual(decodeDelegatedCredential(bytes), withKeyOf(largest));
  assert.throws(() => encodeDelegatedCredential(withKeyOf(largest + 1)), malformed('TooLong'));
  assert.throws(() => decodeDelegatedCredential(new Uint8Array(MAX_CREDENTIAL_BYTES + 1)), malformed('TooLong'));
});

test('numbers that do not fit their fields are refused, not truncated', () => {
  for (const validTime of [-1, 2 ** 32, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(
      () => encodeCredential({ ...sample, validTime }),
      malformed('ValidTimeOutOfRange'),
      String(validTime),
    );
  }
  assert.throws(
    () => encodeCredential({ ...sample, dcCertVerifyAlgorithm: 0x10000 }),
    malformed('AlgorithmOutOfRange'),
  );
  assert.throws(() => encodeDelegatedCredential({ ...sample, algorithm: -1 }), malformed('AlgorithmOutOfRange'));
});

test('what is decoded does not change with the buffer it came from', () => {
  const buffer = Buffer.from(encodeDelegatedCredential(sample));
  const decoded = decodeDelegatedCredential(buffer);
  buffer.fill(0);
  assert.deepEqual(decoded, sample);
});

test('the signed bytes are the padding, the context, a zero, the certificate, the credential and the algorithm', () => {
  const certificate = Uint8Array.of(0x30, 0x00);
  for (const [usage, word] of [
    ['Server', 'server'],
    ['Client', 'client'],
  ] as const) {
    const expected = Buffer.concat([
      Buffer.from(`${' '.repeat(64)}TLS, ${word} delegated credentials\0`),
      certificate,
      Buffer.from('010203040403000002aabb', 'hex'),
      Buffer.from('0503', 'hex'),
    ]);
    assert.deepEqual(Buffer.from(signatureInput(usage, certificate, sample, 0x0503)), expected);
  }
});
