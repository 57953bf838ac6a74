import { type KeyObject, verify } from 'node:crypto';
import type { SignatureScheme } from './scheme.ts';

/** True when `signature` is `publicKey`'s over `message` by `scheme`; false for anything else, malformed or not. Never throws. */
export type VerifySignature = (claim: {
  readonly scheme: SignatureScheme;
  readonly publicKey: KeyObject;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}) => boolean;

/** Signature verification by node:crypto (OpenSSL), about 70 us for P-256: the hot path. False for anything malformed. */
export const verifyWithNode: VerifySignature = ({ message, publicKey, scheme, signature }) => {
  try {
    return verify(scheme.hash, message, { key: publicKey, dsaEncoding: 'der' }, signature);
  } catch {
    return false;
  }
};
