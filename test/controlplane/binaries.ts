import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { run, tryRun } from '../support/processes.ts';
import { type BuildProgress, progressReporter } from './build-progress.ts';
import { withLock } from './lock.ts';

/** Where each binary comes from in this folder's Go module. */
const PACKAGES = {
  etcd: 'go.etcd.io/etcd/server/v3',
  'kube-apiserver': 'k8s.io/kubernetes/cmd/kube-apiserver',
  'kube-controller-manager': 'k8s.io/kubernetes/cmd/kube-controller-manager',
  'kube-scheduler': 'k8s.io/kubernetes/cmd/kube-scheduler',
  kubelet: 'k8s.io/kubernetes/cmd/kubelet',
  'kube-proxy': 'k8s.io/kubernetes/cmd/kube-proxy',
  kubectl: 'k8s.io/kubernetes/cmd/kubectl',
  helm: 'helm.sh/helm/v4/cmd/helm',
} as const;

export type BinaryName = keyof typeof PACKAGES;

const MODULE_DIRECTORY = import.meta.dirname;
const DAY_MS = 24 * 3_600_000;
const UNUSED_AFTER_MS = 30 * DAY_MS;
const FOLDER = /^controlplane-[0-9a-f]{16}$/;

export interface EnsureOptions {
  readonly onProgress?: (progress: BuildProgress) => void;
  /** Default: `process.env`. Read: KUBEBUILDER_ASSETS, XDG_CACHE_HOME, and by Go its own variables. */
  readonly env?: NodeJS.ProcessEnv;
}

/** The binaries cannot be built; the message says what to install, or how to do without. */
export class BinariesError extends Error {
  readonly code = 'CONTROL_PLANE_BINARIES';
  override readonly name = 'BinariesError';
}

/**
 * The paths of the named binaries: from `KUBEBUILDER_ASSETS` where that folder has them, else from the user's cache,
 * into which whatever is missing is built first. The first build of all takes minutes, later calls a millisecond.
 * Any number of processes may call it at once: one builds, the others wait for it. Throws BinariesError.
 */
export async function ensureBinaries<Name extends BinaryName>(
  names: readonly Name[],
  options: EnsureOptions = {},
): Promise<Readonly<Record<Name, string>>> {
  const env = options.env ?? process.env;
  const assets = env['KUBEBUILDER_ASSETS'];
  const cache = join(cacheRoot(env), await cacheFolder());
  const paths = await Promise.all(
    names.map(async (name) => {
      const given = assets === undefined || assets === '' ? undefined : join(assets, name);
      const path = given !== undefined && (await isExecutable(given)) ? given : join(cache, name);
      return [name, path] as const;
    }),
  );
  const fromCache = paths.flatMap(([name, path]) => (path.startsWith(cache) ? [name] : []));
  if (fromCache.length > 0) await fill(cache, fromCache, env, options.onProgress ?? progressReporter(process.stderr));
  return Object.fromEntries(paths) as Record<Name, string>;
}

async function fill(
  cache: string,
  names: readonly BinaryName[],
  env: NodeJS.ProcessEnv,
  onProgress: (progress: BuildProgress) => void,
): Promise<void> {
  if ((await missing(cache, names)).length > 0) {
    await mkdir(cache, { recursive: true });
    await withLock(join(cache, 'lock'), { onWait: (elapsedMs) => onProgress({ state: 'waiting', elapsedMs }) }, () =>
      build(cache, names, env, onProgress),
    );
    await removeUnused(join(cache, '..'));
  }
  const now = new Date();
  await utimes(cache, now, now);
}

async function build(
  cache: string,
  names: readonly BinaryName[],
  env: NodeJS.ProcessEnv,
  onProgress: (progress: BuildProgress) => void,
): Promise<void> {
  // Asked again under the lock: while we waited for it, another process may have built them.
  const wanted = await missing(cache, names);
  if (wanted.length === 0) return;
  await checkGo(env);
  const flags = await buildFlags();
  for (const name of wanted) {
    const began = Date.now();
    onProgress({ state: 'building', name, elapsedMs: 0 });
    const timer = setInterval(() => onProgress({ state: 'building', name, elapsedMs: Date.now() - began }), 1_000);
    try {
      await buildOne(cache, name, flags, env);
    } finally {
      clearInterval(timer);
    }
    onProgress({ state: 'built', name, elapsedMs: Date.now() - began });
  }
}

async function buildOne(
  cache: string,
  name: BinaryName,
  flags: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  // Renamed when whole, so that a build that is broken off leaves nothing that looks like a binary.
  const unfinished = join(cache, `${name}.unfinished`);
  const go = await tryRun('go', ['build', ...flags, '-o', unfinished, PACKAGES[name]], {
    cwd: MODULE_DIRECTORY,
    env: goEnvironment(env),
    timeoutMs: 60 * 60_000,
  });
  if (go.status !== 0) throw new BinariesError(`go build ${PACKAGES[name]} failed:\n${go.stderr.trim().slice(-4_000)}`);
  await rename(unfinished, join(cache, name));
}

function goEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...env, CGO_ENABLED: '0', GOWORK: 'off' };
}

async function buildFlags(): Promise<readonly string[]> {
  const version = /^\s*k8s\.io\/kubernetes (v(\d+)\.(\d+)\.\d+)(?: |$)/m.exec(await moduleFile('go.mod'));
  if (version === null) throw new BinariesError('test/controlplane/go.mod does not require k8s.io/kubernetes');
  const [, full, major, minor] = version;
  const variables = Object.entries({ gitVersion: full, gitMajor: major, gitMinor: minor });
  const settings = variables.map(([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`);
  return ['-trimpath', '-ldflags', ['-s', '-w', ...settings].join(' ')];
}

const INSTEAD =
  'Or build nothing: fill a folder with setup-envtest and name it in KUBEBUILDER_ASSETS (test/controlplane/README.md).';

async function checkGo(env: NodeJS.ProcessEnv): Promise<void> {
  const needed = /^go (\d+)\.(\d+)/m.exec(await moduleFile('go.mod'));
  const [, major = '0', minor = '0'] = needed ?? [];
  const wanted = `Go ${major}.${minor} or newer is needed to build the test cluster's binaries`;
  const found = await run('go', ['env', 'GOVERSION'], { cwd: MODULE_DIRECTORY, env: goEnvironment(env) }).catch(
    (cause: NodeJS.ErrnoException) => {
      const what = cause.code === 'ENOENT' ? 'no "go" is on the PATH' : cause.message;
      throw new BinariesError(`${wanted}: ${what}. Install it from https://go.dev/dl. ${INSTEAD}`, { cause });
    },
  );
  const version = /^go(\d+)\.(\d+)/.exec(found.stdout.trim());
  const isNewEnough =
    version !== null &&
    (Number(version[1]) > Number(major) ||
      (Number(version[1]) === Number(major) && Number(version[2]) >= Number(minor)));
  if (isNewEnough) return;
  throw new BinariesError(
    `${wanted}: found ${found.stdout.trim()}. Install a newer one from https://go.dev/dl. ${INSTEAD}`,
  );
}

/** Named for all that decides the binaries' content, so that a change of version never meets an old binary. */
async function cacheFolder(): Promise<string> {
  const hash = createHash('sha256');
  const flags = await buildFlags();
  for (const part of [await moduleFile('go.mod'), await moduleFile('go.sum'), ...flags]) hash.update(`${part}\0`);
  hash.update(`${process.platform}/${process.arch}`);
  return `controlplane-${hash.digest('hex').slice(0, 16)}`;
}

function cacheRoot(env: NodeJS.ProcessEnv): string {
  return join(env['XDG_CACHE_HOME'] || join(env['HOME'] || homedir(), '.cache'), 'dcred');
}

function moduleFile(name: string): Promise<string> {
  return readFile(join(MODULE_DIRECTORY, name), 'utf8');
}

async function missing(cache: string, names: readonly BinaryName[]): Promise<readonly BinaryName[]> {
  const present = await Promise.all(names.map((name) => isExecutable(join(cache, name))));
  return names.filter((_, index) => present[index] !== true);
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** Removes the binaries of versions that nobody has asked for in 30 days; each set is half a gigabyte. */
async function removeUnused(root: string): Promise<void> {
  for (const folder of await readdir(root)) {
    if (!FOLDER.test(folder)) continue;
    const { mtimeMs } = await stat(join(root, folder));
    if (Date.now() - mtimeMs > UNUSED_AFTER_MS) await rm(join(root, folder), { recursive: true, force: true });
  }
}
