/** Says what a file is that was given in place of a certificate, a key or a credential, and how to make one of it. Pure. */

import { DerError, readFirstElement, TAG } from './der.ts';

/** Enough to recognise anything by. */
const LOOKED_AT_BYTES = 65_536;
const SHOWN_LABELS: Readonly<Record<string, string>> = {
  'CERTIFICATE REQUEST': 'a certificate request (CSR): have a CA sign it',
  'NEW CERTIFICATE REQUEST': 'a certificate request (CSR): have a CA sign it',
  'X509 CRL': 'a certificate revocation list: take the certificate itself',
  PKCS7: 'PKCS#7: take the certificates out (openssl pkcs7 -in FILE -print_certs)',
  CMS: 'PKCS#7: take the certificates out (openssl pkcs7 -in FILE -print_certs)',
  'PUBLIC KEY': 'a public key: take the certificate',
  'EC PARAMETERS': 'the parameters of a key: take the certificate',
  'OPENSSH PRIVATE KEY': 'an OpenSSH key: TLS uses keys in PKCS#8 or SEC1',
};
/** The DER of OIDs and integers that follow the outer SEQUENCE's header. */
const PKCS7_SIGNED_DATA = '06092a864886f70d010702';
const PKCS12_VERSION = '020103';
const PRIVATE_KEY_VERSIONS = ['020100', '020101'];

/** `this is base64: decode it first`, or undefined for what cannot be recognised. O(bytes), at most 64 KiB of them. */
export function recognise(data: Uint8Array): string | undefined {
  const bytes = data.subarray(0, LOOKED_AT_BYTES);
  const binary = recogniseBinary(bytes) ?? (isElement(data) ? recogniseDer(bytes) : undefined);
  return binary ?? recogniseText(Buffer.from(bytes).toString('latin1'));
}

function recogniseBinary(bytes: Uint8Array): string | undefined {
  const magic = Buffer.from(bytes.subarray(0, 4)).toString('hex');
  if (magic.startsWith('fffe') || magic.startsWith('feff') || isUtf16WithoutMark(bytes)) {
    return 'this is UTF-16 text: save it as UTF-8 first';
  }
  if (magic.startsWith('1f8b')) return 'this is compressed by gzip: decompress it first (gunzip)';
  if (magic.startsWith('504b')) return 'this is a zip archive: unpack it first';
  if (magic === 'feedfeed') return 'this is a Java key store: export it as PEM first (keytool -exportcert -rfc)';
  return undefined;
}

/** Whether the whole is one SEQUENCE: text may begin with the same byte, "0". */
function isElement(data: Uint8Array): boolean {
  try {
    return readFirstElement(data, TAG.sequence).encoded.length === data.length;
  } catch (error) {
    if (error instanceof DerError) return false;
    throw error;
  }
}

function isUtf16WithoutMark(bytes: Uint8Array): boolean {
  const [a, b, c, d] = bytes;
  if (bytes.length < 4 || bytes.length % 2 !== 0) return false;
  return (isAscii(a) && b === 0 && isAscii(c) && d === 0) || (a === 0 && isAscii(b) && c === 0 && isAscii(d));
}

function isAscii(byte: number | undefined): boolean {
  return byte !== undefined && ((byte >= 0x20 && byte < 0x7f) || byte === 0x0a || byte === 0x0d);
}

function recogniseDer(bytes: Uint8Array): string | undefined {
  const first = bytes[1] ?? 0;
  const body = Buffer.from(bytes.subarray(first < 0x80 ? 2 : 2 + (first & 0x7f))).toString('hex');
  if (body.startsWith(PKCS7_SIGNED_DATA)) {
    return 'this is PKCS#7 in DER: take the certificates out (openssl pkcs7 -inform DER -in FILE -print_certs)';
  }
  if (body.startsWith(PKCS12_VERSION)) {
    return 'this is PKCS#12: take out what is needed (openssl pkcs12 -in FILE -nodes)';
  }
  if (PRIVATE_KEY_VERSIONS.some((version) => body.startsWith(version))) {
    return 'this is a private key in DER: keep it secret; convert it to PEM where a key is needed (openssl pkey -inform DER)';
  }
  return 'this is DER: convert it to PEM first (openssl x509 -inform DER)';
}

function recogniseText(text: string): string | undefined {
  const trimmed = text.trim();
  const label = /-----BEGIN ([A-Z0-9 ]{1,64})-----/.exec(trimmed)?.[1];
  const known = label === undefined ? undefined : SHOWN_LABELS[label];
  if (known !== undefined) return `this is ${known}`;
  if (label?.endsWith('PRIVATE KEY')) return 'this is a private key: take the certificate';
  if (/^[0-9a-fA-F\s:]+$/.test(trimmed) && trimmed.includes(':')) {
    return 'this is hex with separators: remove the separators first';
  }
  if (trimmed.length >= 16 && /^[A-Za-z0-9+/_=\r\n-]+$/.test(trimmed) && !/^[0-9a-fA-F\r\n]+$/.test(trimmed)) {
    return 'this is base64: decode it first (base64 -d)';
  }
  return undefined;
}
