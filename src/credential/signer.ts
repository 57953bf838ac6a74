/** What signs credentials: the delegation key, wherever it is kept, and the one that is read from PEM. */
import { type KeyObject, randomBytes, sign } from 'node:crypto';
import type { Certificate } from './certificate.ts';
import { CertificateError } from './errors.ts';
import { PrivateKeyPemError, parsePrivateKeyPem } from './private-key-pem.ts';
import { type SignatureScheme, schemeByKeyType } from './scheme.ts';
import { verifyWithNode } from './signature.ts';

/**
 * The delegation key, wherever it is kept: a file, a KMS, a PKCS#11 token. `sign` may be slow, rate-limited or fail; callers
 * retry. Nothing here exposes the key.
 */
export interface Signer {
  readonly scheme: SignatureScheme;
  /** Signs `message` by `scheme`: the scheme's hash included; ECDSA signatures as DER. */
  sign(message: Uint8Array, options: { readonly signal?: AbortSignal }): Promise<Uint8Array>;
}

/**
 * A signer for an unencrypted private key in PEM (SEC1 or PKCS#8).
 * Throws CertificateError `CertificateInvalid` or `CertificateKeyUnsupported`, never with a byte of the key. Keeps the parsed key,
 * and not the text.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readFileSync } from 'node:fs';
 * import { signerFromPem } from 'dcred/credential';
 *
 * const signer = signerFromPem(readFileSync('leaf.key', 'utf8'));
 * assert.equal(signer.scheme.name, 'ecdsa_secp256r1_sha256');
 * assert.ok((await signer.sign(Buffer.from('message'), {})).length > 64);
 */
export function signerFromPem(pem: string): Signer {
  const key = parseDelegationKey(pem);
  const { asymmetricKeyType, asymmetricKeyDetails } = key;
  const namedCurve = asymmetricKeyDetails?.namedCurve;
  const scheme = schemeByKeyType(asymmetricKeyType, namedCurve);
  if (scheme?.delegates !== true) {
    const kind = [asymmetricKeyType, namedCurve].filter((part) => part !== undefined).join(' ');
    throw new CertificateError(
      'CertificateKeyUnsupported',
      `the certificate's private key is of kind ${kind}; Firefox refuses credentials signed with anything but ECDSA P-256, P-384 ` +
        'or P-521: use a certificate with an ECDSA P-256 key',
    );
  }
  return {
    scheme,
    async sign(message, { signal }) {
      signal?.throwIfAborted();
      // The key alone: DER is the default, and an object around it costs Node an exception (40 us).
      return new Uint8Array(sign(scheme.hash, message, key));
    },
  };
}

/**
 * Proves that the signer holds the certificate's key, by a signature: the only way that also works for a key in a vault.
 * The probe cannot be mistaken for anything else: it is random, and does not begin as a credential's or a handshake's input does.
 * Throws CertificateError `CertificateInvalid`.
 *
 * @example
 * import { readFileSync } from 'node:fs';
 * import { assertSignerMatches, readDelegationCertificate, signerFromPem } from 'dcred/credential';
 *
 * const certificate = readDelegationCertificate(readFileSync('leaf.crt', 'utf8'));
 * await assertSignerMatches(signerFromPem(readFileSync('leaf.key', 'utf8')), certificate);
 */
export async function assertSignerMatches(
  signer: Signer,
  certificate: Pick<Certificate, 'keyAlgorithm' | 'publicKey' | 'subject'>,
  options: { readonly signal?: AbortSignal } = {},
): Promise<void> {
  const mismatch = (why: string) =>
    new CertificateError(
      'CertificateInvalid',
      `the private key does not belong to the certificate "${certificate.subject}" (${why}): store the key that the ` +
        'certificate was made for beside it (tls.key and tls.crt)',
    );
  const { keyAlgorithm } = signer.scheme;
  if (keyAlgorithm !== certificate.keyAlgorithm) {
    throw mismatch(`the key is ${keyAlgorithm}, the certificate's is ${certificate.keyAlgorithm ?? 'of another kind'}`);
  }
  const message = Buffer.concat([Buffer.from('dcred: does this key belong to this certificate?\0'), randomBytes(32)]);
  const signature = await signer.sign(message, options);
  if (verifyWithNode({ scheme: signer.scheme, publicKey: certificate.publicKey, message, signature })) return;
  throw mismatch('it is another key of the same kind');
}

function parseDelegationKey(pem: string): KeyObject {
  if (pem.trim() === '') {
    throw new CertificateError('CertificateInvalid', "the certificate's private key is empty: expected PEM (tls.key)");
  }
  try {
    return parsePrivateKeyPem(pem);
  } catch (error) {
    // The cause is dropped: OpenSSL's errors may quote what they read.
    const why = error instanceof PrivateKeyPemError ? `: ${error.message}` : '';
    throw new CertificateError(
      'CertificateInvalid',
      `the certificate's private key cannot be read${why}; expected an unencrypted EC key in PEM ("-----BEGIN PRIVATE KEY-----" or ` +
        '"-----BEGIN EC PRIVATE KEY-----")',
    );
  }
}
