/** The credential key: made fresh, or read from PEM (RFC 9345 calls it the credential's public and private key). */
import {
  createECDH,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { promisify } from 'node:util';
import { CredentialKeyError } from './errors.ts';
import { writePem } from './pem.ts';
import { PrivateKeyPemError, parsePrivateKeyPem } from './private-key-pem.ts';
import {
  KEY_ALGORITHMS,
  type KeyAlgorithm,
  type RawKeyEncoding,
  type SignatureScheme,
  schemeByKeyAlgorithm,
  schemeByKeyType,
} from './scheme.ts';

/** The short-lived key that a credential is made for: the pod's. */
export interface CredentialKey {
  readonly algorithm: KeyAlgorithm;
  readonly privateKey: KeyObject;
  /** The public half, DER. */
  readonly subjectPublicKeyInfo: Uint8Array;
  /** The private half, PEM `PRIVATE KEY`. A method, so that no logger or assertion prints it by accident. */
  pkcs8Pem(): string;
}

const generateKeyPairAsync = promisify(generateKeyPair);

/**
 * A fresh key from the system's randomness. 40 to 80 us for P-256 and Ed25519, made at once: a thread of the pool would add twice that, and
 * on a busy machine milliseconds of waiting for its turn. 1 to 2 ms of such a thread for P-384 and P-521.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { generateCredentialKey } from 'dcred/credential';
 *
 * const key = await generateCredentialKey('ECDSAP256');
 * assert.equal(key.subjectPublicKeyInfo.length, 91);
 */
export async function generateCredentialKey(algorithm: KeyAlgorithm): Promise<CredentialKey> {
  const scheme = schemeByKeyAlgorithm(algorithm);
  const { keyType, namedCurve, rawKeys, syncKeygen } = scheme;
  if (rawKeys !== undefined && namedCurve !== undefined) return rawKey(scheme, namedCurve, rawKeys);
  // node's types know the kinds of keys one by one.
  const [kind, options] = [keyType as 'ec', (namedCurve === undefined ? {} : { namedCurve }) as { namedCurve: string }];
  const { privateKey, publicKey } = syncKeygen
    ? generateKeyPairSync(kind, options)
    : await generateKeyPairAsync(kind, options);
  return credentialKey(privateKey, algorithm, publicKey);
}

/**
 * Reads an unencrypted private key in PEM, PKCS#8 or SEC1, of at most 64 KiB. Throws CredentialKeyError.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readFileSync } from 'node:fs';
 * import { credentialKeyFromPem } from 'dcred/credential';
 *
 * assert.equal(credentialKeyFromPem(readFileSync('p256.key', 'utf8')).algorithm, 'ECDSAP256');
 */
export function credentialKeyFromPem(pem: string): CredentialKey {
  const privateKey = parsePrivateKey(pem);
  const { asymmetricKeyType, asymmetricKeyDetails } = privateKey;
  const scheme = schemeByKeyType(asymmetricKeyType, asymmetricKeyDetails?.namedCurve);
  if (scheme === undefined) {
    const kind = [asymmetricKeyType, asymmetricKeyDetails?.namedCurve].filter((part) => part !== undefined).join(' ');
    throw new CredentialKeyError(
      'KeyUnsupported',
      `a credential key is one of ${KEY_ALGORITHMS.join(', ')}; this one is of kind ${kind}`,
    );
  }
  return credentialKey(privateKey, scheme.keyAlgorithm, createPublicKey(privateKey));
}

/**
 * The same key as OpenSSL would make and write: its encoders take three times as long as making the key does (280 us, against 80 for
 * all of this), and a P-256 key is a template with two numbers in it.
 */
function rawKey(
  { keyAlgorithm: algorithm, spkiPrefix }: SignatureScheme,
  namedCurve: string,
  { privateLength, pkcs8Middle, pkcs8Prefix }: RawKeyEncoding,
): CredentialKey {
  const pair = createECDH(namedCurve);
  // Uncompressed: 0x04 and both coordinates; the prefix of the SubjectPublicKeyInfo ends in that 0x04.
  const point = pair.generateKeys();
  const secret = pair.getPrivateKey();
  // A number: without its leading zeros.
  const padding = Buffer.alloc(privateLength - secret.length);
  const pkcs8 = Buffer.concat([pkcs8Prefix, padding, secret, pkcs8Middle, point]);
  const pem = writePem('PRIVATE KEY', pkcs8);
  return {
    algorithm,
    get privateKey() {
      return createPrivateKey(pem);
    },
    subjectPublicKeyInfo: Uint8Array.from(Buffer.concat([spkiPrefix, point.subarray(1)])),
    pkcs8Pem: () => pem,
  };
}

function credentialKey(privateKey: KeyObject, algorithm: KeyAlgorithm, publicKey: KeyObject): CredentialKey {
  let pem: string | undefined;
  return {
    algorithm,
    privateKey,
    subjectPublicKeyInfo: Uint8Array.from(publicKey.export({ type: 'spki', format: 'der' })),
    pkcs8Pem: () => {
      pem ??= privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
      return pem;
    },
  };
}

function parsePrivateKey(pem: string): KeyObject {
  try {
    return parsePrivateKeyPem(pem);
  } catch (error) {
    // The cause is dropped: OpenSSL's errors have been known to quote what they read.
    const why = error instanceof PrivateKeyPemError ? error.message : 'it cannot be parsed';
    throw new CredentialKeyError('KeyInvalid', `expected an unencrypted private key in PEM (PKCS#8 or SEC1): ${why}`);
  }
}
