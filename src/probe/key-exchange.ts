/** The groups for (EC)DHE that the probe has: one key share is sent, the other group is for a HelloRetryRequest. */
import { createECDH, createPublicKey, diffieHellman, generateKeyPairSync } from 'node:crypto';
import { TlsError } from './tls-error.ts';

/** RFC 8446 section 4.2.7. */
export const GROUPS = [
  { code: 0x001d, name: 'x25519' },
  { code: 0x0017, name: 'secp256r1' },
] as const;

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
  return group === 'x25519' ? generateX25519() : generateP256();
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

function generateP256(): KeyShare {
  const ecdh = createECDH('prime256v1');
  const publicKey = ecdh.generateKeys();
  return {
    group: 'secp256r1',
    code: 0x0017,
    publicKey,
    agree: (peer) =>
      agreeOr('secp256r1', () => {
        // RFC 8446 section 4.2.8.2: uncompressed points only.
        if (peer.length !== 65 || peer[0] !== 4) throw new RangeError('not an uncompressed point');
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
