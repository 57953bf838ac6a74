/** Reads PKCS#10 requests (RFC 2986) of strangers: bounded, strict, and only what a delegation certificate may have. Pure. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import {
  type DerElement,
  DerError,
  expectTag,
  readBoolean,
  readElement,
  readElements,
  TAG,
} from '../credential/der.ts';
import { PemError, readPem } from '../credential/pem.ts';
import { schemeBySubjectPublicKeyInfo } from '../credential/scheme.ts';
import { isDnsSubdomain } from '../text/dns-name.ts';
import { printable } from '../text/printable.ts';

export interface Csr {
  readonly publicKey: KeyObject;
  readonly dnsNames: readonly string[];
}

/** A request that never becomes a certificate, whatever is done about the CA. The message says what to change in the Certificate. */
export class CsrError extends Error {
  override readonly name = 'CsrError';
  readonly code = 'CsrRefused';
}

const MAX_PEM_BYTES = 64 * 1024;
const MAX_NAMES = 100;
const LABELS: ReadonlySet<string> = new Set(['CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST']);

/** By the content of their OID, in hex. */
const OID = {
  commonName: '550403',
  extensionRequest: '2a864886f70d01090e',
  keyUsage: '551d0f',
  subjectAltName: '551d11',
  basicConstraints: '551d13',
} as const;
const HASHES: Readonly<Record<string, string>> = {
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
};

/** Throws CsrError. */
export function readCsr(pem: string): Csr {
  if (pem.length > MAX_PEM_BYTES)
    throw new CsrError(`the request has ${pem.length} bytes; at most ${MAX_PEM_BYTES} are read`);
  try {
    const [block, ...more] = readPem(pem);
    if (block === undefined || more.length > 0 || !LABELS.has(block.label)) {
      throw new CsrError('expected one CERTIFICATE REQUEST in PEM');
    }
    return readRequest(block.der);
  } catch (error) {
    if (error instanceof PemError || error instanceof DerError) {
      throw new CsrError(`the request cannot be read: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

function readRequest(der: Uint8Array): Csr {
  const [body, algorithm, signature, ...rest] = readElements(readElement(der, TAG.sequence).content);
  if (rest.length > 0) throw new DerError('expected three parts in the request');
  const info = expectTag(body, TAG.sequence);
  const [version, subject, spki, attributes] = readElements(info.content);
  if (hex(expectTag(version, TAG.integer).content) !== '00') throw new DerError('expected version 1 of PKCS#10');
  const publicKey = readPublicKey(expectTag(spki, TAG.sequence).encoded);
  assertSigned(info.encoded, expectTag(algorithm, TAG.sequence), expectTag(signature, TAG.bitString), publicKey);
  const extensions = readExtensions(attributes);
  assertNoAuthority(extensions.get(OID.basicConstraints));
  const dnsNames = readDnsNames(extensions.get(OID.subjectAltName));
  const commonName = readCommonName(expectTag(subject, TAG.sequence));
  if (commonName !== undefined && !dnsNames.includes(commonName)) {
    throw new CsrError(
      `the common name "${printable(commonName, 80)}" is not among the DNS names: add it to dnsNames, or omit commonName`,
    );
  }
  return { publicKey, dnsNames };
}

function readPublicKey(spki: Uint8Array): KeyObject {
  if (schemeBySubjectPublicKeyInfo(spki)?.delegates !== true) {
    throw new CsrError(
      'expected an ECDSA P-256, P-384 or P-521 key: browsers refuse credentials by others; set privateKey.algorithm to ECDSA in the Certificate',
    );
  }
  try {
    return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch {
    throw new CsrError('the public key of the request is not a point on its curve');
  }
}

/** Proof that whoever asks holds the key. */
function assertSigned(body: Uint8Array, algorithm: DerElement, signature: DerElement, publicKey: KeyObject): void {
  const hash = HASHES[hex(expectTag(readElements(algorithm.content)[0], TAG.oid).content)];
  if (hash === undefined) throw new CsrError('the request is not signed by ECDSA with SHA-256, SHA-384 or SHA-512');
  const [unused, ...bytes] = signature.content;
  let isValid = false;
  try {
    isValid = unused === 0 && verify(hash, body, { key: publicKey, dsaEncoding: 'der' }, Uint8Array.from(bytes));
  } catch {
    // Malformed.
  }
  if (!isValid) throw new CsrError('the signature of the request does not fit its public key');
}

/** Of the attribute extensionRequest. Nothing may occur twice: two readers would choose differently. */
function readExtensions(attributes: DerElement | undefined): ReadonlyMap<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  if (attributes === undefined) return found;
  const wanted = readElements(expectTag(attributes, TAG.version).content).flatMap((attribute) => {
    const [oid, values] = readElements(expectTag(attribute, TAG.sequence).content);
    return hex(expectTag(oid, TAG.oid).content) === OID.extensionRequest ? [expectTag(values, 0x31)] : [];
  });
  if (wanted.length > 1) throw new DerError('the extension request occurs twice');
  for (const value of wanted) {
    for (const extension of readElements(readElement(value.content, TAG.sequence).content)) {
      const parts = readElements(expectTag(extension, TAG.sequence).content);
      const oid = hex(expectTag(parts[0], TAG.oid).content);
      if (found.has(oid)) throw new DerError('an extension occurs twice');
      found.set(oid, expectTag(parts.at(-1), TAG.octetString).content);
    }
  }
  return found;
}

function assertNoAuthority(value: Uint8Array | undefined): void {
  if (value === undefined) return;
  const [first] = readElements(readElement(value, TAG.sequence).content);
  if (first?.tag === TAG.boolean && readBoolean(first))
    throw new CsrError('the request is for a CA: set isCA to false in the Certificate');
}

function readDnsNames(value: Uint8Array | undefined): readonly string[] {
  const names = value === undefined ? [] : readElements(readElement(value, TAG.sequence).content);
  if (names.length === 0) throw new CsrError('the request has no DNS name: set dnsNames in the Certificate');
  if (names.length > MAX_NAMES)
    throw new CsrError(`the request has ${names.length} names; at most ${MAX_NAMES} are signed`);
  return names.map(({ content, tag }) => {
    if (tag !== TAG.dnsName) throw new CsrError('the request has a name that is no DNS name: only dnsNames are signed');
    const name = Buffer.from(content).toString('latin1');
    if (name.length <= 253 && isDnsSubdomain(name.replace(/^\*\./, ''))) return name;
    throw new CsrError(`expected DNS names in lower case, found "${printable(name, 80)}"`);
  });
}

/** Everything else of a subject is left out of the certificate. */
function readCommonName(subject: DerElement): string | undefined {
  for (const set of readElements(subject.content)) {
    for (const pair of readElements(expectTag(set, 0x31).content)) {
      const [oid, value] = readElements(expectTag(pair, TAG.sequence).content);
      if (hex(expectTag(oid, TAG.oid).content) === OID.commonName)
        return Buffer.from(value?.content ?? []).toString('utf8');
    }
  }
  return undefined;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
