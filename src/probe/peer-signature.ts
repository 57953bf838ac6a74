/** Verification of CertificateVerify (RFC 8446 section 4.4.3) for the schemes that the probe offers. */
import { constants, type KeyObject, verify } from 'node:crypto';

interface PeerScheme {
  readonly code: number;
  /** The registry's name (RFC 8446 section 4.2.3). */
  readonly name: string;
  readonly hash: 'sha256' | 'sha384' | 'sha512' | null;
  readonly keyType: 'ec' | 'ed25519' | 'rsa' | 'rsa-pss';
  /** For EC keys: node:crypto's name for the curve that TLS 1.3 binds the scheme to. */
  readonly curve?: string;
}

/** In the order in which they are offered. */
export const PEER_SCHEMES: readonly PeerScheme[] = [
  { code: 0x0403, name: 'ecdsa_secp256r1_sha256', hash: 'sha256', keyType: 'ec', curve: 'prime256v1' },
  { code: 0x0503, name: 'ecdsa_secp384r1_sha384', hash: 'sha384', keyType: 'ec', curve: 'secp384r1' },
  { code: 0x0603, name: 'ecdsa_secp521r1_sha512', hash: 'sha512', keyType: 'ec', curve: 'secp521r1' },
  { code: 0x0807, name: 'ed25519', hash: null, keyType: 'ed25519' },
  { code: 0x0804, name: 'rsa_pss_rsae_sha256', hash: 'sha256', keyType: 'rsa' },
  { code: 0x0805, name: 'rsa_pss_rsae_sha384', hash: 'sha384', keyType: 'rsa' },
  { code: 0x0806, name: 'rsa_pss_rsae_sha512', hash: 'sha512', keyType: 'rsa' },
  { code: 0x0809, name: 'rsa_pss_pss_sha256', hash: 'sha256', keyType: 'rsa-pss' },
  { code: 0x080a, name: 'rsa_pss_pss_sha384', hash: 'sha384', keyType: 'rsa-pss' },
  { code: 0x080b, name: 'rsa_pss_pss_sha512', hash: 'sha512', keyType: 'rsa-pss' },
];

/** For certificates only: no server may sign the handshake by them, and most chains have one (RFC 8446 section 4.2.3). */
export const CERTIFICATE_ONLY_SCHEMES: readonly number[] = [0x0401, 0x0501, 0x0601];

/** The schemes of credential keys that RFC 9345 allows and clients offer; never rsa_pss_rsae. */
export const CREDENTIAL_SCHEMES: readonly number[] = [0x0403, 0x0503, 0x0603, 0x0807];

function peerScheme(code: number): PeerScheme | undefined {
  return PEER_SCHEMES.find((scheme) => scheme.code === code);
}

/** What a scheme is called: its registry name, or its value in hex. */
export function schemeName(code: number): string {
  return peerScheme(code)?.name ?? `0x${code.toString(16).padStart(4, '0')}`;
}

const CONTEXT = Buffer.from(`${' '.repeat(64)}TLS 1.3, server CertificateVerify\0`, 'latin1');

/** Whether `key` made the signature over the transcript; false as well where the scheme is not one of such a key. */
export function verifyServerSignature(
  code: number,
  key: KeyObject,
  transcriptHash: Uint8Array,
  signature: Uint8Array,
): boolean {
  const scheme = peerScheme(code);
  if (scheme === undefined || scheme.keyType !== key.asymmetricKeyType) return false;
  if (scheme.curve !== undefined && scheme.curve !== key.asymmetricKeyDetails?.namedCurve) return false;
  const padding =
    scheme.keyType === 'rsa' || scheme.keyType === 'rsa-pss'
      ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
      : {};
  try {
    return verify(scheme.hash, Buffer.concat([CONTEXT, transcriptHash]), { key, ...padding }, signature);
  } catch {
    // OpenSSL throws, instead of answering no, for a key whose parameters forbid the scheme.
    return false;
  }
}
