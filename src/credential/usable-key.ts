/** Whether a public key of the right kind is one at all. */
import { createPublicKey, ECDH } from 'node:crypto';
import type { SignatureScheme } from './scheme.ts';

/**
 * False for a point that is not on the curve. For EC without OpenSSL's decoder, which takes five times as long (110 us).
 * @param spki of the scheme's kind, DER
 */
export function isUsableKey(spki: Uint8Array, { namedCurve, spkiPrefix }: SignatureScheme): boolean {
  try {
    // The prefix ends in the first byte of the point.
    const point = spki.subarray(spkiPrefix.length - 1);
    if (namedCurve === undefined) createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    else ECDH.convertKey(point, namedCurve, undefined, undefined, 'uncompressed');
    return true;
  } catch {
    return false;
  }
}
