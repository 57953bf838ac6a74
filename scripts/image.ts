/**
 * Builds `dist/image.tar` from `dist/dcred.js`: the image that the Dockerfile describes, without a registry. Its base is Node and
 * the libraries that it is linked with. It contains nothing else: no shell, no npm.
 */
import { execFileSync } from 'node:child_process';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { load } from 'js-yaml';
import { imageArchive } from './image-archive.ts';
import type { TarEntry } from './tar.ts';

const ROOT = join(import.meta.dirname, '..');
const USER_ID = 65_532;
/** Node's architectures, by Go's names. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

export class ImageError extends Error {
  readonly code = 'IMAGE';
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

/** The whole archive. `bundle` is dist/dcred.js. Throws ImageError when this machine cannot build it. */
export async function image(bundle: Uint8Array): Promise<Buffer> {
  const architecture = ARCHITECTURES[process.arch];
  if (process.platform !== 'linux' || architecture === undefined) {
    throw new ImageError(
      `expected Node for Linux on x64 or arm64, found ${process.platform} on ${process.arch}: build the image from the Dockerfile`,
    );
  }
  const name = await defaultImageName();
  return imageArchive({
    name,
    architecture,
    layers: [
      { createdBy: `Node.js ${process.version} and its libraries`, entries: withParents(await base()) },
      {
        createdBy: 'the bundle of dcred',
        entries: withParents([{ type: 'file', path: 'app/dcred.mjs', content: bundle }]),
      },
    ],
    user: `${USER_ID}:${USER_ID}`,
    env: ['PATH=/usr/local/bin'],
    entrypoint: ['node', '/app/dcred.mjs'],
    command: ['--help'],
    labels: {
      'org.opencontainers.image.title': 'dcred',
      'org.opencontainers.image.licenses': 'Apache-2.0',
      'org.opencontainers.image.version': name.slice(name.lastIndexOf(':') + 1),
    },
  });
}

async function base(): Promise<readonly TarEntry[]> {
  const node = await nodeBinary();
  const files = [['usr/local/bin/node', node], ...sharedLibraries(node).map((path) => [path.slice(1), path])] as const;
  const copied = await Promise.all(
    files.map(async ([path = '', from = '']) => {
      return { type: 'file', path, content: await readFile(from), mode: 0o755 } as const;
    }),
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
async function nodeBinary(): Promise<string> {
  const pinned = join(ROOT, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node');
  return access(pinned).then(
    () => pinned,
    () => process.execPath,
  );
}

/** The files that the dynamic linker loads, itself included. The kernel's vDSO has no file. */
export function sharedLibraries(binary: string): readonly string[] {
  const output = execFileSync('ldd', [binary], { encoding: 'utf8' });
  const missing = /^\s*(\S+) => not found/m.exec(output);
  if (missing !== null)
    throw new ImageError(`${binary} needs the library ${missing[1]}, which was not found on this machine`);
  return [...output.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path);
}

/** Adds missing parent directories, because some readers create them with permissions of their own choice. */
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

async function main(): Promise<void> {
  const bundle = await readFile(join(ROOT, 'dist', 'dcred.js')).catch((cause: unknown) => {
    throw new ImageError('dist/dcred.js does not exist: run "make build" first', { cause });
  });
  const archive = await image(bundle);
  await mkdir(join(ROOT, 'dist'), { recursive: true });
  await writeFile(join(ROOT, 'dist', 'image.tar'), archive);
  process.stdout.write(`dist/image.tar: ${await defaultImageName()}, ${(archive.length / 2 ** 20).toFixed(0)} MiB\n`);
}

if (import.meta.main) await main();
