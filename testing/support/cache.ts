import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/**
 * Where something that takes long to build is kept between runs: `${XDG_CACHE_HOME:-~/.cache}/dcred/NAME/KEY`, the key made from
 * all that the thing is built from, so that a change builds again. Nothing is created.
 */
export function cacheDirectory(name: string, contentKey: string): string {
  const base = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return join(base, 'dcred', name, createHash('sha256').update(contentKey).digest('hex').slice(0, 16));
}

/**
 * The cache directory, filled by `build` where it is missing. It appears whole or not at all: `build` fills a directory
 * beside it, which is then renamed. Two concurrent builds both succeed, and one result stays.
 */
export async function buildOnce(
  name: string,
  contentKey: string,
  build: (directory: string) => Promise<void>,
): Promise<string> {
  const directory = cacheDirectory(name, contentKey);
  if (existsSync(directory)) return directory;
  const unfinished = `${directory}.${randomBytes(6).toString('hex')}`;
  try {
    await mkdir(dirname(directory), { recursive: true });
    await mkdir(unfinished);
    await build(unfinished);
    await rename(unfinished, directory);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    // Another process was faster: its result is equal.
    if (!isTaken(error)) throw error;
  }
  return directory;
}

function isTaken(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOTEMPTY' || error.code === 'EEXIST');
}
