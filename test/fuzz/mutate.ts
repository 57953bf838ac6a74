/** Damage: to bytes, to text, and to JSON values. */
import type { Random } from './random.ts';

const INTERESTING_BYTES = [
  0x00, 0x01, 0x02, 0x05, 0x06, 0x0a, 0x30, 0x7f, 0x80, 0x81, 0x82, 0x84, 0xa0, 0xa3, 0xfe, 0xff,
];
/** One case in this many is far larger than any real input: a codec that is not linear hangs on it. */
const LARGE_ONE_IN = 2_000;
const LARGE_BYTES = 262_144;

export function mutateBytes(random: Random, corpus: readonly Uint8Array[]): Buffer {
  let bytes: Buffer = Buffer.from(random.pick(corpus));
  const rounds = 1 + random.below(4);
  for (let round = 0; round < rounds; round += 1) bytes = damage(random, bytes, corpus);
  return random.chance(LARGE_ONE_IN) ? pump(random, bytes) : bytes;
}

function damage(random: Random, bytes: Buffer, corpus: readonly Uint8Array[]): Buffer {
  const at = random.below(bytes.length + 1);
  const length = random.below(Math.min(64, bytes.length - at + 1));
  switch (random.below(8)) {
    case 0:
      bytes[at] = random.below(256);
      return bytes;
    case 1:
      bytes[at] = random.pick(INTERESTING_BYTES);
      return bytes;
    case 2:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
      return bytes;
    case 3:
      return bytes.subarray(0, at);
    case 4:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
    case 5:
      return Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
    case 6: {
      const other = random.pick(corpus);
      const from = random.below(other.length + 1);
      return Buffer.concat([bytes.subarray(0, at), other.subarray(from, from + random.below(256)), bytes.subarray(at)]);
    }
    default:
      return Buffer.concat([
        bytes.subarray(0, at),
        Buffer.alloc(length, random.pick(INTERESTING_BYTES)),
        bytes.subarray(at),
      ]);
  }
}

/** One piece of the input, again and again. */
function pump(random: Random, bytes: Buffer): Buffer {
  const at = random.below(bytes.length + 1);
  const piece = Buffer.from(bytes.subarray(at, at + 1 + random.below(32)));
  if (piece.length === 0) return bytes;
  const pumped = Buffer.alloc(LARGE_BYTES, piece);
  return Buffer.concat([bytes.subarray(0, at), pumped, bytes.subarray(at)]);
}

/** Like `mutateBytes`, but also inserts pieces that mean something in the format. */
export function mutateText(random: Random, corpus: readonly string[], pieces: readonly string[]): string {
  let text = random.pick(corpus);
  const rounds = 1 + random.below(4);
  for (let round = 0; round < rounds; round += 1) {
    const at = random.below(text.length + 1);
    const end = at + random.below(Math.min(80, text.length - at + 1));
    const piece = random.pick(pieces);
    const kind = random.below(4);
    if (kind === 0) text = text.slice(0, at) + piece + text.slice(at);
    else if (kind === 1) text = text.slice(0, at) + text.slice(end);
    else if (kind === 2) text = text.slice(0, at) + piece + text.slice(end);
    else text = text.slice(0, end) + text.slice(at);
  }
  if (!random.chance(LARGE_ONE_IN)) return text;
  const at = random.below(text.length + 1);
  const piece = random.chance(2) ? random.pick(pieces) : text.slice(at, at + 1 + random.below(32));
  return text.slice(0, at) + (piece || 'x').repeat(LARGE_BYTES / (piece.length || 1)) + text.slice(at);
}

export const HOSTILE_STRINGS: readonly string[] = [
  '',
  ' ',
  '\0',
  '\n',
  '/',
  '..',
  '-',
  '.',
  ',',
  '*',
  'a/b',
  '__proto__',
  'constructor',
  '\u202e',
  '\ud800',
  '\x9b',
  '\u{e0041}',
  'true',
  'null',
  '0',
  '1e999',
  'x'.repeat(300),
  'web',
  'ä',
  '{}',
  '"',
  '\\',
];

const HOSTILE_VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  2 ** 53,
  -(2 ** 63),
  1e308,
  [],
  {},
  [[]],
  [null],
  { a: null },
  ...HOSTILE_STRINGS,
];

/** A value with some of its parts replaced, dropped, doubled or renamed. `value` itself is not changed. */
export function mutateValue(random: Random, value: unknown, depth = 0): unknown {
  if (random.chance(depth === 0 ? 200 : 12)) return random.pick(HOSTILE_VALUES);
  if (Array.isArray(value)) {
    const items: unknown[] = value.map((item) => mutateValue(random, item, depth + 1));
    if (random.chance(8)) items.splice(random.below(items.length + 1), random.below(2), random.pick(HOSTILE_VALUES));
    if (random.chance(20_000)) return Array.from({ length: 5_000 }, () => items[0] ?? null);
    return items;
  }
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).flatMap(([key, part]) => {
    if (random.chance(20)) return [];
    const name = random.chance(30) ? random.pick(HOSTILE_STRINGS) : key;
    return [[name, mutateValue(random, part, depth + 1)] as const];
  });
  if (random.chance(10)) entries.push([random.pick(HOSTILE_STRINGS), random.pick(HOSTILE_VALUES)]);
  if (random.chance(20_000)) entries.push(...Array.from({ length: 5_000 }, (_, index) => [`k${index}`, 'v'] as const));
  return Object.fromEntries(entries);
}
