import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { run, tryRun } from '../support/processes.ts';
import { type BuildProgress, progressReporter } from './build-progress.ts';
import { withLock } from './lock.ts';

/** A Go module in this repository that pins tools, and how they are built from it. */
export interface GoModule<Name extends string> {
  /** The beginning of its folder's name in the cache: letters and digits. */
  readonly name: string;
  /** Where go.mod and go.sum are. */
  readonly directory: string;
  readonly packages: Readonly<Record<Name, string>>;
  /** Go files beside go.mod. Default: none. */
  readonly sources?: readonly string[];
  /** What `go build` is given besides `-trimpath`; the versions come from go.mod. */
  readonly flags: (goMod: string) => readonly string[];
  /** How to do without Go: a sentence for the error. */
  readonly instead: string;
}

const DAY_MS = 24 * 3_600_000;
const UNUSED_AFTER_MS = 30 * DAY_MS;

export interface EnsureOptions {
  readonly onProgress?: (progress: BuildProgress) => void;
  /** Default: `process.env`. Read: XDG_CACHE_HOME, by Go its own variables; for the control plane KUBEBUILDER_ASSETS and DCRED_DOWNLOADS too. */
  readonly env?: NodeJS.ProcessEnv;
}

/** The binaries cannot be built; the message says what to install, or how to do without. */
export class BinariesError extends Error {
  readonly code = 'ControlPlaneBinaries';
  override readonly name = 'BinariesError';
}

/** Those of the named binaries that were built before. */
export async function builtBinaries<Name extends string>(
  module: GoModule<Name>,
  names: readonly Name[],
  env: NodeJS.ProcessEnv,
): Promise<readonly Name[]> {
  const absent = await missing(join(cacheRoot(env), await cacheFolder(module)), names);
  return names.filter((name) => !absent.includes(name));
}

/**
 * The folder in the user's cache that holds the named binaries; whatever is missing there is built first. Any number of
 * processes may call it at once: one builds, the others wait for it. `names` may be empty. Throws BinariesError.
 */
export async function ensureBuilt<Name extends string>(
  module: GoModule<Name>,
  names: readonly Name[],
  options: EnsureOptions = {},
): Promise<string> {
  const env = options.env ?? process.env;
  const cache = join(cacheRoot(env), await cacheFolder(module));
  if (names.length === 0) return cache;
  const onProgress = options.onProgress ?? progressReporter(process.stderr);
  if ((await missing(cache, names)).length > 0) {
    await mkdir(cache, { recursive: true });
    await withLock(join(cache, 'lock'), { onWait: (elapsedMs) => onProgress({ state: 'waiting', elapsedMs }) }, () =>
      build(module, cache, names, env, onProgress),
    );
    await removeUnused(join(cache, '..'), module.name);
  }
  const now = new Date();
  await utimes(cache, now, now);
  return cache;
}

async function build<Name extends string>(
  module: GoModule<Name>,
  cache: string,
  names: readonly Name[],
  env: NodeJS.ProcessEnv,
  onProgress: (progress: BuildProgress) => void,
): Promise<void> {
  // Checked again under the lock: while this process waited for it, another process may have built them.
  const wanted = await missing(cache, names);
  if (wanted.length === 0) return;
  await checkGo(module, env);
  for (const name of wanted) {
    const began = Date.now();
    onProgress({ state: 'building', name, elapsedMs: 0 });
    const timer = setInterval(() => onProgress({ state: 'building', name, elapsedMs: Date.now() - began }), 1_000);
    try {
      await buildOne(module, cache, name, env);
    } finally {
      clearInterval(timer);
    }
    onProgress({ state: 'built', name, elapsedMs: Date.now() - began });
  }
}

async function buildOne<Name extends string>(
  module: GoModule<Name>,
  cache: string,
  name: Name,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  // Renamed when whole, so that an interrupted build leaves nothing that looks like a binary. The name is this build's own: a process that
  // was too busy to show that it lives has lost its lock, and builds on.
  const unfinished = join(cache, `${name}.${randomUUID()}.unfinished`);
  const source = module.packages[name];
  try {
    const go = await tryRun('go', ['build', ...(await buildFlags(module)), '-o', unfinished, source], {
      cwd: module.directory,
      env: goEnvironment(env),
      timeoutMs: 60 * 60_000,
    });
    if (go.status !== 0) throw new BinariesError(`go build ${source} failed:\n${go.stderr.trim().slice(-4_000)}`);
    await rename(unfinished, join(cache, name));
  } finally {
    await rm(unfinished, { force: true });
  }
}

function goEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...env, CGO_ENABLED: '0', GOWORK: 'off' };
}

async function buildFlags(module: GoModule<string>): Promise<readonly string[]> {
  return ['-trimpath', ...module.flags(await moduleFile(module, 'go.mod'))];
}

async function checkGo(module: GoModule<string>, env: NodeJS.ProcessEnv): Promise<void> {
  const needed = /^go (\d+)\.(\d+)/m.exec(await moduleFile(module, 'go.mod'));
  const [, major = '0', minor = '0'] = needed ?? [];
  const wanted = `Go ${major}.${minor} or newer is needed to build the test cluster's binaries`;
  const found = await run('go', ['env', 'GOVERSION'], { cwd: module.directory, env: goEnvironment(env) }).catch(
    (cause: NodeJS.ErrnoException) => {
      const what = cause.code === 'ENOENT' ? 'no "go" is on the PATH' : cause.message;
      throw new BinariesError(`${wanted}: ${what}. Install it from https://go.dev/dl. ${module.instead}`.trim(), {
        cause,
      });
    },
  );
  const version = /^go(\d+)\.(\d+)/.exec(found.stdout.trim());
  const isNewEnough =
    version !== null &&
    (Number(version[1]) > Number(major) ||
      (Number(version[1]) === Number(major) && Number(version[2]) >= Number(minor)));
  if (isNewEnough) return;
  throw new BinariesError(
    `${wanted}: found ${found.stdout.trim()}. Install a newer one from https://go.dev/dl. ${module.instead}`.trim(),
  );
}

/** The name has everything that decides the binaries' content, so that a change of version never finds an old binary. */
async function cacheFolder(module: GoModule<string>): Promise<string> {
  const hash = createHash('sha256');
  const flags = await buildFlags(module);
  const files = ['go.mod', 'go.sum', ...(module.sources ?? [])];
  const texts = await Promise.all(files.map((file) => moduleFile(module, file)));
  for (const part of [...texts, ...flags]) hash.update(`${part}\0`);
  hash.update(`${process.platform}/${process.arch}`);
  return `${module.name}-${hash.digest('hex').slice(0, 16)}`;
}

export function cacheRoot(env: NodeJS.ProcessEnv): string {
  return join(env['XDG_CACHE_HOME'] || join(env['HOME'] || homedir(), '.cache'), 'dcred');
}

function moduleFile(module: GoModule<string>, name: string): Promise<string> {
  return readFile(join(module.directory, name), 'utf8');
}

async function missing<Name extends string>(cache: string, names: readonly Name[]): Promise<readonly Name[]> {
  const present = await Promise.all(names.map((name) => isExecutable(join(cache, name))));
  return names.filter((_, index) => present[index] !== true);
}

export async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** Removes the binaries of versions that were not used for 30 days; each set is half a gigabyte. */
export async function removeUnused(root: string, name: string): Promise<void> {
  const sets = new RegExp(`^${name}-[0-9a-f]{16}$`);
  for (const folder of await readdir(root)) {
    if (!sets.test(folder)) continue;
    const { mtimeMs } = await stat(join(root, folder));
    if (Date.now() - mtimeMs > UNUSED_AFTER_MS) await rm(join(root, folder), { recursive: true, force: true });
  }
}
