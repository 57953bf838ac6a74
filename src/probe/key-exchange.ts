/** The groups for (EC)DHE that the probe has: one key share is sent, the other groups are for a HelloRetryRequest. */
import { createECDH, createPublicKey, diffieHellman, generateKeyPairSync } from 'node:crypto';
import { TlsError } from './tls-error.ts';

/** RFC 8446 section 4.2.8.2: a point is a byte for its form and two coordinates. `curve`: OpenSSL's name. */
const CURVES = [
  { code: 0x0017, name: 'secp256r1', curve: 'prime256v1', pointBytes: 65 },
  { code: 0x0018, name: 'secp384r1', curve: 'secp384r1', pointBytes: 97 },
  { code: 0x0019, name: 'secp521r1', curve: 'secp521r1', pointBytes: 133 },
] as const;

/** RFC 8446 section 4.2.7, in the order in which they are offered. */
export const GROUPS = [{ code: 0x001d, name: 'x25519' }, ...CURVES] as const;

export type GroupName = (typeof GROUPS)[number]['name'];

export interface KeyShare {
  readonly group: GroupName;
  readonly code: number;
  /** As key_exchange carries it. */
  readonly publicKey: Uint8Array;
  /** The shared secret with the server's key_exchange. Throws TlsError for what is no public key of the group. */
  agree(peer: Uint8Array): Uint8Array;
}

/** SubjectPublicKeyInfo of X25519 up to the key itself (RFC 8410 section 4). */
const X25519_SPKI_PREFIX = Buffer.from('302a300506032b656e032100', 'hex');

export function generateKeyShare(group: GroupName): KeyShare {
  const curve = CURVES.find(({ name }) => name === group);
  return curve === undefined ? generateX25519() : generateOnCurve(curve);
}

function generateX25519(): KeyShare {
  const { privateKey, publicKey } = generateKeyPairSync('x25519');
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return {
    group: 'x25519',
    code: 0x001d,
    publicKey: spki.subarray(X25519_SPKI_PREFIX.length),
    agree: (peer) =>
      agreeOr('x25519', () => {
        if (peer.length !== 32) throw new RangeError(`${peer.length} bytes`);
        const key = createPublicKey({ key: Buffer.concat([X25519_SPKI_PREFIX, peer]), format: 'der', type: 'spki' });
        // OpenSSL refuses an all-zero result, as RFC 8446 section 7.4.2 asks.
        return diffieHellman({ privateKey, publicKey: key });
      }),
  };
}

function generateOnCurve({ code, curve, name: group, pointBytes }: (typeof CURVES)[number]): KeyShare {
  const ecdh = createECDH(curve);
  const publicKey = ecdh.generateKeys();
  return {
    group,
    code,
    publicKey,
    agree: (peer) =>
      agreeOr(group, () => {
        // Uncompressed points only (RFC 8446 section 4.2.8.2).
        if (peer.length !== pointBytes || peer[0] !== 4) throw new RangeError('not an uncompressed point');
        return ecdh.computeSecret(peer);
      }),
  };
}

function agreeOr(group: GroupName, agree: () => Uint8Array): Uint8Array {
  try {
    return agree();
  } catch (cause) {
    throw new TlsError('Malformed', `the server's key share is not a public key of ${group}`, { cause });
  }
}
