/**
 * What a certificate's extensions say about delegation (RFC 5280 section 4.2, RFC 9345 section 4.2). Strict where peers are:
 * an extension that matters here and cannot be read is an error, never taken for absent.
 */
import {
  type DerElement,
  DerError,
  expectTag,
  formatObjectIdentifier,
  readBitString,
  readBoolean,
  readElement,
  readElements,
  TAG,
} from './der.ts';
import type { Usage } from './scheme.ts';

export const DELEGATION_USAGE_OID = '1.3.6.1.4.1.44363.44';

/** Extensions by the content of their OID, in hex: two encodings can never pass for one. */
const OID = {
  keyUsage: '551d0f',
  subjectAltName: '551d11',
  basicConstraints: '551d13',
  extendedKeyUsage: '551d25',
  delegationUsage: '2b0601040182da4b2c',
} as const;

const PURPOSE = {
  any: '551d2500',
  serverAuth: '2b06010505070301',
  clientAuth: '2b06010505070302',
} as const;

export interface ExtensionFacts {
  /** Of X.509: 1, 2 or 3. Only version 3 has extensions. */
  readonly version: number;
  /** dNSName entries of the subjectAltName, in order, as they are. */
  readonly dnsNames: readonly string[];
  /** basicConstraints cA. */
  readonly authority: boolean;
  readonly digitalSignature: boolean;
  readonly delegationUsage: 'present' | 'absent' | 'critical' | 'malformed';
  /** The sides of TLS that extendedKeyUsage permits; both where there is none, or anyExtendedKeyUsage. */
  readonly permittedUsages: readonly Usage[];
}

/** Reads the extensions of a TBSCertificate, given its elements. Throws DerError. */
export function readExtensionFacts(tbs: readonly DerElement[]): ExtensionFacts {
  const extensions = readExtensions(tbs);
  return {
    version: readVersion(tbs),
    dnsNames: readDnsNames(extensions.get(OID.subjectAltName)),
    authority: readAuthority(extensions.get(OID.basicConstraints)),
    digitalSignature: readDigitalSignature(extensions.get(OID.keyUsage)),
    delegationUsage: readDelegationUsage(extensions.get(OID.delegationUsage)),
    permittedUsages: readPermittedUsages(extensions.get(OID.extendedKeyUsage)),
  };
}

interface Extension {
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/** RFC 5280 section 4.2: no extension may occur twice; section 4.1.2.1: only version 3 has any. */
function readExtensions(tbs: readonly DerElement[]): ReadonlyMap<string, Extension> {
  const extensions = new Map<string, Extension>();
  const wrapper = tbs.find(({ tag }) => tag === TAG.extensions);
  if (wrapper === undefined) return extensions;
  if (readVersion(tbs) !== 3) throw new DerError('only an X.509 version 3 certificate has extensions');
  for (const element of readElements(readElement(wrapper.content, TAG.sequence).content)) {
    const parts = readElements(expectTag(element, TAG.sequence).content);
    const oid = expectTag(parts[0], TAG.oid).content;
    const key = Buffer.from(oid).toString('hex');
    if (extensions.has(key)) {
      throw new DerError(`the extension ${formatObjectIdentifier(oid.subarray(0, 32))} occurs twice`);
    }
    if (parts.length > 3) throw new DerError('an extension has more than three parts');
    const critical = parts.length === 3 && readBoolean(expectTag(parts[1], TAG.boolean));
    extensions.set(key, { critical, value: expectTag(parts.at(-1), TAG.octetString).content });
  }
  return extensions;
}

/** RFC 5280 section 4.1.2.1: absent is version 1, and 2 stands for version 3. */
function readVersion(tbs: readonly DerElement[]): number {
  const [wrapper] = tbs;
  if (wrapper?.tag !== TAG.version) return 1;
  const { content } = readElement(wrapper.content, TAG.integer);
  return content.length === 1 ? (content[0] ?? 0) + 1 : 0;
}

/** What the extension says, unlike X509Certificate's `ca`, which is false for a CA whose KeyUsage lacks keyCertSign. */
function readAuthority(extension: Extension | undefined): boolean {
  if (extension === undefined) return false;
  const [first] = readElements(readElement(extension.value, TAG.sequence).content);
  return first?.tag === TAG.boolean && readBoolean(first);
}

/** RFC 9345 section 4.2 requires the bit itself: a certificate without KeyUsage does not have it. */
function readDigitalSignature(extension: Extension | undefined): boolean {
  if (extension === undefined) return false;
  // digitalSignature is the first bit (RFC 5280 section 4.2.1.3).
  const [bits = 0] = readBitString(readElement(extension.value, TAG.bitString));
  return (bits & 0x80) !== 0;
}

function readDelegationUsage(extension: Extension | undefined): ExtensionFacts['delegationUsage'] {
  if (extension === undefined) return 'absent';
  const [tag, length, ...rest] = extension.value;
  if (tag !== TAG.null || length !== 0 || rest.length > 0) return 'malformed';
  return extension.critical ? 'critical' : 'present';
}

function readPermittedUsages(extension: Extension | undefined): readonly Usage[] {
  if (extension === undefined) return ['Server', 'Client'];
  const purposes = readElements(readElement(extension.value, TAG.sequence).content).map((element) =>
    Buffer.from(expectTag(element, TAG.oid).content).toString('hex'),
  );
  if (purposes.includes(PURPOSE.any)) return ['Server', 'Client'];
  return [
    ...(purposes.includes(PURPOSE.serverAuth) ? (['Server'] as const) : []),
    ...(purposes.includes(PURPOSE.clientAuth) ? (['Client'] as const) : []),
  ];
}

function readDnsNames(extension: Extension | undefined): readonly string[] {
  if (extension === undefined) return [];
  return readElements(readElement(extension.value, TAG.sequence).content)
    .filter(({ tag }) => tag === TAG.dnsName)
    .map(({ content }) => Buffer.from(content).toString('latin1'));
}
