/**
 * Reads X.509 certificates (RFC 5280) in PEM chains: what they say, not whether that is enough to delegate (see
 * `delegation-certificate.ts`). Input comes from strangers: it is bounded before it is parsed, and text from it is printable.
 */
import { createHash, type KeyObject, X509Certificate } from 'node:crypto';
import { firstItems, printable } from '../text/printable.ts';
import { DerError, readElement, readElements, readFirstElement, TAG } from './der.ts';
import { CertificateError } from './errors.ts';
import { type ExtensionFacts, readExtensionFacts } from './extensions.ts';
import { type PemBlock, PemError, readPem } from './pem.ts';
import { recognise } from './recognise.ts';
import { type KeyAlgorithm, schemeByKeyType, schemeBySubjectPublicKeyInfo } from './scheme.ts';

/** What the certificate says; whether that is good enough is checked elsewhere. */
export interface Certificate extends ExtensionFacts {
  readonly der: Uint8Array;
  /** Of the DER, lower-case hex. */
  readonly sha256: string;
  /** `CN=localhost, O=Example`; printable, at most 256 characters; may be empty. */
  readonly subject: string;
  /** The first 100 dNSName entries of the subjectAltName, in order; printable. */
  readonly dnsNames: readonly string[];
  /** How many more there are. */
  readonly dnsNamesOmitted: number;
  /** Seconds since the epoch. */
  readonly notBefore: number;
  /** Seconds since the epoch; the last second in which the certificate is valid. */
  readonly notAfter: number;
  readonly publicKey: KeyObject;
  /** Undefined for a kind of key, or an encoding of it, that dcred has no scheme for. */
  readonly keyAlgorithm: KeyAlgorithm | undefined;
  /** For people: `RSA 2048`, `EC secp256k1`, `EC prime256v1 with explicit parameters`. */
  readonly keyDescription: string;
  /** Whether the key would do if it were encoded as TLS peers expect: a named curve, an uncompressed point. */
  readonly keyEncoding: 'canonical' | 'other';
  /** The chain that this certificate leads, exactly as given. */
  readonly chainPem: string;
  /** Of `chainPem`, lower-case hex: changes when an intermediate does. */
  readonly chainSha256: string;
  /** This certificate alone, as it is in the chain, ending in a newline. */
  readonly leafPem: string;
}

/** How much of a stranger's PEM is read. */
export interface PemLimits {
  readonly maxBytes: number;
  readonly maxCertificates: number;
}

/** For `tls.crt` and `tls.key`: a leaf with its chain is 3 to 10 KiB. */
export const PEM_LIMITS: PemLimits = { maxBytes: 65_536, maxCertificates: 32 };

const MAX_SUBJECT_LENGTH = 256;
const MAX_DNS_NAMES = 100;
const MAX_DNS_NAME_LENGTH = 253;

/** The labels that OpenSSL reads a leaf from; the third holds what OpenSSL trusts it for behind the certificate. */
const CERTIFICATE_LABELS = ['CERTIFICATE', 'X509 CERTIFICATE', 'TRUSTED CERTIFICATE'];
const TRUSTED_LABEL = 'TRUSTED CERTIFICATE';

/**
 * Reads a PEM chain: the first certificate with the whole text as its `chainPem`, then the others. Whatever is accepted here,
 * OpenSSL reads as the same certificates.
 * Throws CertificateError `CertificateInvalid` for a text that is too large, without certificates, with a private key among
 * them, or with a certificate that cannot be read; `CertificateKeyUnsupported` for a public key that node:crypto does not know.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readFileSync } from 'node:fs';
 * import { readCertificateChain } from 'dcred/credential';
 *
 * const [leaf, ...issuers] = readCertificateChain(readFileSync('leaf.crt', 'utf8'));
 * assert.equal(leaf.subject, 'CN=localhost');
 * assert.equal(leaf.delegationUsage, 'present');
 * assert.equal(issuers.length, 0);
 */
export function readCertificateChain(
  pem: string,
  limits: PemLimits = PEM_LIMITS,
): readonly [Certificate, ...Certificate[]] {
  // Before anything else: parsing costs time that belongs to other resources too.
  checkSize(pem, limits);
  if (pem.trim() === '') throw invalid('the certificate is empty: expected PEM, the leaf first, then its chain');
  checkNoPrivateKey(pem);
  const blocks = certificateBlocks(pem, limits);
  const [leaf, ...issuers] = blocks.map((block, position) =>
    readCertificate(certificateDer(block), {
      chainPem: position === 0 ? pem : `${block.text}\n`,
      leafPem: `${block.text}\n`,
      where: `certificate ${position + 1} of ${blocks.length}`,
    }),
  );
  if (leaf === undefined) throw invalid(explainNoCertificate(pem));
  checkOpenSslReadsTheSame(pem, leaf);
  return [leaf, ...issuers];
}

/**
 * Reads one certificate. `where` names it in errors. Throws as `readCertificateChain` does.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { X509Certificate } from 'node:crypto';
 * import { readFileSync } from 'node:fs';
 * import { readCertificate } from 'dcred/credential';
 *
 * const { raw } = new X509Certificate(readFileSync('leaf.crt'));
 * const certificate = readCertificate(raw, { chainPem: '', leafPem: '', where: 'the certificate' });
 * assert.equal(certificate.keyAlgorithm, 'ECDSAP256');
 */
export function readCertificate(
  der: Uint8Array,
  { chainPem, leafPem, where }: { readonly chainPem: string; readonly leafPem: string; readonly where: string },
): Certificate {
  const x509 = parseX509(der, where);
  const publicKey = readPublicKey(x509, where);
  const { facts, subjectPublicKeyInfo } = readTbs(der, where);
  const { omitted, shown } = firstItems(facts.dnsNames, MAX_DNS_NAMES);
  return {
    ...facts,
    der,
    sha256: sha256(der),
    subject: printable((x509.subject ?? '').split('\n').join(', '), MAX_SUBJECT_LENGTH),
    dnsNames: shown.map((name) => printable(name, MAX_DNS_NAME_LENGTH)),
    dnsNamesOmitted: omitted,
    notBefore: readTime(x509.validFromDate, where),
    notAfter: readTime(x509.validToDate, where),
    publicKey,
    ...describeKey(publicKey, subjectPublicKeyInfo),
    chainPem,
    chainSha256: sha256(chainPem),
    leafPem,
  };
}

function checkSize(pem: string, { maxBytes }: PemLimits): void {
  const bytes = Buffer.byteLength(pem);
  if (bytes <= maxBytes) return;
  throw invalid(
    `the certificate chain has ${bytes} bytes; at most ${maxBytes} are read: keep only the leaf and its intermediates`,
  );
}

/** The chain is copied to every pod, and a key in it with it. Not only well-formed headers: a key with a typing error is a key. */
function checkNoPrivateKey(pem: string): void {
  for (const line of pem.toUpperCase().split('\n')) {
    const begin = line.indexOf('BEGIN');
    if (begin === -1 || !line.includes('PRIVATE KEY', begin)) continue;
    throw invalid(
      'there is a private key among the certificates: keep only the leaf and its chain there (tls.crt), and the key by itself ' +
        '(tls.key)',
    );
  }
}

function certificateBlocks(pem: string, { maxCertificates }: PemLimits): readonly PemBlock[] {
  const blocks = readBlocks(pem).filter(({ label }) => CERTIFICATE_LABELS.includes(label));
  if (blocks.length > maxCertificates) {
    throw invalid(
      `the chain has ${blocks.length} certificates; at most ${maxCertificates} are read: keep only the leaf and its intermediates`,
    );
  }
  const trusted = blocks.findIndex(({ label }) => label === TRUSTED_LABEL);
  if (trusted <= 0) return blocks;
  throw invalid(
    `certificate ${trusted + 1} of ${blocks.length} is a "${TRUSTED_LABEL}", which OpenSSL leaves out of a chain: write it as a ` +
      'plain certificate (openssl x509 -in FILE -out FILE)',
  );
}

function readBlocks(pem: string): readonly PemBlock[] {
  try {
    return readPem(pem);
  } catch (error) {
    if (!(error instanceof PemError)) throw error;
    throw new CertificateError('CertificateInvalid', `the certificate cannot be read: ${error.message}`, {
      cause: error,
    });
  }
}

/** The certificate in a PEM block: behind one that is `TRUSTED`, OpenSSL's own data follow. */
export function certificateDer({ der, label }: PemBlock): Uint8Array {
  if (label !== TRUSTED_LABEL) return der;
  try {
    return readFirstElement(der, TAG.sequence).encoded;
  } catch (error) {
    if (error instanceof DerError) return der;
    throw error;
  }
}

/** Whether a PEM block holds a certificate. */
export function isCertificateBlock({ label }: PemBlock): boolean {
  return CERTIFICATE_LABELS.includes(label);
}

function explainNoCertificate(pem: string): string {
  const expected = 'expected "-----BEGIN CERTIFICATE-----", the leaf first, then its chain';
  const found = recognise(Buffer.from(pem));
  return found === undefined ? `no certificate found: ${expected}` : `no certificate found: ${found}; ${expected}`;
}

/** The proof that our reader and OpenSSL's agree, for the text at hand. 0.03 ms. */
function checkOpenSslReadsTheSame(pem: string, leaf: Certificate): void {
  if (openSslReads(pem, leaf.der)) return;
  throw invalid('OpenSSL reads another certificate first: keep only the leaf and its chain, without text around them');
}

function openSslReads(pem: string, der: Uint8Array): boolean {
  try {
    return Buffer.compare(new X509Certificate(pem).raw, der) === 0;
  } catch {
    return false;
  }
}

function parseX509(der: Uint8Array, where: string): X509Certificate {
  try {
    const x509 = new X509Certificate(der);
    // OpenSSL tolerates bytes after the certificate and lengths that are not minimal; we would sign them, and peers see others.
    if (Buffer.compare(x509.raw, der) !== 0) throw new DerError('not in DER');
    return x509;
  } catch (error) {
    throw new CertificateError('CertificateInvalid', `${where} is not an X.509 certificate`, { cause: error });
  }
}

function readTime(date: Date, where: string): number {
  const seconds = Math.floor(date.getTime() / 1000);
  if (!Number.isNaN(seconds)) return seconds;
  throw invalid(`the validity of ${where} cannot be read`);
}

function readPublicKey(x509: X509Certificate, where: string): KeyObject {
  try {
    return x509.publicKey;
  } catch (error) {
    throw new CertificateError(
      'CertificateKeyUnsupported',
      `the public key of ${where} is damaged or of an unknown kind: use a certificate with an ECDSA P-256 key`,
      { cause: error },
    );
  }
}

/** RFC 5280 section 4.1: version, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo, ... */
function readTbs(der: Uint8Array, where: string): { facts: ExtensionFacts; subjectPublicKeyInfo: Uint8Array } {
  try {
    const [tbs] = readElements(readElement(der, TAG.sequence).content);
    if (tbs?.tag !== TAG.sequence) throw new DerError('the TBSCertificate is not a SEQUENCE');
    const elements = readElements(tbs.content);
    const position = elements[0]?.tag === TAG.version ? 6 : 5;
    return {
      facts: readExtensionFacts(elements),
      subjectPublicKeyInfo: elements[position]?.encoded ?? new Uint8Array(),
    };
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    throw new CertificateError('CertificateInvalid', `the extensions of ${where} cannot be read: ${error.message}`, {
      cause: error,
    });
  }
}

/**
 * OpenSSL takes a key with explicit parameters or a compressed point for the named one; BoringSSL and NSS refuse the
 * certificate. So it is the bytes that decide which algorithm the key is of.
 */
function describeKey(
  { asymmetricKeyDetails: details, asymmetricKeyType: keyType }: KeyObject,
  subjectPublicKeyInfo: Uint8Array,
): Pick<Certificate, 'keyAlgorithm' | 'keyDescription' | 'keyEncoding'> {
  const byType = schemeByKeyType(keyType, details?.namedCurve);
  const byBytes = schemeBySubjectPublicKeyInfo(subjectPublicKeyInfo);
  const kind = describeKind(keyType, details?.namedCurve, details?.modulusLength);
  if (byType === undefined) return { keyAlgorithm: undefined, keyDescription: kind, keyEncoding: 'canonical' };
  if (byBytes === byType) {
    return { keyAlgorithm: byType.keyAlgorithm, keyDescription: kind, keyEncoding: 'canonical' };
  }
  // The curve's parameters alone take more than 200 bytes; a compressed point makes the key shorter.
  const how = subjectPublicKeyInfo.length > byType.spkiLength + 32 ? 'explicit parameters' : 'an unusual encoding';
  const what = subjectPublicKeyInfo.length < byType.spkiLength ? 'a compressed point' : how;
  return { keyAlgorithm: undefined, keyDescription: `${kind} with ${what}`, keyEncoding: 'other' };
}

function describeKind(keyType: string | undefined, namedCurve: string | undefined, bits: number | undefined): string {
  if (keyType === 'ec') return `EC ${namedCurve ?? 'with explicit parameters'}`;
  if (keyType === 'ed25519') return 'Ed25519';
  return [keyType?.toUpperCase() ?? 'unknown', bits].filter((part) => part !== undefined).join(' ');
}

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function invalid(message: string): CertificateError {
  return new CertificateError('CertificateInvalid', message);
}
