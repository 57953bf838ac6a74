/**
 * One version of a mounted Secret. A kubelet writes every change into a new directory and then swaps one symbolic link, so that all
 * files change at once:
 *
 *     web/..2026_11_23_21_00_00.123/{tls.crt,dc.key,...}     written once, never changed; removed after the swap
 *     web/..data -> ..2026_11_23_21_00_00.123                the swap
 *     web/tls.crt -> ..data/tls.crt                          what servers open, one file after the other
 *
 * Opening several files by their links may mix two versions. So the link is read first, then the files of its target, then the link
 * again.
 */
import { lstat, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { CREDENTIAL_FILE_NAMES, type CredentialFileName } from '../credential/files.ts';
import { FileRefusedError, readBounded } from '../files/read-bounded.ts';

export type MountedVersionErrorCode = 'NotFound' | 'NotAMount' | 'Incomplete' | 'Unreadable' | 'TooLarge' | 'Unstable';

export class MountedVersionError extends Error {
  override readonly name = 'MountedVersionError';
  readonly code: MountedVersionErrorCode;

  constructor(code: MountedVersionErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export type Files = ReadonlyMap<CredentialFileName, Buffer>;

export interface MountedVersion {
  /** Target of `..data`, different for every version. */
  readonly name: string;
  /** Time of the swap, in milliseconds since the epoch. */
  readonly placedAtMs: number;
  /** Whether no other version can have been mounted before it. */
  readonly isFirst: boolean;
  readonly files: Files;
}

/** Formats of other servers; Fizz takes P-256 keys only. */
const OPTIONAL: ReadonlySet<CredentialFileName> = new Set<CredentialFileName>(['dc.hex', 'dc.pem', 'fizz.pem']);
/** The size limit of a whole Secret. */
const MAX_BYTES = 1_048_576;
const ATTEMPTS = 10;
/** How far apart a kubelet creates the links of a new volume, at most. Swaps are minutes apart. */
const SET_UP_MS = 1_000;
/** As kubelets name them (`pkg/volume/util/atomic_writer.go`): beside the link, never elsewhere. */
const VERSION_NAME = /^\.\.[^/]{1,253}$/;

/** The name of the current version; undefined while there is none. One system call. */
export async function mountedVersionName(directory: string): Promise<string | undefined> {
  try {
    return await readlink(join(directory, '..data'));
  } catch {
    return undefined;
  }
}

export type ReadFile = (path: string) => Promise<Buffer>;

/** A file of a version is a file: not a link to somewhere else, not a pipe. */
const readSmallFile: ReadFile = (path) => readBounded(path, MAX_BYTES, false);

/**
 * Reads every file of the current version, and of no other.
 * @throws {MountedVersionError}
 */
export async function readMountedVersion(
  directory: string,
  signal: AbortSignal,
  readFile: ReadFile = readSmallFile,
): Promise<MountedVersion> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    signal.throwIfAborted();
    const name = await currentName(directory);
    const placement = await readPlacement(directory);
    const outcome = await readFiles(join(directory, name), directory, readFile).catch((error: unknown) => error);
    // Swapped meanwhile: what was read may be partly removed, and is out of date.
    if ((await mountedVersionName(directory)) !== name) continue;
    if (outcome instanceof Map) return { name, ...placement, files: outcome };
    throw outcome;
  }
  throw new MountedVersionError('Unstable', `${directory} changed ${ATTEMPTS} times while it was read`);
}

/**
 * The kubelet creates the links to the files once, beside the first swap, and `..data` at every swap: where their times differ,
 * another version was mounted before. By mtime, because a change of owner for the pod's fsGroup sets ctime.
 */
async function readPlacement(directory: string): Promise<Pick<MountedVersion, 'isFirst' | 'placedAtMs'>> {
  const [swap, file] = await Promise.all(
    ['..data', 'tls.crt'].map((name) => lstat(join(directory, name)).catch(() => undefined)),
  );
  const isFirst = swap !== undefined && file !== undefined && Math.abs(swap.mtimeMs - file.mtimeMs) <= SET_UP_MS;
  return { placedAtMs: swap?.ctimeMs ?? Date.now(), isFirst };
}

async function currentName(directory: string): Promise<string> {
  try {
    const name = await readlink(join(directory, '..data'));
    if (VERSION_NAME.test(name)) return name;
    throw new MountedVersionError(
      'NotAMount',
      `${directory}/..data does not lead to a directory beside it: expected a mounted Secret`,
    );
  } catch (cause) {
    if (cause instanceof MountedVersionError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    // EINVAL: it is not a link.
    if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'EINVAL') throw unreadable(directory, cause);
    const exists = await lstat(directory)
      .then(() => true)
      .catch(() => false);
    if (!exists) {
      throw new MountedVersionError('NotFound', `${directory} does not exist: expected a Secret mounted there`, {
        cause,
      });
    }
    throw new MountedVersionError(
      'NotAMount',
      `${directory} has no "..data": expected a whole Secret mounted there; a subPath mount is never refreshed`,
      { cause },
    );
  }
}

async function readFiles(folder: string, directory: string, readFile: ReadFile): Promise<Files> {
  const files = new Map<CredentialFileName, Buffer>();
  for (const name of CREDENTIAL_FILE_NAMES) {
    const content = await readSmall(join(folder, name), `${directory}/${name}`, OPTIONAL.has(name), readFile);
    if (content !== undefined) files.set(name, content);
  }
  return files;
}

async function readSmall(
  path: string,
  shown: string,
  optional: boolean,
  readFile: ReadFile,
): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (error instanceof FileRefusedError) {
      if (error.code === 'FileTooLarge') throw new MountedVersionError('TooLarge', `${shown} is larger than 1 MiB`);
      throw new MountedVersionError('NotAMount', `${shown} is not a regular file: expected a Secret mounted there`);
    }
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && optional) return undefined;
    if (code === 'ENOENT') {
      throw new MountedVersionError(
        'Incomplete',
        `${shown} is missing: expected a Secret that dcred issued, mounted whole`,
      );
    }
    throw unreadable(shown, error);
  }
}

function unreadable(shown: string, cause: unknown): MountedVersionError {
  const { code } = cause as NodeJS.ErrnoException;
  const hint =
    code === 'EACCES'
      ? `: uid ${process.getuid?.()} has no permission; give the pod an fsGroup, or the volume defaultMode 0444`
      : '';
  return new MountedVersionError('Unreadable', `${shown} cannot be read (${code ?? 'unknown error'})${hint}`, {
    cause,
  });
}
