/** A certificate authority for tests and the demo, and the delegation certificates that it signs. Made by @peculiar/x509. */
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

const DELEGATION_USAGE = '1.3.6.1.4.1.44363.44';
const ASN1_NULL = new Uint8Array([0x05, 0x00]);
const HASHES = { 'P-256': 'SHA-256', 'P-384': 'SHA-384', 'P-521': 'SHA-512' } as const;

interface LeafRequest {
  readonly curve?: keyof typeof HASHES;
  readonly dnsNames?: readonly string[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Default: true. */
  readonly delegationUsage?: boolean;
}

/** As a Secret of type kubernetes.io/tls holds them. */
export interface LeafFiles {
  /** The leaf, then the authority. */
  readonly certificatePem: string;
  /** PKCS#8. */
  readonly keyPem: string;
}

export interface TestAuthority {
  readonly certificatePem: string;
  issue(request?: LeafRequest): Promise<LeafFiles>;
  /** A leaf for a key that is kept elsewhere, PEM with the authority. `publicKey`: SubjectPublicKeyInfo. */
  certify(publicKey: Uint8Array<ArrayBuffer>, request?: LeafRequest): Promise<string>;
}

const HOUR_MS = 3_600_000;

export async function createTestAuthority(name = 'dcred test CA'): Promise<TestAuthority> {
  x509.cryptoProvider.set(webcrypto);
  const keys = await generate('P-256');
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    keys,
    notBefore: new Date(Date.now() - 24 * HOUR_MS),
    notAfter: new Date(Date.now() + 365 * 24 * HOUR_MS),
    signingAlgorithm: signing('P-256'),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  const certificatePem = `${certificate.toString('pem')}\n`;
  const certify: Certify = async (publicKey, request) => {
    const leaf = await makeLeaf(certificate, keys.privateKey, publicKey, request);
    return `${leaf.toString('pem')}\n${certificatePem}`;
  };
  return {
    certificatePem,
    issue: (request = {}) => issueLeaf(certify, request),
    certify: (publicKey, request = {}) => certify(publicKey, request),
  };
}

type PublicKey = webcrypto.CryptoKey | Uint8Array<ArrayBuffer>;
type Certify = (publicKey: PublicKey, request: LeafRequest) => Promise<string>;

async function issueLeaf(certify: Certify, request: LeafRequest): Promise<LeafFiles> {
  const keys = await generate(request.curve ?? 'P-256');
  return { certificatePem: await certify(keys.publicKey, request), keyPem: await privateKeyPem(keys.privateKey) };
}

function makeLeaf(
  authority: x509.X509Certificate,
  authorityKey: webcrypto.CryptoKey,
  publicKey: PublicKey,
  request: LeafRequest,
): Promise<x509.X509Certificate> {
  const { delegationUsage = true, dnsNames = ['web.example'] } = request;
  return x509.X509CertificateGenerator.create({
    subject: `CN=${dnsNames[0]}`,
    issuer: authority.subject,
    publicKey,
    signingKey: authorityKey,
    signingAlgorithm: signing('P-256'),
    notBefore: request.notBefore ?? new Date(Date.now() - HOUR_MS),
    notAfter: request.notAfter ?? new Date(Date.now() + 90 * 24 * HOUR_MS),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension(dnsNames.map((value) => ({ type: 'dns', value }))),
      ...(delegationUsage ? [new x509.Extension(DELEGATION_USAGE, false, ASN1_NULL)] : []),
    ],
  });
}

function generate(namedCurve: keyof typeof HASHES): Promise<webcrypto.CryptoKeyPair> {
  const algorithm = { name: 'ECDSA', namedCurve };
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

function signing(curve: keyof typeof HASHES): webcrypto.EcdsaParams {
  return { name: 'ECDSA', hash: HASHES[curve] };
}

async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = await webcrypto.subtle.exportKey('pkcs8', key);
  return `${x509.PemConverter.encode(der, 'PRIVATE KEY')}\n`;
}
