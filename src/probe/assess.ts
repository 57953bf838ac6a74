/** What to think of what a server served: chain, name and credential, each check with its outcome. Pure. */
import { createHash, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { type Certificate, readCertificate } from '../credential/certificate.ts';
import { CertificateError } from '../credential/errors.ts';
import { findTrustPath } from '../credential/trust-path.ts';
import { type VerifyResult, verifyCredential } from '../credential/verify.ts';
import { decodeDelegatedCredential } from '../credential/wire.ts';
import { firstItems, printable, printableList } from '../text/printable.ts';
import type { HandshakeOutcome } from './handshake.ts';
import { schemeName } from './peer-signature.ts';
import type { TrustedRoots } from './roots.ts';

interface Check {
  /** A short statement that should hold. */
  readonly name: string;
  readonly ok: boolean;
  /** What was found; where it does not hold, what to do. */
  readonly message: string;
}

interface ServedCertificate {
  readonly sha256: string;
  readonly subject: string;
  /** The first of them. */
  readonly dnsNames: readonly string[];
  readonly dnsNamesOmitted: number;
  readonly key: string;
  /** Seconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Whether it carries DelegationUsage: without it no client may take a credential. */
  readonly canDelegate: boolean;
  readonly chainLength: number;
}

interface ServedCredential {
  /** SHA-256 of struct DelegatedCredential: the same as of the Secret's `dc.bin`. */
  readonly sha256: string;
  /** SHA-256 of the credential key's SubjectPublicKeyInfo. */
  readonly publicKeySha256: string;
  /** Seconds since the epoch. */
  readonly expiresAt: number;
  readonly dcCertVerifyAlgorithm: string;
  /** By which the certificate's key signed it. */
  readonly algorithm: string;
}

export interface Assessment {
  readonly certificate: ServedCertificate;
  readonly credential: ServedCredential | undefined;
  readonly checks: readonly Check[];
}

export interface AssessOptions {
  /** Undefined: the chain is not verified. */
  readonly roots: TrustedRoots | undefined;
  /** The DNS name or IP address that the certificate must be for. Undefined: any. */
  readonly name: string | undefined;
  /** Seconds since the epoch. */
  readonly now: number;
}

const MAX_DNS_NAMES = 100;

/** Throws CertificateError where the leaf cannot be read at all. Of the others, those that cannot be read lead nowhere, as in clients. */
export function assess(outcome: HandshakeOutcome, options: AssessOptions): Assessment {
  const [leafDer, ...others] = outcome.certificates;
  const leaf = readServed(leafDer, `certificate 1 of ${outcome.certificates.length} from the server`);
  const { omitted: dnsNamesOmitted, shown: dnsNames } = firstItems(leaf.dnsNames, MAX_DNS_NAMES);
  const result = outcome.credential === undefined ? undefined : verify(outcome.credential, leaf, options.now);
  return {
    certificate: {
      sha256: leaf.sha256,
      subject: printable(leaf.subject),
      dnsNames: dnsNames.map((name) => printable(name)),
      dnsNamesOmitted,
      key: leaf.keyDescription,
      notBefore: leaf.notBefore,
      notAfter: leaf.notAfter,
      canDelegate: leaf.delegationUsage === 'present',
      chainLength: outcome.certificates.length,
    },
    credential: outcome.credential === undefined ? undefined : describe(outcome.credential, leaf),
    checks: [
      ...(options.roots === undefined ? [] : [checkChain(leaf, others, options.roots, options.now)]),
      ...(options.name === undefined ? [] : [checkName(leaf, options.name)]),
      ...(result === undefined ? [] : result.checks.map(({ message, name, ok }) => ({ name, ok, message }))),
    ],
  };
}

function readServed(der: Uint8Array, where: string): Certificate {
  return readCertificate(der, { chainPem: '', leafPem: '', where });
}

/** A server may send more than its path, such as a root of an algorithm that is new. */
function readIfPossible(der: Uint8Array): readonly Certificate[] {
  try {
    return [readServed(der, 'a certificate of the chain')];
  } catch (error) {
    if (error instanceof CertificateError) return [];
    throw error;
  }
}

function verify(bytes: Uint8Array, certificate: Certificate, now: number): VerifyResult {
  return verifyCredential({ bytes, certificate, usage: 'Server', now });
}

function describe(bytes: Uint8Array, leaf: Certificate): ServedCredential {
  const credential = decodeDelegatedCredential(bytes);
  return {
    sha256: sha256(bytes),
    publicKeySha256: sha256(credential.subjectPublicKeyInfo),
    expiresAt: leaf.notBefore + credential.validTime,
    dcCertVerifyAlgorithm: schemeName(credential.dcCertVerifyAlgorithm),
    algorithm: schemeName(credential.algorithm),
  };
}

function checkChain(leaf: Certificate, others: readonly Uint8Array[], roots: TrustedRoots, now: number): Check {
  const name = 'the chain leads to a trusted CA';
  const chain = others.flatMap(readIfPossible);
  const path =
    findTrustPath(leaf, chain, roots.named([leaf, ...chain]), now) ?? findTrustPath(leaf, chain, roots.all(), now);
  if (path !== undefined) return { name, ok: true, message: `${path.length} certificates` };
  const unread = others.length - chain.length;
  const message =
    `no valid path from "${printable(leaf.subject)}" through the ${others.length} other certificates that the server sent ` +
    `${unread === 0 ? '' : `(${unread} of them cannot be read) `}to a trusted CA: name the CA with --ca, and serve its intermediates ` +
    'behind the leaf';
  return { name, ok: false, message };
}

/** RFC 9525 sections 2 and 6.3: no common name, and a wildcard is a whole label. OpenSSL is more lenient by default. */
const AS_BROWSERS = { subject: 'never', partialWildcards: false } as const;

function checkName(leaf: Certificate, expected: string): Check {
  const name = `the certificate is for ${expected}`;
  const x509 = new X509Certificate(leaf.der);
  const ok = (isIP(expected) === 0 ? x509.checkHost(expected, AS_BROWSERS) : x509.checkIP(expected)) !== undefined;
  const message = ok
    ? ''
    : `it is for ${printableList(leaf.dnsNames, { maxItems: 10 }) || 'no DNS name'}: give the name with --sni`;
  return { name, ok, message };
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
