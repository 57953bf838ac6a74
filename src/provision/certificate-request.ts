/**
 * A PKCS#10 request for a delegation certificate: it asks for DelegationUsage (RFC 9345 section 4.2) and digitalSignature, which
 * a CA may honour or ignore. With it goes what a CA needs that takes extensions from its own configuration and not from requests.
 */
import 'reflect-metadata';
import { createPrivateKey, createPublicKey, type KeyObject, webcrypto } from 'node:crypto';
import {
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
} from '@peculiar/x509';
import { CertificateError } from '../credential/errors.ts';
import { type SignatureScheme, schemeByKeyType, type Usage } from '../credential/scheme.ts';

export const DELEGATION_USAGE_OID = '1.3.6.1.4.1.44363.44';
/** ASN.1 NULL. */
export const DELEGATION_USAGE_VALUE = Uint8Array.of(0x05, 0x00);

export interface CertificateRequestOptions {
  /** PEM, unencrypted. */
  readonly keyPem: string;
  /** At least one. */
  readonly dnsNames: readonly string[];
  readonly usage: Usage;
}

/** The request as PEM. Throws CertificateError for a key that cannot delegate. */
export async function certificateRequest({ dnsNames, keyPem, usage }: CertificateRequestOptions): Promise<string> {
  const [subject] = dnsNames;
  if (subject === undefined) throw new RangeError('a certificate request needs one DNS name at least');
  cryptoProvider.set(webcrypto);
  const { algorithm, keys } = await importKeys(keyPem);
  const request = await Pkcs10CertificateRequestGenerator.create({
    // RFC 5280 allows 64 characters for a common name; the names that count are in the extension.
    name: subject.length <= 64 ? [{ CN: [subject] }] : [],
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([extendedKeyUsage(usage)]),
      new SubjectAlternativeNameExtension(dnsNames.map((value) => ({ type: 'dns', value }) as const)),
      new Extension(DELEGATION_USAGE_OID, false, DELEGATION_USAGE_VALUE),
    ],
  });
  return `${request.toString('pem')}\n`;
}

function extendedKeyUsage(usage: Usage): ExtendedKeyUsage {
  return usage === 'Server' ? ExtendedKeyUsage.serverAuth : ExtendedKeyUsage.clientAuth;
}

/** WebCrypto's names, which differ from node:crypto's. */
const CURVES: Readonly<Record<string, 'P-256' | 'P-384' | 'P-521'>> = {
  prime256v1: 'P-256',
  secp384r1: 'P-384',
  secp521r1: 'P-521',
};
const HASHES = { sha256: 'SHA-256', sha384: 'SHA-384', sha512: 'SHA-512' } as const;

async function importKeys(
  keyPem: string,
): Promise<{ readonly keys: webcrypto.CryptoKeyPair; readonly algorithm: webcrypto.EcdsaParams }> {
  const privateKey = parseKey(keyPem);
  const scheme = schemeOf(privateKey);
  const namedCurve = CURVES[scheme?.namedCurve ?? ''];
  if (scheme?.delegates !== true || namedCurve === undefined || scheme.hash === null) {
    throw new CertificateError(
      'CertificateKeyUnsupported',
      `expected an ECDSA P-256, P-384 or P-521 key, found ${privateKey.asymmetricKeyType ?? 'another kind'}: Firefox refuses ` +
        'credentials signed with anything else (openssl ecparam -name prime256v1 -genkey -noout)',
    );
  }
  const algorithm = { name: 'ECDSA', namedCurve };
  const pkcs8 = privateKey.export({ format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return {
    keys: {
      privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']),
      publicKey: await webcrypto.subtle.importKey('spki', spki, algorithm, true, ['verify']),
    },
    algorithm: { name: 'ECDSA', hash: HASHES[scheme.hash] },
  };
}

function schemeOf({ asymmetricKeyDetails, asymmetricKeyType }: KeyObject): SignatureScheme | undefined {
  return schemeByKeyType(asymmetricKeyType, asymmetricKeyDetails?.namedCurve);
}

function parseKey(keyPem: string): KeyObject {
  try {
    return createPrivateKey(keyPem);
  } catch {
    // The cause is dropped: OpenSSL's errors may quote what they read.
    throw new CertificateError(
      'CertificateInvalid',
      'the private key cannot be read: expected an unencrypted EC key in PEM ("-----BEGIN PRIVATE KEY-----")',
    );
  }
}
