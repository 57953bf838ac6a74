/** The parts that a request and a certificate for delegation share (RFC 5280, RFC 9345 section 4.2). Pure. */
import { DELEGATION_USAGE_OID } from '../credential/extensions.ts';
import type { SignatureScheme, Usage } from '../credential/scheme.ts';
import { bitString, boolean, element, objectIdentifier, octetString, sequence, utf8String } from './der-write.ts';

/** ASN.1 NULL. */
export const DELEGATION_USAGE_VALUE = Uint8Array.of(0x05, 0x00);

const PURPOSES: Readonly<Record<Usage, string>> = { Server: '1.3.6.1.5.5.7.3.1', Client: '1.3.6.1.5.5.7.3.2' };
/** RFC 5758 section 3.2: without parameters. */
const ECDSA_WITH = {
  sha256: '1.2.840.10045.4.3.2',
  sha384: '1.2.840.10045.4.3.3',
  sha512: '1.2.840.10045.4.3.4',
} as const;

/** What a common name holds at most (RFC 5280, ub-common-name). */
const MAX_COMMON_NAME = 64;

export function extension(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  return sequence(objectIdentifier(oid), ...(critical ? [boolean(true)] : []), octetString(value));
}

/** The first name where it fits; undefined: the subject is empty, and its subjectAltName critical (RFC 5280 section 4.2.1.6). */
export function commonNameOf([name = '']: readonly string[]): string | undefined {
  return name === '' || name.length > MAX_COMMON_NAME ? undefined : name;
}

/** The common name alone; the names that count are in the subjectAltName. */
export function subjectFor(dnsNames: readonly string[]): Uint8Array {
  const name = commonNameOf(dnsNames);
  if (name === undefined) return sequence();
  return sequence(element(0x31, sequence(objectIdentifier('2.5.4.3'), utf8String(name))));
}

/** What makes a leaf one that can delegate: digitalSignature and nothing else, the sides of TLS, its names, DelegationUsage. */
export function delegationExtensions(dnsNames: readonly string[], usages: readonly Usage[]): readonly Uint8Array[] {
  return [
    extension('2.5.29.15', true, element(0x03, Uint8Array.of(7, 0x80))),
    extension('2.5.29.37', false, sequence(...usages.map((usage) => objectIdentifier(PURPOSES[usage])))),
    extension('2.5.29.17', commonNameOf(dnsNames) === undefined, dnsNamesValue(dnsNames)),
    extension(DELEGATION_USAGE_OID, false, DELEGATION_USAGE_VALUE),
  ];
}

/** GeneralNames of DNS names. */
function dnsNamesValue(dnsNames: readonly string[]): Uint8Array {
  return sequence(...dnsNames.map((name) => element(0x82, Buffer.from(name, 'latin1'))));
}

/** The AlgorithmIdentifier of signatures by this scheme. */
export function signatureAlgorithm({ hash, keyType, name }: SignatureScheme): Uint8Array {
  if (keyType !== 'ec' || hash === null)
    throw new TypeError(`certificates and requests are signed by ECDSA, not by ${name}`);
  return sequence(objectIdentifier(ECDSA_WITH[hash]));
}

/** SIGNED (X.509): what is signed, by which algorithm, and the signature. */
export function signed(body: Uint8Array, algorithm: Uint8Array, signature: Uint8Array): Uint8Array {
  return sequence(body, algorithm, bitString(signature));
}
