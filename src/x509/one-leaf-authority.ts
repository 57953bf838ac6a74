/** A CA that signs one leaf, and whose key is then discarded: nobody can be fooled by it later (docs/adr/0006). */
import 'reflect-metadata';
import { randomBytes, type webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';

export interface OneLeafRequest {
  /** The CA's common name. */
  readonly authorityName: string;
  /** The leaf's; without one its subject is empty, and its names are critical (RFC 5280 section 4.2.1.6). */
  readonly commonName?: string | undefined;
  /** One at least. */
  readonly names: readonly { readonly type: 'dns' | 'ip'; readonly value: string }[];
  readonly purposes: readonly ('clientAuth' | 'serverAuth')[];
  /** Not critical, beside those of every leaf. */
  readonly extensions?: readonly { readonly oid: string; readonly value: Uint8Array<ArrayBuffer> }[];
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly lifetimeMs: number;
}

/** All PEM. */
export interface OneLeaf {
  /** What peers trust. */
  readonly authority: string;
  /** Alone: the authority signs it directly. */
  readonly certificate: string;
  /** PKCS#8. */
  readonly key: string;
}

const ECDSA_P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/** A certificate is valid from so long before it is made: a peer whose clock is behind accepts it too. */
export const BACKDATED_MS = 3_600_000;

/** Two keys, two certificates: about 10 ms. */
export async function issueOneLeaf(request: OneLeafRequest): Promise<OneLeaf> {
  const { authorityName, commonName, extensions = [], lifetimeMs, names, now, purposes } = request;
  const [authorityKeys, leafKeys] = await Promise.all([generateKeys(), generateKeys()]);
  const common = {
    notBefore: new Date(now - BACKDATED_MS),
    notAfter: new Date(now + lifetimeMs),
    signingAlgorithm: ECDSA_P256,
  };
  const authority = await X509CertificateGenerator.createSelfSigned({
    ...common,
    name: [{ CN: [authorityName] }],
    keys: authorityKeys,
    serialNumber: serialNumber(),
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
      await SubjectKeyIdentifierExtension.create(authorityKeys.publicKey),
    ],
  });
  const leaf = await X509CertificateGenerator.create({
    ...common,
    subject: commonName === undefined ? [] : [{ CN: [commonName] }],
    issuer: authority.subject,
    publicKey: leafKeys.publicKey,
    signingKey: authorityKeys.privateKey,
    serialNumber: serialNumber(),
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension(purposes.map((purpose) => ExtendedKeyUsage[purpose])),
      new SubjectAlternativeNameExtension([...names], commonName === undefined),
      ...extensions.map(({ oid, value }) => new Extension(oid, false, value)),
      await AuthorityKeyIdentifierExtension.create(authorityKeys.publicKey),
    ],
  });
  const pkcs8 = await crypto.subtle.exportKey('pkcs8', leafKeys.privateKey);
  return {
    authority: `${authority.toString('pem')}\n`,
    certificate: `${leaf.toString('pem')}\n`,
    key: `${PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`,
  };
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(ECDSA_P256, true, ['sign', 'verify']);
}

/** Positive and of fixed length (RFC 5280 section 4.1.2.2). */
function serialNumber(): string {
  return `01${randomBytes(15).toString('hex')}`;
}
