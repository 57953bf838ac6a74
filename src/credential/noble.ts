/** Signature verification by a second, independent implementation. */
import { ed25519 } from '@noble/curves/ed25519.js';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import type { KeyAlgorithm } from './scheme.ts';
import type { VerifySignature } from './signature.ts';

type Verifier = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => boolean;

/** TLS allows high-S signatures, and OpenSSL makes them half of the time; each curve's own hash is the one TLS binds it to. */
const ECDSA = { format: 'der', lowS: false, prehash: true } as const;

const VERIFIERS: Readonly<Record<KeyAlgorithm, Verifier>> = {
  ECDSAP256: (signature, message, publicKey) => p256.verify(signature, message, publicKey, ECDSA),
  ECDSAP384: (signature, message, publicKey) => p384.verify(signature, message, publicKey, ECDSA),
  ECDSAP521: (signature, message, publicKey) => p521.verify(signature, message, publicKey, ECDSA),
  // RFC 8032 verification without the cofactor's leniency, as OpenSSL does it.
  Ed25519: (signature, message, publicKey) => ed25519.verify(signature, message, publicKey, { zip215: false }),
};

/**
 * Signature verification by @noble/curves: shares no code with OpenSSL, takes 2 ms for P-256. For tests and `dcred verify`.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readFileSync } from 'node:fs';
 * import { readDelegationCertificate, verifyCredential } from 'dcred/credential';
 * import { verifyWithNoble } from 'dcred/credential/noble';
 *
 * const certificate = readDelegationCertificate(readFileSync('leaf.crt', 'utf8'));
 * const now = Date.parse('2026-11-22T22:00:00Z') / 1000;
 * const request = { bytes: readFileSync('p256.dc'), certificate, usage: 'Server', now } as const;
 * assert.equal(verifyCredential({ ...request, verifySignature: verifyWithNoble }).ok, true);
 */
export const verifyWithNoble: VerifySignature = ({ message, publicKey, scheme, signature }) => {
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  // An EC point begins with the prefix's last byte, 0x04; an Ed25519 key after the whole prefix.
  const keyStart = scheme.keyType === 'ec' ? scheme.spkiPrefix.length - 1 : scheme.spkiPrefix.length;
  try {
    return VERIFIERS[scheme.keyAlgorithm](signature, message, Uint8Array.from(spki.subarray(keyStart)));
  } catch {
    return false;
  }
};
