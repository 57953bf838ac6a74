/**
 * The little of DER (X.690) that reading a certificate takes: node:crypto's X509Certificate shows neither KeyUsage nor unknown
 * extensions. Strict: what is encoded in more bytes than needed is refused, because peers would. Works within the bytes that it
 * is given, without copies or recursion; O(bytes).
 */

export interface DerElement {
  /** The identifier octet. */
  readonly tag: number;
  readonly content: Uint8Array;
  /** Identifier, length and content. */
  readonly encoded: Uint8Array;
}

/** Bytes that are not DER, or not the element that was expected. */
export class DerError extends Error {
  override readonly name = 'DerError';
  readonly code = 'DerMalformed';
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  sequence: 0x30,
  /** [2] IMPLICIT IA5String: GeneralName's dNSName. */
  dnsName: 0x82,
  /** [0] EXPLICIT: TBSCertificate's version. */
  version: 0xa0,
  /** [3] EXPLICIT: TBSCertificate's extensions. */
  extensions: 0xa3,
} as const;

/** The elements that `bytes` holds, one after the other. Throws DerError unless they fill it exactly. */
export function readElements(bytes: Uint8Array): readonly DerElement[] {
  const elements: DerElement[] = [];
  let position = 0;
  while (position < bytes.length) {
    const element = readElementAt(bytes, position);
    elements.push(element);
    position += element.encoded.length;
  }
  return elements;
}

/** The one element that `bytes` is, with the tag that is expected of it. Throws DerError. */
export function readElement(bytes: Uint8Array, tag: number): DerElement {
  const element = readElementAt(bytes, 0);
  if (element.encoded.length !== bytes.length) throw new DerError('expected exactly one element');
  return expectTag(element, tag);
}

/** The element that `bytes` begin with, whatever follows. Throws DerError. */
export function readFirstElement(bytes: Uint8Array, tag: number): DerElement {
  return expectTag(readElementAt(bytes, 0), tag);
}

export function expectTag(element: DerElement | undefined, tag: number): DerElement {
  if (element?.tag === tag) return element;
  throw new DerError(`expected tag ${formatTag(tag)}, found ${element ? formatTag(element.tag) : 'nothing'}`);
}

/** The value of a BOOLEAN. Throws DerError for anything but 0x00 and 0xff. */
export function readBoolean({ content }: DerElement): boolean {
  if (content.length === 1 && (content[0] === 0x00 || content[0] === 0xff)) return content[0] === 0xff;
  throw new DerError('a BOOLEAN is one byte, 0x00 or 0xff');
}

/** The bits of a BIT STRING, most significant first. Throws DerError where the unused ones are too many or not zero. */
export function readBitString({ content }: DerElement): Uint8Array {
  const [unused] = content;
  const bits = content.subarray(1);
  const isWhole = unused !== undefined && unused <= 7 && (bits.length > 0 || unused === 0);
  if (isWhole && ((bits.at(-1) ?? 0) & ((1 << unused) - 1)) === 0) return bits;
  throw new DerError('a BIT STRING whose unused bits are too many or not zero');
}

/** The content of an OBJECT IDENTIFIER in dotted form, for people: compare the bytes. Arcs above 2^53 are rounded. */
export function formatObjectIdentifier(content: Uint8Array): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of content) {
    arc = arc * 128 + (byte & 0x7f);
    if ((byte & 0x80) !== 0) continue;
    arcs.push(arc);
    arc = 0;
  }
  const first = arcs[0] ?? 0;
  const root = Math.min(2, Math.floor(first / 40));
  return [root, first - root * 40, ...arcs.slice(1)].join('.');
}

function readElementAt(bytes: Uint8Array, start: number): DerElement {
  const tag = bytes[start];
  const first = bytes[start + 1];
  if (tag === undefined || first === undefined) throw new DerError(`truncated header at offset ${start}`);
  if ((tag & 0x1f) === 0x1f) throw new DerError(`multi-byte tag at offset ${start}`);
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  if (first === 0x80 || lengthBytes > 4) throw new DerError(`unusable length at offset ${start + 1}`);
  const contentStart = start + 2 + lengthBytes;
  const length = first < 0x80 ? first : readLength(bytes.subarray(start + 2, contentStart));
  if (lengthBytes > 0 && length < (lengthBytes === 1 ? 0x80 : 256 ** (lengthBytes - 1))) {
    throw new DerError(`the length at offset ${start + 1} is written in more bytes than it needs`);
  }
  const end = contentStart + length;
  if (end > bytes.length) throw new DerError(`the element at offset ${start} is longer than what holds it`);
  return { tag, content: bytes.subarray(contentStart, end), encoded: bytes.subarray(start, end) };
}

function readLength(bytes: Uint8Array): number {
  return bytes.reduce((length, byte) => length * 256 + byte, 0);
}

function formatTag(tag: number): string {
  return `0x${tag.toString(16).padStart(2, '0')}`;
}
