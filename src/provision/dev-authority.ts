/**
 * A CA and a delegation certificate for trying dcred out. The CA signs this one leaf: its key is never written anywhere, so that
 * nobody can be fooled by it later.
 */
import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
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
import { DELEGATION_USAGE_OID } from '../credential/extensions.ts';
import { commonNameOf, DELEGATION_USAGE_VALUE } from './x509-parts.ts';

export interface DevCertificateOptions {
  /** At least one. */
  readonly dnsNames: readonly string[];
  /** Seconds since the epoch. */
  readonly now: number;
  readonly lifetimeSeconds: number;
}

/** All PEM. */
export interface DevCertificate {
  /** What clients trust. */
  readonly authority: string;
  /** The leaf alone: the authority signs it directly. */
  readonly certificate: string;
  /** PKCS#8. */
  readonly key: string;
}

const ECDSA_P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/** Clients whose clock is behind accept it too. */
const BACKDATED_SECONDS = 3_600;

export async function makeDevCertificate(options: DevCertificateOptions): Promise<DevCertificate> {
  const { dnsNames, lifetimeSeconds, now } = options;
  const subject = commonNameOf(dnsNames);
  if (dnsNames.length === 0) throw new RangeError('a certificate needs one DNS name at least');
  cryptoProvider.set(webcrypto);
  const validity = {
    notBefore: new Date((now - BACKDATED_SECONDS) * 1000),
    notAfter: new Date((now + lifetimeSeconds) * 1000),
  };
  const [authorityKeys, leafKeys] = await Promise.all([generateKeys(), generateKeys()]);
  const authority = await X509CertificateGenerator.createSelfSigned({
    name: `CN=dcred dev CA ${randomBytes(4).toString('hex')} - do not trust`,
    keys: authorityKeys,
    ...validity,
    serialNumber: serialNumber(),
    signingAlgorithm: ECDSA_P256,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
      await SubjectKeyIdentifierExtension.create(authorityKeys.publicKey),
    ],
  });
  const leaf = await X509CertificateGenerator.create({
    subject: subject === undefined ? [] : [{ CN: [subject] }],
    issuer: authority.subject,
    publicKey: leafKeys.publicKey,
    signingKey: authorityKeys.privateKey,
    ...validity,
    serialNumber: serialNumber(),
    signingAlgorithm: ECDSA_P256,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
      new SubjectAlternativeNameExtension(
        dnsNames.map((value) => ({ type: 'dns', value }) as const),
        subject === undefined,
      ),
      new Extension(DELEGATION_USAGE_OID, false, DELEGATION_USAGE_VALUE),
      await AuthorityKeyIdentifierExtension.create(authorityKeys.publicKey),
    ],
  });
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', leafKeys.privateKey);
  return {
    authority: `${authority.toString('pem')}\n`,
    certificate: `${leaf.toString('pem')}\n`,
    key: `${PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`,
  };
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ECDSA_P256, true, ['sign', 'verify']);
}

/** Positive and of fixed length (RFC 5280 section 4.1.2.2). */
function serialNumber(): string {
  return `01${randomBytes(15).toString('hex')}`;
}
