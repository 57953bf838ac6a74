/** Writes a set of files that belong together so that no reader, and no crash, sees half of it. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readdir, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';

export interface NewFile {
  readonly name: string;
  readonly content: Uint8Array;
  readonly mode: number;
  /** It replaces nothing: EEXIST where there is one, also one that came meanwhile. */
  readonly isFirst?: boolean;
}

export interface ReplaceOptions {
  /** Names of the set that the new one lacks: gone afterwards. */
  readonly obsolete: readonly string[];
  readonly signal: AbortSignal;
}

/**
 * Replaces the files of a set in a directory, which is made (mode 0700) where it is missing.
 *
 * Everything is written and flushed under temporary names first, so that a full disk or a missing permission changes nothing.
 * A directory that holds nothing but the set is then replaced as a whole, by a rename: readers see all files of one set, or for
 * the moment between two renames no directory. Where it holds other files, is a mount point or the working directory, or where nothing
 * can be written beside it (a volume in a read-only root), the files are renamed one by one in the order given: put last what readers
 * watch, so that by then all that it belongs to is in place. Whoever else replaces them at the same time, all are of one set in the end.
 */
export async function replaceFiles(
  directory: string,
  files: readonly NewFile[],
  { obsolete, signal }: ReplaceOptions,
): Promise<void> {
  // Without a trailing slash or dots: its parent is where a rename takes place.
  const path = resolve(directory);
  await makeDirectories(dirname(path));
  const existing = await modeOf(path);
  // A symbolic link stays: what it leads to is replaced.
  const target = existing === undefined ? path : await realpath(path);
  const names = new Set([...files.map(({ name }) => name), ...obsolete]);
  if (existing !== undefined) await checkNoDirectories(target, names);
  // The shell would stay in the old directory, which is gone then.
  const isWorkingDirectory = target === process.cwd();
  const isOwn = existing === undefined || (await holdsOnly(target, names));
  const mayReplace = existing === undefined || !files.some(({ isFirst }) => isFirst);
  const name = `.${basename(target)}.${randomBytes(6).toString('hex')}`;
  const beside = join(dirname(target), name);
  const isBeside = await makeStage(beside, existing !== undefined);
  const staged = isBeside ? beside : join(target, name);
  try {
    if (!isBeside) await mkdir(staged, { mode: 0o700 });
    await stage(staged, files, signal);
    if (isBeside && isOwn && mayReplace && !isWorkingDirectory && (await swap(staged, target, existing, names))) return;
    await moveEach(staged, target, files, obsolete);
  } finally {
    await rm(staged, { recursive: true, force: true });
  }
}

/** Not by `recursive`, which tries for ever where the parent is there and takes no new directory, such as /proc. */
async function makeDirectories(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    await makeDirectories(dirname(path));
    await mkdir(path);
  }
}

/** False where it cannot be made, and another place remains. */
async function makeStage(path: string, hasOther: boolean): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 });
    return true;
  } catch (error) {
    if (!hasOther) throw error;
    return false;
  }
}

async function stage(staged: string, files: readonly NewFile[], signal: AbortSignal): Promise<void> {
  for (const { content, mode, name } of files) {
    signal.throwIfAborted();
    await using file = await open(join(staged, name), 'wx', mode);
    await file.chmod(mode);
    await file.writeFile(content);
    await file.sync();
  }
  await syncDirectory(staged);
  signal.throwIfAborted();
}

/** A container engine makes a directory of a file that it is to mount and that is missing. Nothing is known of what may be in it. */
async function checkNoDirectories(directory: string, names: ReadonlySet<string>): Promise<void> {
  const entries = await readdir(directory, { withFileTypes: true });
  const found = entries.find((entry) => entry.isDirectory() && names.has(entry.name));
  if (found !== undefined) throw new Error(`${found.name} in it is a directory, expected a file: remove it`);
}

async function holdsOnly(directory: string, names: ReadonlySet<string>): Promise<boolean> {
  return (await readdir(directory)).every((name) => names.has(name));
}

/**
 * False where the target cannot be renamed (a mount point, the root, the directory of another user), and where another file has
 * come into it since the first look: it would be removed with the old set.
 */
async function swap(
  staged: string,
  target: string,
  mode: number | undefined,
  names: ReadonlySet<string>,
): Promise<boolean> {
  const old = `${staged}.old`;
  if (mode !== undefined) {
    await chmod(staged, mode);
    if (!(await tryRename(target, old))) return false;
    if (!(await holdsOnly(old, names))) {
      await rename(old, target);
      return false;
    }
  }
  try {
    await rename(staged, target);
  } catch (error) {
    if (mode !== undefined) await rename(old, target);
    throw error;
  }
  await syncDirectory(dirname(target));
  await rm(old, { recursive: true, force: true });
  return true;
}

async function tryRename(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch {
    return false;
  }
}

/** Each attempt fails only where another call renames files between its own first rename and its last look. */
const MOVE_ATTEMPTS = 20;

async function moveEach(
  staged: string,
  target: string,
  files: readonly NewFile[],
  obsolete: readonly string[],
): Promise<void> {
  const made: string[] = [];
  try {
    for (const { name } of files.filter(({ isFirst }) => isFirst)) {
      await copyFlushed(join(staged, name), join(target, name));
      made.push(join(target, name));
    }
    const others = files.filter(({ isFirst }) => isFirst !== true);
    for (let attempt = 0; attempt < MOVE_ATTEMPTS; attempt += 1) {
      await moveOnce(staged, target, others, obsolete);
      if (await holdsSet(target, others, obsolete)) return;
    }
    throw new Error('other processes write into it at the same time: let them end, and run the command again');
  } catch (error) {
    for (const path of made) await rm(path, { force: true });
    throw error;
  }
}

/** `obsolete` files go before the first rename: a reader is better off without one than with one of another set. */
async function moveOnce(
  staged: string,
  target: string,
  files: readonly NewFile[],
  obsolete: readonly string[],
): Promise<void> {
  const moved = files
    // Names of this call alone: another one at work in the same directory removes its own, whatever becomes of it.
    .map(({ name }) => ({ from: join(target, `${basename(staged)}.${name}`), to: join(target, name), name }));
  try {
    // A rename within one directory never crosses file systems; a copy into it may fail half-way, and changes nothing yet.
    for (const { from, name } of moved) await copyFlushed(join(staged, name), from);
    for (const name of obsolete) await rm(join(target, name), { force: true });
    for (const { from, to } of moved) await rename(from, to);
    await syncDirectory(target);
  } catch (error) {
    for (const { from } of moved) await rm(from, { force: true });
    throw error;
  }
}

/**
 * Whether all is still of this set. Two calls that rename at the same time would leave a key of one and a credential of the other;
 * whoever renames last sees that, and moves its set again.
 */
async function holdsSet(target: string, files: readonly NewFile[], obsolete: readonly string[]): Promise<boolean> {
  const present = await readdir(target);
  if (obsolete.some((name) => present.includes(name))) return false;
  for (const { content, name } of files) {
    const found = await readFile(join(target, name)).catch(() => undefined);
    if (found === undefined || Buffer.compare(found, content) !== 0) return false;
  }
  return true;
}

async function copyFlushed(from: string, to: string): Promise<void> {
  await using source = await open(from, 'r');
  const { mode } = await source.stat();
  // wx: never follow what someone else put there.
  await using copy = await open(to, 'wx', mode & 0o777);
  try {
    await copy.chmod(mode & 0o777);
    await copy.writeFile(await source.readFile());
    await copy.sync();
  } catch (error) {
    await rm(to, { force: true });
    throw error;
  }
}

async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.sync();
}

async function modeOf(directory: string): Promise<number | undefined> {
  try {
    return (await stat(directory)).mode & 0o777;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
