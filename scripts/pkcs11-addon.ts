/**
 * Compiles pkcs11js' native add-on with a C++ compiler and the headers that come with the pinned Node: unlike node-gyp, it downloads
 * nothing. `npm run pkcs11` puts it where pkcs11js loads it from.
 */

import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const MODULES = join(import.meta.dirname, '..', 'node_modules');
const PACKAGE = join(MODULES, 'pkcs11js');
const SOURCES = ['dl', 'common', 'main'].map((name) => join(PACKAGE, 'src', `${name}.cpp`));
// binding.gyp's own, for N-API 8, which every supported Node has.
const FLAGS = [
  '-shared',
  '-fPIC',
  '-O2',
  '-std=c++17',
  '-DNAPI_DISABLE_CPP_EXCEPTIONS',
  '-DNODE_GYP_MODULE_NAME=pkcs11',
  '-DNAPI_VERSION=8',
  // No paths of this machine, so that every machine with this compiler gives the same bytes.
  '-s',
];

/** The package's folder, and the add-on in it. */
export const ADDON = { package: PACKAGE, file: join(PACKAGE, 'build', 'Release', 'pkcs11.node') } as const;

/** What the add-on is compiled from, as a cache key. */
export async function addonKey(): Promise<string> {
  const files = [
    'package.json',
    ...['dl', 'common', 'const', 'main', 'params', 'pkcs11', 'worker'].map((name) => `src/${name}.cpp`),
  ];
  const hash = createHash('sha256');
  for (const file of files) hash.update(await readFile(join(PACKAGE, file)));
  return [hash.digest('hex'), ...FLAGS, process.arch].join(' ');
}

/** Writes the add-on to `output`. Rejects with what the compiler said. 10 s. */
export async function compileAddon(output: string): Promise<void> {
  const headers = [join(MODULES, `node-linux-${process.arch}`), dirname(dirname(process.execPath))]
    .map((root) => join(root, 'include', 'node'))
    .find((folder) => existsSync(join(folder, 'node_api.h')));
  if (headers === undefined) throw new Error("Node's headers (include/node/node_api.h) are not beside this Node");
  const words = [
    ...FLAGS,
    `-ffile-prefix-map=${MODULES}=.`,
    `-I${join(PACKAGE, 'includes')}`,
    `-I${headers}`,
    ...SOURCES,
    '-ldl',
    '-o',
    output,
  ];
  await promisify(execFile)('g++', words);
}

/** What the package is at run time, by paths in it, beside the add-on. */
export const RUNTIME_FILES = ['package.json', 'index.js'] as const;

/** Puts a compiled add-on into the package, whole or not at all. */
export async function installAddon(compiled: string): Promise<void> {
  await mkdir(dirname(ADDON.file), { recursive: true });
  const unfinished = `${ADDON.file}.${randomUUID()}`;
  await copyFile(compiled, unfinished);
  await rename(unfinished, ADDON.file);
}

if (import.meta.main) {
  await mkdir(dirname(ADDON.file), { recursive: true });
  await compileAddon(ADDON.file);
  process.stdout.write(`${ADDON.file}\n`);
}
