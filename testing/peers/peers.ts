import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { buildOnce } from '../support/cache.ts';
import { ensurePackages } from '../support/debian.ts';

/** The real TLS peers that Debian packages: BoringSSL as a server, NSS as a client. */

const run = promisify(execFile);

const PACKAGES = ['android-libboringssl-dev', 'libnss3-tools', 'gcc', 'libc6-dev'];
const NEEDS = ['/usr/include/android/openssl/ssl.h', '/usr/include/stdio.h', 'gcc', 'tstclnt', 'certutil'];
const SERVER_SOURCE = fileURLToPath(new URL('server.c', import.meta.url));
const COMPILER_FLAGS = [
  '-std=c11',
  '-D_GNU_SOURCE',
  '-O2',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-isystem',
  '/usr/include/android',
];

export type Peers =
  | { readonly available: true; readonly serverBinary: string }
  | { readonly available: false; readonly reason: string };

let found: Promise<Peers> | undefined;

/** Installs and compiles the peers where needed, or says why that is not possible. Once per process. */
export function findPeers(): Promise<Peers> {
  found ??= find();
  return found;
}

async function find(): Promise<Peers> {
  const reason = await ensurePackages({ needs: NEEDS, packages: PACKAGES });
  if (reason !== undefined) return { available: false, reason };
  return { available: true, serverBinary: await compileServer() };
}

async function compileServer(): Promise<string> {
  const [source, libraries] = await Promise.all([readFile(SERVER_SOURCE, 'utf8'), libraryDirectory()]);
  const key = [source, ...COMPILER_FLAGS, libraries, process.arch].join('\n');
  const directory = await buildOnce('interop-server', key, async (output) => {
    const linking = [`-L${libraries}`, '-lssl', '-lcrypto', `-Wl,-rpath,${libraries}`];
    await run('gcc', [...COMPILER_FLAGS, '-o', join(output, 'server'), SERVER_SOURCE, ...linking]);
  });
  return join(directory, 'server');
}

/** Debian keeps these libraries in their own directory, because they have the same names as OpenSSL's. */
async function libraryDirectory(): Promise<string> {
  const { stdout } = await run('gcc', ['-print-multiarch']);
  return `/usr/lib/${stdout.trim()}/android`;
}
