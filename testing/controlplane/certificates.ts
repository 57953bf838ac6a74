import 'reflect-metadata';
import { generateKeyPairSync, randomBytes, type webcrypto } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';

/** A certificate and its private key (PKCS#8), both PEM. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** One CA for the API server's own certificate and for its clients: enough where one test owns all of them. */
export interface Authority {
  readonly certificate: string;
  /** Any number of host names and IP addresses. */
  issueServer(names: readonly string[]): Promise<KeyPair>;
  /** To Kubernetes the common name is the user and each organisation is a group. */
  issueClient(user: string, groups: readonly string[]): Promise<KeyPair>;
}

const ECDSA_P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 24 * 3_600_000;
const IP_ADDRESS = /^[\d.]+$|:/;

export async function createAuthority(now: Date): Promise<Authority> {
  const validity = { notBefore: new Date(now.getTime() - 3_600_000), notAfter: new Date(now.getTime() + 30 * DAY_MS) };
  const keys = await generateKeys();
  const name = 'CN=control plane test CA';
  const ca = await X509CertificateGenerator.createSelfSigned({
    name,
    keys,
    ...validity,
    serialNumber: serialNumber(),
    signingAlgorithm: ECDSA_P256,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  // Every authority has the same name, like kubeadm's: OpenSSL tells them apart by their keys alone.
  const authorityKey = await AuthorityKeyIdentifierExtension.create(keys.publicKey);

  async function issue(
    subject: readonly Record<string, string[]>[],
    usage: ExtendedKeyUsage,
    extensions: readonly SubjectAlternativeNameExtension[],
  ): Promise<KeyPair> {
    const leafKeys = await generateKeys();
    const leaf = await X509CertificateGenerator.create({
      subject: [...subject],
      issuer: name,
      publicKey: leafKeys.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: ECDSA_P256,
      ...validity,
      serialNumber: serialNumber(),
      extensions: [
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([usage]),
        authorityKey,
        ...extensions,
      ],
    });
    return { certificate: leaf.toString('pem'), key: await exportKey(leafKeys.privateKey) };
  }

  return {
    certificate: ca.toString('pem'),
    issueServer: (names) =>
      issue([{ CN: ['kube-apiserver'] }], ExtendedKeyUsage.serverAuth, [
        new SubjectAlternativeNameExtension(
          names.map((value) => ({ type: IP_ADDRESS.test(value) ? 'ip' : 'dns', value }) as const),
        ),
      ]),
    issueClient: (user, groups) =>
      issue([{ CN: [user] }, ...groups.map((group) => ({ O: [group] }))], ExtendedKeyUsage.clientAuth, []),
  };
}

/**
 * The key with which the API server signs service account tokens. P-256 in the SEC 1 form, because from that
 * Kubernetes takes the public half too (client-go `util/keyutil`), so that one file serves both of its flags.
 */
export function createSigningKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'sec1', format: 'pem' }).toString();
}

/** The addresses of this machine that other machines can reach, without link-local ones, which need a zone. */
export function ownAddresses(): readonly string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ address }) => address);
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(ECDSA_P256, true, ['sign', 'verify']);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return `${PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`;
}

/** Positive and of fixed length, as RFC 5280 section 4.1.2.2 requires. */
function serialNumber(): string {
  return `01${randomBytes(15).toString('hex')}`;
}
