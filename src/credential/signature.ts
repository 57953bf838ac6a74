/** Signature verification, pluggable: by node:crypto here, by a second implementation in `noble.ts`. */
import { type KeyObject, verify } from 'node:crypto';
import type { SignatureScheme } from './scheme.ts';

/** True when `signature` is `publicKey`'s over `message` by `scheme`; false for anything else, malformed or not. Never throws. */
export type VerifySignature = (claim: {
  readonly scheme: SignatureScheme;
  readonly publicKey: KeyObject;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}) => boolean;

/**
 * Signature verification by node:crypto (OpenSSL), about 70 us for P-256: the hot path. False for anything malformed.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { generateKeyPairSync, sign } from 'node:crypto';
 * import { schemeByKeyAlgorithm, verifyWithNode } from 'dcred/credential';
 *
 * const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
 * const message = Buffer.from('message');
 * const signature = sign('sha256', message, privateKey);
 * const scheme = schemeByKeyAlgorithm('ECDSAP256');
 * assert.equal(verifyWithNode({ scheme, publicKey, message, signature }), true);
 */
export const verifyWithNode: VerifySignature = ({ message, publicKey, scheme, signature }) => {
  try {
    // The key alone: DER is the default, and an object around it costs Node an exception (40 us).
    return verify(scheme.hash, message, publicKey, signature);
  } catch {
    return false;
  }
};
