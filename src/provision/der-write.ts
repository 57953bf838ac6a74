/** Writes DER (X.690): the little that certificates and requests take. Pure. The reader is in src/credential/der.ts. */

export function element(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(parts);
  return Uint8Array.from(Buffer.concat([Uint8Array.of(tag), lengthOctets(content.length), content]));
}

export const sequence = (...parts: readonly Uint8Array[]) => element(0x30, ...parts);
export const octetString = (content: Uint8Array) => element(0x04, content);
/** Of whole bytes. */
export const bitString = (bytes: Uint8Array) => element(0x03, Uint8Array.of(0), bytes);
export const boolean = (value: boolean) => element(0x01, Uint8Array.of(value ? 0xff : 0x00));
/** [number] EXPLICIT. */
export const explicit = (number: number, content: Uint8Array) => element(0xa0 + number, content);
export const utf8String = (text: string) => element(0x0c, Buffer.from(text));

/** Of an unsigned number, most significant byte first. */
export function unsignedInteger(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  const significant = first === -1 ? Uint8Array.of(0) : bytes.subarray(first);
  return element(0x02, (significant[0] ?? 0) >= 0x80 ? Uint8Array.of(0) : new Uint8Array(), significant);
}

/** From its dotted form. Throws RangeError for what is none. */
export function objectIdentifier(dotted: string): Uint8Array {
  const [first = Number.NaN, second = Number.NaN, ...rest] = dotted.split('.').map(Number);
  const arcs = [first * 40 + second, ...rest];
  if (!arcs.every((arc) => Number.isSafeInteger(arc) && arc >= 0))
    throw new RangeError(`"${dotted}" is not an object identifier`);
  return element(0x06, Uint8Array.from(arcs.flatMap(base128)));
}

/** RFC 5280 section 4.1.2.5: UTCTime up to 2049, GeneralizedTime from then on. */
export function derTime(seconds: number): Uint8Array {
  const text = new Date(seconds * 1000).toISOString().replace(/[-:T]|\.\d+/g, '');
  return Number(text.slice(0, 4)) < 2050 ? element(0x17, Buffer.from(text.slice(2))) : element(0x18, Buffer.from(text));
}

function base128(arc: number): readonly number[] {
  const digits = [arc % 128];
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128)) digits.unshift((rest % 128) | 0x80);
  return digits;
}

function lengthOctets(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Uint8Array.of(0x80 | bytes.length, ...bytes);
}
