import { randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

export interface NewFile {
  readonly name: string;
  readonly content: Uint8Array;
  readonly mode: number;
}

/**
 * Replaces files of a directory, which is made where it is missing.
 *
 * Everything is written and flushed under temporary names first, so that a full disk or a missing permission changes nothing.
 * Then come the renames, each atomic, in the order given: whoever reads a file sees the old or the new one, whole. Several
 * renames cannot be one, so put last what readers watch: by then, all that it belongs to is in place. `obsolete` files go
 * before the first rename, for a reader is better off without one than with one from another set.
 */
export async function replaceFiles(
  directory: string,
  files: readonly NewFile[],
  { obsolete, signal }: { readonly obsolete: readonly string[]; readonly signal: AbortSignal },
): Promise<void> {
  await mkdir(directory, { recursive: true });
  const suffix = randomBytes(6).toString('hex');
  const temporary = (name: string) => join(directory, `.${name}.${suffix}`);
  try {
    for (const file of files) {
      signal.throwIfAborted();
      await writeFlushed(temporary(file.name), file);
    }
    signal.throwIfAborted();
    for (const name of obsolete) await rm(join(directory, name), { force: true });
    for (const { name } of files) await rename(temporary(name), join(directory, name));
  } catch (error) {
    for (const { name } of files) await rm(temporary(name), { force: true });
    throw error;
  }
}

async function writeFlushed(path: string, { content, mode }: NewFile): Promise<void> {
  // wx: never follow what someone else put there.
  await using file = await open(path, 'wx', mode);
  await file.chmod(mode);
  await file.writeFile(content);
  await file.sync();
}
