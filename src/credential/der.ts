/**
 * The little of DER (X.690) that reading a certificate's extensions takes: node:crypto's X509Certificate shows neither
 * KeyUsage nor unknown extensions. Works within the bytes it is given, without copies or recursion.
 */

export interface DerElement {
  /** The identifier octet. */
  readonly tag: number;
  readonly content: Uint8Array;
}

export class DerError extends Error {
  override readonly name = 'DerError';
  readonly code = 'DER_MALFORMED';
}

export const TAG = {
  boolean: 0x01,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  sequence: 0x30,
  /** [2] IMPLICIT IA5String: GeneralName's dNSName. */
  dnsName: 0x82,
  /** [3] EXPLICIT: TBSCertificate's extensions. */
  extensions: 0xa3,
} as const;

/** The elements that `bytes` holds, one after the other. Throws DerError unless they fill it exactly. */
export function readElements(bytes: Uint8Array): readonly DerElement[] {
  const elements: DerElement[] = [];
  let position = 0;
  while (position < bytes.length) {
    const { element, end } = readElementAt(bytes, position);
    elements.push(element);
    position = end;
  }
  return elements;
}

/** The one element that `bytes` is, with the tag that is expected of it. Throws DerError. */
export function readElement(bytes: Uint8Array, tag: number): DerElement {
  const [element, ...rest] = readElements(bytes);
  if (element === undefined || rest.length > 0) throw new DerError('expected exactly one element');
  return expectTag(element, tag);
}

export function expectTag(element: DerElement | undefined, tag: number): DerElement {
  if (element?.tag === tag) return element;
  throw new DerError(
    `expected tag 0x${tag.toString(16)}, found ${element ? `0x${element.tag.toString(16)}` : 'nothing'}`,
  );
}

/** The content of an OBJECT IDENTIFIER in dotted form. Arcs above 2^53 do not occur in what is looked for here. */
export function readObjectIdentifier(content: Uint8Array): string {
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

function readElementAt(bytes: Uint8Array, start: number): { element: DerElement; end: number } {
  const tag = bytes[start];
  const first = bytes[start + 1];
  if (tag === undefined || first === undefined) throw new DerError(`truncated header at offset ${start}`);
  if ((tag & 0x1f) === 0x1f) throw new DerError(`multi-byte tag at offset ${start}`);
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  if (first === 0x80 || lengthBytes > 4) throw new DerError(`unusable length at offset ${start + 1}`);
  const contentStart = start + 2 + lengthBytes;
  const length = first < 0x80 ? first : readLength(bytes.subarray(start + 2, contentStart));
  const end = contentStart + length;
  if (end > bytes.length) throw new DerError(`the element at offset ${start} is longer than what holds it`);
  return { element: { tag, content: bytes.subarray(contentStart, end) }, end };
}

function readLength(bytes: Uint8Array): number {
  return bytes.reduce((length, byte) => length * 256 + byte, 0);
}
