/** ECDSA signatures of PKCS#11 (r and s side by side) as TLS has them: DER (RFC 3279 section 2.2.3). Pure. */
import { KeyError } from '../key-error.ts';

/** Throws KeyError where a token gave something else. */
export function derFromRaw(raw: Uint8Array): Uint8Array {
  if (raw.length === 0 || raw.length % 2 !== 0) {
    throw new KeyError('KeyUnusable', `expected r and s of one length from the token, found ${raw.length} bytes`);
  }
  const half = raw.length / 2;
  const content = Buffer.concat([integer(raw.subarray(0, half)), integer(raw.subarray(half))]);
  return Buffer.concat([header(0x30, content.length), content]);
}

/** An unsigned number as DER: without leading zeros, but with one where the first bit is set. */
function integer(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  const significant = first === -1 ? Uint8Array.of(0) : bytes.subarray(first);
  const padding = (significant[0] ?? 0) >= 0x80 ? Uint8Array.of(0) : new Uint8Array();
  return Buffer.concat([header(0x02, padding.length + significant.length), padding, significant]);
}

/** Lengths up to 255: P-521 needs 139. */
function header(tag: number, length: number): Uint8Array {
  return length < 0x80 ? Uint8Array.of(tag, length) : Uint8Array.of(tag, 0x81, length);
}
