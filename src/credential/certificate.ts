import { createHash, type KeyObject, X509Certificate } from 'node:crypto';
import { type DerElement, DerError, expectTag, readElement, readElements, readObjectIdentifier, TAG } from './der.ts';
import { CertificateError } from './errors.ts';
import { PemError, readPem } from './pem.ts';
import { type KeyAlgorithm, schemeByKeyType } from './scheme.ts';

export const DELEGATION_USAGE_OID = '1.3.6.1.4.1.44363.44';
const KEY_USAGE_OID = '2.5.29.15';
const SUBJECT_ALT_NAME_OID = '2.5.29.17';
const BASIC_CONSTRAINTS_OID = '2.5.29.19';

/** What stands in the certificate; whether that is good enough is judged elsewhere. */
export interface Certificate {
  readonly der: Uint8Array;
  /** Of the DER, lower-case hex. */
  readonly sha256: string;
  /** `CN=localhost, O=Example`; may be empty. */
  readonly subject: string;
  /** dNSName entries of the subjectAltName, in order. */
  readonly dnsNames: readonly string[];
  /** Seconds since the epoch. */
  readonly notBefore: number;
  /** Seconds since the epoch; the last second in which the certificate is valid. */
  readonly notAfter: number;
  readonly publicKey: KeyObject;
  /** Undefined for a kind of key that dcred has no scheme for. */
  readonly keyAlgorithm: KeyAlgorithm | undefined;
  /** For people: `RSA 2048`, `EC secp256k1`. */
  readonly keyDescription: string;
  /** basicConstraints cA. */
  readonly authority: boolean;
  readonly digitalSignature: boolean;
  readonly delegationUsage: 'present' | 'absent' | 'critical' | 'malformed';
  /** The chain that this certificate leads, exactly as given. */
  readonly chainPem: string;
  /** This certificate alone, as it stood in the chain, ending in a newline. */
  readonly leafPem: string;
}

/**
 * Reads a PEM chain: the first certificate with the whole text as its `chainPem`, then the others.
 * Throws CertificateError `CertificateInvalid` for a text without certificates, with a private key among them, or with a
 * certificate that cannot be read; `CertificateKeyUnsupported` for a public key that node:crypto does not know.
 */
export function readCertificateChain(pem: string): readonly [Certificate, ...Certificate[]] {
  if (pem.trim() === '') {
    throw new CertificateError(
      'CertificateInvalid',
      'the certificate is empty: expected PEM, the leaf first, then its chain',
    );
  }
  // Before anything else: the chain is copied to every pod, and a key in it would go along.
  // Not only well-formed headers: a key with a typing error is a key.
  if (/BEGIN[^\n]*PRIVATE KEY/i.test(pem)) {
    throw new CertificateError(
      'CertificateInvalid',
      'a private key stands among the certificates: keep only the leaf and its chain there (tls.crt), and the key by itself ' +
        '(tls.key)',
    );
  }
  const blocks = certificateBlocks(pem);
  const certificates = blocks.map((block, position) =>
    readCertificate(block.der, {
      chainPem: position === 0 ? pem : `${block.text}\n`,
      leafPem: `${block.text}\n`,
      where: `certificate ${position + 1} of ${blocks.length}`,
    }),
  );
  const [leaf, ...rest] = certificates;
  if (leaf === undefined) {
    throw new CertificateError(
      'CertificateInvalid',
      'no certificate found: expected "-----BEGIN CERTIFICATE-----", the leaf first, then its chain',
    );
  }
  return [leaf, ...rest];
}

function certificateBlocks(pem: string) {
  try {
    return readPem(pem).filter((block) => block.label === 'CERTIFICATE');
  } catch (error) {
    if (!(error instanceof PemError)) throw error;
    throw new CertificateError('CertificateInvalid', `the certificate cannot be read: ${error.message}`, {
      cause: error,
    });
  }
}

/** Reads one certificate. `where` names it in errors. Throws as `readCertificateChain` does. */
export function readCertificate(
  der: Uint8Array,
  { chainPem, leafPem, where }: { readonly chainPem: string; readonly leafPem: string; readonly where: string },
): Certificate {
  const x509 = parseX509(der, where);
  const publicKey = readPublicKey(x509, where);
  const keyType = publicKey.asymmetricKeyType;
  const details = publicKey.asymmetricKeyDetails;
  const extensions = readExtensions(der, where);
  return {
    der,
    sha256: createHash('sha256').update(der).digest('hex'),
    subject: (x509.subject ?? '').split('\n').join(', '),
    dnsNames: readDnsNames(extensions.get(SUBJECT_ALT_NAME_OID)),
    notBefore: readTime(x509.validFromDate, where),
    notAfter: readTime(x509.validToDate, where),
    publicKey,
    keyAlgorithm: schemeByKeyType(keyType, details?.namedCurve)?.keyAlgorithm,
    keyDescription: describeKey(keyType, details?.namedCurve, details?.modulusLength),
    authority: readAuthority(extensions.get(BASIC_CONSTRAINTS_OID)),
    digitalSignature: readDigitalSignature(extensions.get(KEY_USAGE_OID)),
    delegationUsage: readDelegationUsage(extensions.get(DELEGATION_USAGE_OID)),
    chainPem,
    leafPem,
  };
}

function parseX509(der: Uint8Array, where: string): X509Certificate {
  try {
    const x509 = new X509Certificate(der);
    // OpenSSL stops at the end of the outer SEQUENCE; bytes after it would be signed by us and seen by nobody else.
    if (x509.raw.length !== der.length) throw new DerError('bytes follow the certificate');
    return x509;
  } catch (error) {
    throw new CertificateError('CertificateInvalid', `${where} is not an X.509 certificate`, { cause: error });
  }
}

function readTime(date: Date, where: string): number {
  const seconds = Math.floor(date.getTime() / 1000);
  if (!Number.isNaN(seconds)) return seconds;
  throw new CertificateError('CertificateInvalid', `the validity of ${where} cannot be read`);
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

function describeKey(keyType: string | undefined, namedCurve: string | undefined, bits: number | undefined): string {
  if (keyType === 'ec') return `EC ${namedCurve ?? 'with explicit parameters'}`;
  if (keyType === 'ed25519') return 'Ed25519';
  return [keyType?.toUpperCase() ?? 'unknown', bits].filter((part) => part !== undefined).join(' ');
}

interface Extension {
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/** By OID. RFC 5280 section 4.2: no extension may occur twice. */
function readExtensions(der: Uint8Array, where: string): ReadonlyMap<string, Extension> {
  try {
    const [tbs] = readElements(readElement(der, TAG.sequence).content);
    const wrapper = readElements(expectTag(tbs, TAG.sequence).content).find(({ tag }) => tag === TAG.extensions);
    const extensions = new Map<string, Extension>();
    if (wrapper === undefined) return extensions;
    for (const element of readElements(readElement(wrapper.content, TAG.sequence).content)) {
      const parts = readElements(expectTag(element, TAG.sequence).content);
      const oid = readObjectIdentifier(expectTag(parts[0], TAG.oid).content);
      if (extensions.has(oid)) throw new DerError(`the extension ${oid} occurs twice`);
      const critical = parts[1]?.tag === TAG.boolean && parts[1].content[0] !== 0;
      extensions.set(oid, { critical, value: expectTag(parts.at(-1), TAG.octetString).content });
    }
    return extensions;
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    throw new CertificateError('CertificateInvalid', `the extensions of ${where} cannot be read: ${error.message}`, {
      cause: error,
    });
  }
}

/** What the extension says, unlike X509Certificate's `ca`, which is false for a CA whose KeyUsage lacks keyCertSign. */
function readAuthority(extension: Extension | undefined): boolean {
  const [first] = elementsOrNone(extension?.value);
  return first?.tag === TAG.boolean && first.content[0] !== 0;
}

/** RFC 9345 section 4.2 asks for the bit itself: a certificate without KeyUsage does not have it. */
function readDigitalSignature(extension: Extension | undefined): boolean {
  // BIT STRING: a count of unused bits, then the bits; digitalSignature is the first (RFC 5280 section 4.2.1.3).
  const bits = elementOrUndefined(extension?.value, TAG.bitString);
  return ((bits?.[1] ?? 0) & 0x80) !== 0;
}

function readDelegationUsage(extension: Extension | undefined): Certificate['delegationUsage'] {
  if (extension === undefined) return 'absent';
  if (elementOrUndefined(extension.value, TAG.null)?.length !== 0) return 'malformed';
  return extension.critical ? 'critical' : 'present';
}

function readDnsNames(extension: Extension | undefined): readonly string[] {
  return elementsOrNone(extension?.value)
    .filter(({ tag }) => tag === TAG.dnsName)
    .map(({ content }) => Buffer.from(content).toString('latin1'));
}

/** The elements of the SEQUENCE that is an extension's value; none where it is something else. */
function elementsOrNone(value: Uint8Array | undefined): readonly DerElement[] {
  const content = elementOrUndefined(value, TAG.sequence);
  if (content === undefined) return [];
  try {
    return readElements(content);
  } catch (error) {
    if (error instanceof DerError) return [];
    throw error;
  }
}

function elementOrUndefined(value: Uint8Array | undefined, tag: number): Uint8Array | undefined {
  if (value === undefined) return undefined;
  try {
    return readElement(value, tag).content;
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
}
