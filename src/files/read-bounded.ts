/** Reads small files that others write: never more than a limit, and never a pipe or a device, which could block for ever. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

export class FileRefusedError extends Error {
  readonly code: 'NotAFile' | 'FileTooLarge';
  override readonly name = 'FileRefusedError';

  constructor(code: 'NotAFile' | 'FileTooLarge', message: string) {
    super(message);
    this.code = code;
  }
}

/** Without it, opening a named pipe waits for a writer. */
const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK;
const CHUNK_BYTES = 64 * 1024;

/**
 * Reads at most `maxBytes`, whatever size the file claims: those of /proc claim none.
 * @param followLinks whether the path itself may be a symbolic link
 * @throws {FileRefusedError} for anything but a regular file, and for a longer one
 */
export async function readBounded(path: string, maxBytes: number, followLinks = true): Promise<Buffer> {
  await using file = await open(path, followLinks ? FLAGS : FLAGS | constants.O_NOFOLLOW);
  if (!(await file.stat()).isFile()) throw new FileRefusedError('NotAFile', `${path} is not a regular file`);
  const chunks: Buffer[] = [];
  let size = 0;
  for (;;) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, maxBytes + 1 - size));
    const { bytesRead } = await file.read(chunk, 0, chunk.length, null);
    if (bytesRead === 0) return Buffer.concat(chunks, size);
    size += bytesRead;
    if (size > maxBytes) throw new FileRefusedError('FileTooLarge', `${path} has more than ${maxBytes} bytes`);
    chunks.push(chunk.subarray(0, bytesRead));
  }
}

/** The beginning of a file that may be longer. */
export async function readBeginning(path: string, maxBytes: number): Promise<string> {
  await using file = await open(path, FLAGS);
  if (!(await file.stat()).isFile()) throw new FileRefusedError('NotAFile', `${path} is not a regular file`);
  const buffer = Buffer.alloc(maxBytes);
  const { bytesRead } = await file.read(buffer, 0, maxBytes, 0);
  return buffer.toString('utf8', 0, bytesRead);
}
