import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  KEY_ALGORITHMS,
  SIGNATURE_SCHEMES,
  schemeByCode,
  schemeByKeyAlgorithm,
  schemeByKeyType,
  schemeBySubjectPublicKeyInfo,
} from '../../src/credential/scheme.ts';

/** IANA's TLS SignatureScheme registry. */
const REGISTRY = {
  ecdsa_secp256r1_sha256: 0x0403,
  ecdsa_secp384r1_sha384: 0x0503,
  ecdsa_secp521r1_sha512: 0x0603,
  ed25519: 0x0807,
};

test('the schemes are those of the registry, under its names and values', () => {
  assert.deepEqual(Object.fromEntries(SIGNATURE_SCHEMES.map(({ name, code }) => [name, code])), REGISTRY);
});

test('the key algorithms are those of the contract, in its order', () => {
  assert.deepEqual(KEY_ALGORITHMS, ['ECDSAP256', 'ECDSAP384', 'ECDSAP521', 'Ed25519']);
});

test('a scheme is found by its code, its key algorithm and its kind of key', () => {
  for (const scheme of SIGNATURE_SCHEMES) {
    assert.equal(schemeByCode(scheme.code), scheme);
    assert.equal(schemeByKeyAlgorithm(scheme.keyAlgorithm), scheme);
    assert.equal(schemeByKeyType(scheme.keyType, scheme.namedCurve), scheme);
  }
});

test('what is in no row is not found', () => {
  assert.equal(schemeByCode(0x0804), undefined);
  assert.equal(schemeByKeyType('rsa', undefined), undefined);
  assert.equal(schemeByKeyType('ec', 'secp256k1'), undefined);
  assert.equal(schemeByKeyType('ec', undefined), undefined, 'explicit curve parameters');
  assert.equal(schemeBySubjectPublicKeyInfo(new Uint8Array()), undefined);
});

test('a public key of the right length and another algorithm is not mistaken for one of the scheme', () => {
  for (const { spkiLength, spkiPrefix } of SIGNATURE_SCHEMES) {
    const spki = new Uint8Array(spkiLength);
    spki.set(spkiPrefix);
    assert.notEqual(schemeBySubjectPublicKeyInfo(spki), undefined);
    spki[spkiPrefix.length - 2] = 0xff;
    assert.equal(schemeBySubjectPublicKeyInfo(spki), undefined);
  }
});

test('leaves may sign with ECDSA keys only, whatever credentials may use', () => {
  const delegating = SIGNATURE_SCHEMES.filter(({ delegates }) => delegates).map(({ keyAlgorithm }) => keyAlgorithm);
  assert.deepEqual(delegating, ['ECDSAP256', 'ECDSAP384', 'ECDSAP521']);
});
