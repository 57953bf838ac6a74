import { createReadStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';

/** The archive does not contain the file, or not all of it. */
class ArchiveError extends Error {
  readonly code = 'Archive';
  override readonly name = 'ArchiveError';
}

const BLOCK = 512;

interface Entry {
  readonly name: string;
  readonly size: number;
  readonly isFile: boolean;
}

/**
 * Writes one file of a tar.gz to `path`. No other entry is ever written, so no name in an archive can lead out of a folder. The
 * entry must be a regular file of at most `maxBytes`; at most ten times as much is read.
 * Format: POSIX.1-1988 ustar; long names of other entries (pax, GNU) are skipped.
 * @throws ArchiveError; `path` is then removed
 */
export async function extractFile(archive: string, member: string, path: string, maxBytes: number): Promise<void> {
  try {
    await extract(archive, member, path, maxBytes);
  } catch (error) {
    await rm(path, { force: true });
    const message = error instanceof Error ? error.message : String(error);
    throw new ArchiveError(`${member} of the archive: ${message}`, { cause: error });
  }
}

async function extract(archive: string, member: string, path: string, maxBytes: number): Promise<void> {
  const source = createReadStream(archive);
  const stream = source.pipe(createGunzip());
  source.once('error', (error) => stream.destroy(error));
  const reader = new Reader(stream, 10 * maxBytes);
  try {
    for (;;) {
      const header = await reader.take(BLOCK);
      if (header === undefined || header.every((byte) => byte === 0)) throw new Error('expected the file, found none');
      const entry = parseHeader(header);
      const padding = (BLOCK - (entry.size % BLOCK)) % BLOCK;
      if (entry.name !== member) {
        await reader.pass(entry.size + padding, () => {});
        continue;
      }
      if (!entry.isFile) throw new Error('expected a regular file, found something else');
      if (entry.size > maxBytes) throw new Error(`expected at most ${maxBytes} bytes, found ${entry.size}`);
      await writeEntry(reader, entry.size, path);
      return;
    }
  } finally {
    source.destroy();
    stream.destroy();
  }
}

/** The file is there from the beginning: a stream may come to make it only after it was to be removed. */
async function writeEntry(reader: Reader, size: number, path: string): Promise<void> {
  await using file = await open(path, 'wx', 0o600);
  await reader.pass(size, (chunk) => file.writeFile(chunk));
}

function parseHeader(header: Buffer): Entry {
  const text = (from: number, length: number) => {
    const field = header.subarray(from, from + length);
    const end = field.indexOf(0);
    return field.subarray(0, end < 0 ? length : end).toString('utf8');
  };
  const sum = header.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 0x20 : byte), 0);
  if (Number.parseInt(text(148, 8), 8) !== sum) throw new Error('expected a tar header, found other bytes');
  const size = Number.parseInt(text(124, 12).trim() || '0', 8);
  if (!Number.isSafeInteger(size) || size < 0) throw new Error('expected a size, found none');
  const prefix = text(257, 5) === 'ustar' ? text(345, 155) : '';
  const type = text(156, 1);
  return {
    name: prefix === '' ? text(0, 100) : `${prefix}/${text(0, 100)}`,
    size,
    isFile: type === '' || type === '0',
  };
}

/** Exact amounts from a stream, and never more than `limit` bytes in all. */
class Reader {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);
  #left: number;

  constructor(stream: AsyncIterable<Buffer>, limit: number) {
    this.#chunks = stream[Symbol.asyncIterator]();
    this.#left = limit;
  }

  /** Undefined at the end of the stream. */
  async take(length: number): Promise<Buffer | undefined> {
    const parts: Buffer[] = [];
    if (!(await this.#fill())) return undefined;
    await this.pass(length, (chunk) => {
      parts.push(chunk);
    });
    return Buffer.concat(parts);
  }

  async pass(length: number, use: (chunk: Buffer) => Promise<void> | void): Promise<void> {
    for (let missing = length; missing > 0; ) {
      if (!(await this.#fill())) throw new Error('expected more, found the end of the archive');
      const chunk = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(chunk.length);
      missing -= chunk.length;
      await use(chunk);
    }
  }

  async #fill(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done === true) return false;
      this.#left -= value.length;
      if (this.#left < 0) throw new Error('expected a smaller archive');
      this.#rest = value;
    }
    return true;
  }
}
