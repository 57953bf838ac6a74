/** Writes tar archives (POSIX.1-1988 ustar). The same entries give the same bytes: no times, no owners. */

export type TarEntry =
  | { readonly type: 'directory'; readonly path: string; readonly mode?: number }
  | { readonly type: 'file'; readonly path: string; readonly content: Uint8Array; readonly mode?: number };

const BLOCK = 512;
const MAX_NAME = 100;
const TYPE_FLAGS = { file: '0', directory: '5' } as const;
const DEFAULT_MODES = { file: 0o644, directory: 0o755 } as const;

/** The archive of these entries, in this order, owned by root. Throws RangeError for a path of more than 100 bytes. */
export function tar(entries: readonly TarEntry[]): Buffer {
  const blocks: Uint8Array[] = [];
  for (const entry of entries) {
    const content = entry.type === 'file' ? entry.content : new Uint8Array();
    blocks.push(header(entry, content.length), content, new Uint8Array(padding(content.length)));
  }
  // An archive ends with two blocks of zeros.
  return Buffer.concat([...blocks, new Uint8Array(2 * BLOCK)]);
}

function header(entry: TarEntry, size: number): Buffer {
  const name = entry.type === 'directory' ? `${entry.path}/` : entry.path;
  if (Buffer.byteLength(name) > MAX_NAME) {
    throw new RangeError(`tar: expected a path of at most ${MAX_NAME} bytes, found "${name}"`);
  }
  const block = Buffer.alloc(BLOCK);
  block.write(name, 0);
  block.write(octal(entry.mode ?? DEFAULT_MODES[entry.type], 8), 100);
  block.write(octal(0, 8), 108);
  block.write(octal(0, 8), 116);
  block.write(octal(size, 12), 124);
  block.write(octal(0, 12), 136);
  // The checksum is computed with its own field filled with spaces.
  block.write(' '.repeat(8), 148);
  block.write(TYPE_FLAGS[entry.type], 156);
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** Padded with zeros to one less than the field's width, terminated by NUL. */
function octal(value: number, width: number): string {
  const digits = value.toString(8).padStart(width - 1, '0');
  if (digits.length >= width) throw new RangeError(`tar: ${value} does not fit into ${width - 1} octal digits`);
  return `${digits}\0`;
}

function padding(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}
