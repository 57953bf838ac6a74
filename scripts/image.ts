/**
 * Builds `dist/image.tar` from `dist/app`, without a registry. The image contains Node, the libraries that Node is linked with, and
 * dcred. It contains nothing else: no shell, no npm. `dist/image-pkcs11.tar` is its variant for keys on PKCS#11 tokens, one layer more. The
 * Dockerfile gets the same root folder by `node scripts/image.ts --root FOLDER [--variant pkcs11]`.
 */
import { execFileSync } from 'node:child_process';
import { access, chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { load } from 'js-yaml';
import type { TarEntry } from '../src/bundle/tar.ts';
import { type AppFile, ENTRY } from './app-files.ts';
import { imageArchive } from './image-archive.ts';
import { ADDON, compileAddon, RUNTIME_FILES } from './pkcs11-addon.ts';

const ROOT = join(import.meta.dirname, '..');
const USER_ID = 65_532;
/** Node's architectures, by Go's names. */
export const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

export class ImageError extends Error {
  readonly code = 'Image';
  override readonly name = 'ImageError';
}

/** The image name in the chart's default values. */
export async function defaultImageName(): Promise<string> {
  const read = async (name: string) => load(await readFile(join(ROOT, 'charts', 'dcred', name), 'utf8'));
  const [chart, values] = (await Promise.all([read('Chart.yaml'), read('values.yaml')])) as [
    { readonly appVersion: string },
    { readonly image: { readonly repository: string } },
  ];
  return `${values.image.repository}:${chart.appVersion}`;
}

/** What goes into the image from `make build`. */
export interface BuiltFiles {
  /** dist/app. */
  readonly app: readonly AppFile[];
  /** dist/licenses.txt. */
  readonly licences: Uint8Array;
  /** The add-on of pkcs11js, which makes it the variant for PKCS#11; see `addon`. */
  readonly addon?: Uint8Array;
}

/** Suffix of the tag of the PKCS#11 variant. */
const VARIANT = '-pkcs11';

/** The add-on for the variant, compiled. 10 s. Throws ImageError where there is no compiler. */
export async function addon(): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'dcred-addon-'));
  try {
    await compileAddon(join(folder, 'pkcs11.node'));
    return await readFile(join(folder, 'pkcs11.node'));
  } catch (cause) {
    throw new ImageError('the add-on for PKCS#11 cannot be compiled: install g++ and the headers of libc', { cause });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/**
 * glibc gives each of Node's threads its own heap, and a heap hardly ever shrinks. Measured in a wave of 400 pods: 112 to 116 MB at the
 * peak with one heap, 128 and 129 MB without. dcred does nearly everything in one thread, so the others rarely wait for it.
 */
const ONE_ARENA = 'MALLOC_ARENA_MAX=1';

/** The whole archive. Throws ImageError when this machine cannot build it. */
export async function image(built: BuiltFiles): Promise<Buffer> {
  const architecture = ARCHITECTURES[process.arch];
  if (process.platform !== 'linux' || architecture === undefined) {
    throw new ImageError(
      `expected Node for Linux on x64 or arm64, found ${process.platform} on ${process.arch}: build the image from the Dockerfile`,
    );
  }
  const name = `${await defaultImageName()}${built.addon === undefined ? '' : VARIANT}`;
  const pkcs11 = await pkcs11Layer(built);
  return imageArchive({
    name,
    architecture,
    layers: [
      { createdBy: `Node.js ${process.version} and its libraries`, entries: withParents(await base()) },
      { createdBy: 'dcred', entries: withParents(await application(built)) },
      ...(pkcs11.length === 0 ? [] : [{ createdBy: 'pkcs11js', entries: withParents(pkcs11) }]),
    ],
    user: `${USER_ID}:${USER_ID}`,
    env: ['PATH=/usr/local/bin', ONE_ARENA],
    entrypoint: ['node', '--disable-sigusr1', `/app/${ENTRY}`],
    command: ['--help'],
    labels: {
      'org.opencontainers.image.title': 'dcred',
      'org.opencontainers.image.licenses': 'Apache-2.0',
      'org.opencontainers.image.version': name.slice(name.lastIndexOf(':') + 1),
    },
  });
}

/**
 * A user who may execute a binary but not read it gets a process that none of that user's other processes can trace, and that leaves no
 * core dump: keys in memory stay there. (ptrace(2), `dumpable` in prctl(2).)
 */
const EXECUTE_ONLY = 0o711;

async function base(): Promise<readonly TarEntry[]> {
  const node = await nodeBinary();
  const files = [
    { path: 'usr/local/bin/node', from: node, mode: EXECUTE_ONLY },
    ...sharedLibraries(node).map((path) => ({ path: path.slice(1), from: path, mode: 0o755 })),
  ];
  const copied = await Promise.all(
    files.map(async ({ from, mode, path }) => ({ type: 'file', path, content: await readFile(from), mode }) as const),
  );
  const text = (path: string, content: string): TarEntry => ({ type: 'file', path, content: Buffer.from(content) });
  return [
    ...copied,
    text('etc/passwd', `root:x:0:0:root:/:/\ndcred:x:${USER_ID}:${USER_ID}:dcred:/:/\n`),
    text('etc/group', `root:x:0:\ndcred:x:${USER_ID}:\n`),
    // /etc/hosts, which the container runtime writes, then DNS.
    text('etc/nsswitch.conf', 'hosts: files dns\n'),
    { type: 'directory', path: 'tmp', mode: 0o1777 },
  ];
}

/** The Node of the dev dependencies, whose version is pinned; without it, the one that runs this script. */
export async function nodeBinary(): Promise<string> {
  const pinned = join(ROOT, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node');
  return access(pinned).then(
    () => pinned,
    () => process.execPath,
  );
}

/** The files that the dynamic linker loads, itself included, as ldd lists them. The kernel's vDSO has no file. */
export function sharedLibraries(binary: string): readonly string[] {
  // What ldd does; but ldd is a script for bash, which a build stage may lack.
  const env = { ...process.env, LD_TRACE_LOADED_OBJECTS: '1' };
  const output = execFileSync(binary, [], { encoding: 'utf8', env });
  const missing = /^\s*(\S+) => not found/m.exec(output);
  if (missing !== null)
    throw new ImageError(`${binary} needs the library ${missing[1]}, which was not found on this machine`);
  return [...output.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path);
}

/** Adds missing parent directories, because some readers create them with permissions that they choose. */
export function withParents(entries: readonly TarEntry[]): readonly TarEntry[] {
  const given = new Set(entries.map(({ path }) => path));
  const parents = new Set<string>();
  for (const { path } of entries) {
    for (let parent = dirname(path); parent !== '.'; parent = dirname(parent)) parents.add(parent);
  }
  const missing = [...parents].filter((path) => !given.has(path));
  missing.sort((a, b) => (a < b ? -1 : 1));
  return [...missing.map((path) => ({ type: 'directory', path }) as const), ...entries];
}

async function application({ app, licences }: BuiltFiles): Promise<readonly TarEntry[]> {
  return [
    ...app.map(({ contents, name }) => ({ type: 'file', path: `app/${name}`, content: contents }) as const),
    { type: 'file', path: 'licenses/dcred.txt', content: await readFile(join(ROOT, 'LICENSE')) },
    { type: 'file', path: 'licenses/packages.txt', content: licences },
  ];
}

/** The package where the import of dcred's files finds it; it is loaded by a helper process, when a `pkcs11:` key is opened. */
async function pkcs11Layer({ addon: compiled }: BuiltFiles): Promise<readonly TarEntry[]> {
  if (compiled === undefined) return [];
  const read = (name: string) => readFile(join(ADDON.package, name));
  const below = (name: string) => `app/node_modules/pkcs11js/${name}`;
  return [
    ...(await Promise.all(
      RUNTIME_FILES.map(async (name) => ({ type: 'file', path: below(name), content: await read(name) }) as const),
    )),
    { type: 'file', path: below('build/Release/pkcs11.node'), content: compiled, mode: 0o755 },
    { type: 'file', path: 'licenses/pkcs11js.txt', content: await read('LICENSE') },
  ];
}

/** The image's files, below a folder. */
async function writeRoot(folder: string, files: BuiltFiles): Promise<void> {
  const entries = [...(await base()), ...(await application(files)), ...(await pkcs11Layer(files))];
  for (const entry of withParents(entries)) {
    const path = join(folder, entry.path);
    if (entry.type === 'directory') await mkdir(path, { recursive: true });
    else await writeFile(path, entry.content);
    // Not with the option `mode`, which the umask narrows.
    if (entry.mode !== undefined) await chmod(path, entry.mode);
  }
}

async function built(): Promise<BuiltFiles> {
  const read = (name: string) =>
    readFile(join(ROOT, 'dist', name)).catch((cause: unknown) => {
      throw new ImageError(`dist/${name} does not exist: run "make build" first`, { cause });
    });
  const folder = join(ROOT, 'dist', 'app');
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const paths = entries.filter((entry) => entry.isFile()).map(({ name, parentPath }) => join(parentPath, name));
  const names = paths.length === 0 ? [ENTRY] : paths.map((path) => relative(folder, path)).sort();
  const app = names.map(async (name) => ({ name, contents: await read(join('app', name)) }));
  return { app: await Promise.all(app), licences: await read('licenses.txt') };
}

async function main(argv: readonly string[]): Promise<void> {
  const options = { root: { type: 'string' }, variant: { type: 'string', default: 'default' } } as const;
  const { root, variant } = parseArgs({ args: [...argv], options }).values;
  if (variant !== 'default' && variant !== 'pkcs11') {
    throw new ImageError(`--variant: expected default or pkcs11, found ${variant}`);
  }
  const files = await built();
  if (root !== undefined) {
    await writeRoot(root, variant === 'pkcs11' ? { ...files, addon: await addon() } : files);
    return;
  }
  await writeArchive('image.tar', files);
  try {
    await writeArchive('image-pkcs11.tar', { ...files, addon: await addon() });
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    process.stdout.write(`dist/image-pkcs11.tar is not made: ${error.message}\n`);
  }
}

async function writeArchive(name: string, files: BuiltFiles): Promise<void> {
  const archive = await image(files);
  await mkdir(join(ROOT, 'dist'), { recursive: true });
  await writeFile(join(ROOT, 'dist', name), archive);
  const tag = `${await defaultImageName()}${files.addon === undefined ? '' : VARIANT}`;
  process.stdout.write(`dist/${name}: ${tag}, ${(archive.length / 2 ** 20).toFixed(0)} MiB\n`);
}

if (import.meta.main) await main(process.argv.slice(2));
