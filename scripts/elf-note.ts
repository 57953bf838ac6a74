/**
 * Appends a note to an ELF executable so that the program finds it in its own memory: how a single executable application of Node carries
 * its script (https://nodejs.org/docs/latest-v24.x/api/single-executable-applications.html). Pure.
 *
 * There is no room for another program header, so two are reused: the build id's becomes the segment that loads the new note, and PT_PHDR,
 * which only a position-independent executable needs, becomes the note's own.
 */

export class ElfError extends Error {
  readonly code = 'Elf';
  override readonly name = 'ElfError';
}

const ET_EXEC = 2;
const PT = { load: 1, note: 4, phdr: 6 } as const;
const READABLE = 4;
const PAGE = 0x10000n; // the largest page of arm64
const HEADER_SIZE = 56;

interface Segment {
  readonly type: number;
  /** Offset of its program header. */
  readonly at: number;
  readonly end: bigint;
}

/** The executable with the note appended. Throws ElfError unless it is a 64-bit little-endian one at a fixed address. */
export function withNote(executable: Uint8Array, name: string, content: Uint8Array): Buffer {
  const elf = Buffer.from(executable);
  if (elf.readUInt32BE(0) !== 0x7f454c46 || elf[4] !== 2 || elf[5] !== 1 || elf.readUInt16LE(16) !== ET_EXEC) {
    throw new ElfError('expected a 64-bit little-endian ELF executable at a fixed address (ET_EXEC)');
  }
  const segments = readSegments(elf);
  const note = segments.findLast(({ type }) => type === PT.note);
  const self = segments.find(({ type }) => type === PT.phdr);
  const lastLoad = segments.findLast(({ type }) => type === PT.load);
  if (note === undefined || self === undefined || lastLoad === undefined || note.at < lastLoad.at) {
    throw new ElfError('expected the program headers PT_PHDR, PT_LOAD and, behind these, PT_NOTE');
  }
  const body = encodeNote(name, content);
  const offset = roundUp(BigInt(elf.length), PAGE);
  const highest = segments.reduce((most, { end, type }) => (type === PT.load && end > most ? end : most), 0n);
  const address = roundUp(highest, PAGE);
  writeSegment(elf, note.at, { type: PT.load, offset, address, size: BigInt(body.length), align: PAGE });
  writeSegment(elf, self.at, { type: PT.note, offset, address, size: BigInt(body.length), align: 4n });
  return Buffer.concat([elf, Buffer.alloc(Number(offset) - elf.length), body]);
}

function readSegments(elf: Buffer): readonly Segment[] {
  const [start, size, count] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)];
  if (size !== HEADER_SIZE) throw new ElfError(`expected program headers of ${HEADER_SIZE} bytes, found ${size}`);
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * size;
    return { type: elf.readUInt32LE(at), at, end: elf.readBigUInt64LE(at + 16) + elf.readBigUInt64LE(at + 40) };
  });
}

interface NewSegment {
  readonly type: number;
  readonly offset: bigint;
  readonly address: bigint;
  readonly size: bigint;
  readonly align: bigint;
}

function writeSegment(elf: Buffer, at: number, { address, align, offset, size, type }: NewSegment): void {
  elf.writeUInt32LE(type, at);
  elf.writeUInt32LE(READABLE, at + 4);
  for (const [index, value] of [offset, address, address, size, size, align].entries()) {
    elf.writeBigUInt64LE(value, at + 8 + index * 8);
  }
}

/** Elf64_Nhdr: the lengths of name and content, a type, then both, each padded to four bytes. */
function encodeNote(name: string, content: Uint8Array): Buffer {
  const header = Buffer.alloc(12);
  const nameBytes = Buffer.from(`${name}\0`);
  header.writeUInt32LE(nameBytes.length, 0);
  header.writeUInt32LE(content.length, 4);
  return Buffer.concat([header, padded(nameBytes), padded(content)]);
}

function padded(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}

function roundUp(value: bigint, unit: bigint): bigint {
  return ((value + unit - 1n) / unit) * unit;
}
