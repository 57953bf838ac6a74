/**
 * A PKCS#10 request (RFC 2986) for a delegation certificate: it asks for DelegationUsage (RFC 9345 section 4.2) and digitalSignature,
 * which a CA may honour or ignore. The key may be anywhere: only its signature and its public half are here.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { CertificateError } from '../credential/errors.ts';
import { writePem } from '../credential/pem.ts';
import { PrivateKeyPemError, parsePrivateKeyPem } from '../credential/private-key-pem.ts';
import { schemeByKeyType, type Usage } from '../credential/scheme.ts';
import { type Signer, signerFromPem } from '../credential/signer.ts';
import { element, explicit, objectIdentifier, sequence, unsignedInteger } from './der-write.ts';
import { delegationExtensions, signatureAlgorithm, signed, subjectFor } from './x509-parts.ts';

export interface RequestKey {
  readonly signer: Signer;
  readonly publicKey: KeyObject;
}

export interface CertificateRequestOptions {
  readonly key: RequestKey;
  /** At least one. */
  readonly dnsNames: readonly string[];
  readonly usage: Usage;
  readonly signal: AbortSignal;
}

const EXTENSION_REQUEST = '1.2.840.113549.1.9.14';

/** The request as PEM. Throws what the signer throws. */
export async function certificateRequest({ dnsNames, key, signal, usage }: CertificateRequestOptions): Promise<string> {
  if (dnsNames.length === 0) throw new RangeError('a certificate request needs one DNS name at least');
  const extensions = sequence(...delegationExtensions(dnsNames, [usage]));
  const attribute = sequence(objectIdentifier(EXTENSION_REQUEST), element(0x31, extensions));
  const body = sequence(
    unsignedInteger(Uint8Array.of(0)),
    subjectFor(dnsNames),
    canonicalKey(key.publicKey),
    explicit(0, attribute),
  );
  const signature = await key.signer.sign(body, { signal });
  return writePem('CERTIFICATE REQUEST', signed(body, signatureAlgorithm(key.signer.scheme), signature));
}

/**
 * A SubjectPublicKeyInfo as TLS peers expect it: a named curve, an uncompressed point. OpenSSL reads a key with explicit parameters or a
 * compressed point as one of the same curve, and writes it as it was; a JWK (RFC 7518 section 6.2) holds a curve and two numbers.
 */
function canonicalKey(publicKey: KeyObject): Uint8Array {
  const jwk = publicKey.export({ format: 'jwk' });
  return createPublicKey({ key: jwk, format: 'jwk' }).export({ format: 'der', type: 'spki' });
}

/** Throws CertificateError for a key that cannot delegate. */
export function requestKeyFromPem(keyPem: string): RequestKey {
  const privateKey = parseKey(keyPem);
  const { asymmetricKeyDetails, asymmetricKeyType } = privateKey;
  if (schemeByKeyType(asymmetricKeyType, asymmetricKeyDetails?.namedCurve)?.delegates !== true) {
    throw new CertificateError(
      'CertificateKeyUnsupported',
      `expected an ECDSA P-256, P-384 or P-521 key, found ${asymmetricKeyType ?? 'another kind'}: Firefox refuses ` +
        'credentials signed with anything else (openssl ecparam -name prime256v1 -genkey -noout)',
    );
  }
  return { signer: signerFromPem(keyPem), publicKey: createPublicKey(privateKey) };
}

function parseKey(keyPem: string): KeyObject {
  try {
    return parsePrivateKeyPem(keyPem);
  } catch (error) {
    // The cause is dropped: OpenSSL's errors may quote what they read.
    const why = error instanceof PrivateKeyPemError ? `: ${error.message}` : '';
    throw new CertificateError(
      'CertificateInvalid',
      `the private key cannot be read${why}; expected an unencrypted EC key in PEM ("-----BEGIN PRIVATE KEY-----")`,
    );
  }
}
