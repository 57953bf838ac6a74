/**
 * The webhook's serving certificate: a leaf, and a CA that signs this one leaf and whose key is then discarded. Every new leaf
 * comes with a new CA, so there is one rotation and not two, and a reader of the Secret can impersonate this server until the
 * leaf expires, and no other.
 */
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { createSecureContext } from 'node:tls';
import { BACKDATED_MS, issueOneLeaf } from '../../x509/one-leaf-authority.ts';
import { AUTHORITY_NAME, readBundle } from './trust-bundle.ts';

/** Times in milliseconds since the epoch. */
export interface ServingCertificate {
  readonly authorityPem: string;
  /** SHA-256 of the CA certificate. */
  readonly authorityId: string;
  readonly certificatePem: string;
  /** PKCS#8. */
  readonly keyPem: string;
  readonly issuedAt: number;
  /** With a third of its life left. */
  readonly renewAt: number;
  readonly notAfter: number;
}

export interface CertificateFiles {
  readonly 'ca.crt': string;
  readonly 'tls.crt': string;
  readonly 'tls.key': string;
}

export interface ServingCertificateRequest {
  /** DNS names and IP addresses; one at least. */
  readonly names: readonly string[];
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly lifetimeMs: number;
}

/** Makes a new one, with a new CA: about 10 ms. */
export async function makeCertificate({
  lifetimeMs,
  names,
  now,
}: ServingCertificateRequest): Promise<CertificateFiles> {
  const { authority, certificate, key } = await issueOneLeaf({
    // Unique: verifiers look an issuer up by name in a bundle of several.
    authorityName: `${AUTHORITY_NAME} ${randomBytes(8).toString('hex')}`,
    commonName: 'dcred webhook',
    names: names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }) as const),
    purposes: ['serverAuth'],
    now,
    lifetimeMs,
  });
  return { 'ca.crt': authority, 'tls.crt': certificate, 'tls.key': key };
}

/** The certificate in the files, or why it cannot be used now under these names. The reason never quotes the files. */
export function readServingCertificate(
  files: Partial<CertificateFiles>,
  names: readonly string[],
  now: number,
): ServingCertificate | string {
  const { 'ca.crt': authorityPem, 'tls.crt': certificatePem, 'tls.key': keyPem } = files;
  if (!authorityPem || !certificatePem || !keyPem) return 'it is incomplete';
  try {
    const [authority, leaf] = [new X509Certificate(authorityPem), new X509Certificate(certificatePem)];
    // Another one would never be found in the bundle again, and be added to it for ever.
    if (readBundle(authorityPem)[0]?.id !== authority.fingerprint256) return 'its CA is not one that dcred made';
    if (!leaf.checkPrivateKey(createPrivateKey(keyPem))) return 'its key does not match its certificate';
    if (!leaf.verify(authority.publicKey)) return 'it is not signed by its CA';
    const missing = names.find((name) => (isIP(name) === 0 ? leaf.checkHost(name) : leaf.checkIP(name)) === undefined);
    if (missing !== undefined) return 'it does not cover the required DNS names';
    const [issuedAt, notAfter] = [leaf.validFromDate.getTime() + BACKDATED_MS, leaf.validToDate.getTime()];
    if (notAfter <= now) return 'it has expired';
    if (leaf.validFromDate.getTime() > now) return 'it is not yet valid';
    // Stricter than what has been parsed so far: the whole chain, and a key that OpenSSL finds long enough.
    createSecureContext({ cert: certificatePem, key: keyPem });
    return {
      authorityPem,
      authorityId: authority.fingerprint256,
      certificatePem,
      keyPem,
      issuedAt,
      renewAt: notAfter - (notAfter - issuedAt) / 3,
      notAfter,
    };
  } catch {
    // A parser's message could quote what it has read.
    return 'it cannot be parsed, or not be served';
  }
}
