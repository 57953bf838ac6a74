import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { buildOnce } from '../support/cache.ts';

/** The real TLS peers that Debian packages: BoringSSL as a server, NSS as a client. */

const run = promisify(execFile);

const PACKAGES = ['android-libboringssl-dev', 'libnss3-tools', 'gcc', 'libc6-dev'];
const NEEDED_FILES = ['/usr/include/android/openssl/ssl.h', '/usr/include/stdio.h'];
const NEEDED_COMMANDS = ['gcc', 'tstclnt', 'certutil'];
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
/** A package manager that waits for a mirror may take long; one that waits for longer is stuck. */
const INSTALL_TIMEOUT_MS = 300_000;

export type Peers =
  | { readonly available: true; readonly serverBinary: string }
  | { readonly available: false; readonly reason: string };

let found: Promise<Peers> | undefined;

/** The peers, installed and compiled where they were not; or why they cannot be had. Looks once per process. */
export function findPeers(): Promise<Peers> {
  found ??= find();
  return found;
}

async function find(): Promise<Peers> {
  if (missing().length > 0) {
    const problem = await install();
    if (problem !== undefined) return { available: false, reason: problem };
  }
  const stillMissing = missing();
  if (stillMissing.length > 0)
    return { available: false, reason: `${stillMissing.join(', ')} not found after installation` };
  return { available: true, serverBinary: await compileServer() };
}

function missing(): readonly string[] {
  const directories = (process.env['PATH'] ?? '').split(':');
  const lacks = (command: string) => !directories.some((directory) => existsSync(join(directory, command)));
  return [...NEEDED_FILES.filter((file) => !existsSync(file)), ...NEEDED_COMMANDS.filter(lacks)];
}

/** What is wrong, or undefined. */
async function install(): Promise<string | undefined> {
  const wanted = `the packages ${PACKAGES.join(' ')} are needed`;
  if (process.platform !== 'linux' || !existsSync('/usr/bin/apt-get'))
    return `${wanted}, and there is no apt-get to install them`;
  if (process.getuid?.() !== 0) return `${wanted}: install them with apt-get (this user is not root)`;
  const options = ['-qq', '-o', 'DPkg::Lock::Timeout=120'];
  const installing = ['install', '-y', '--no-install-recommends', ...options, ...PACKAGES];
  try {
    await aptGet(installing);
  } catch {
    // The package lists may be missing or old; updating them takes a while, so only now.
    try {
      await aptGet(['update', ...options]);
      await aptGet(installing);
    } catch (error) {
      return `${wanted}, and apt-get failed: ${lastLine(error)}`;
    }
  }
  return undefined;
}

async function aptGet(words: readonly string[]): Promise<void> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
  await run('apt-get', words, { env, timeout: INSTALL_TIMEOUT_MS });
}

function lastLine(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const printed = 'stderr' in error ? String(error.stderr).trim() : '';
  return (printed || error.message).split('\n').at(-1) ?? '';
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

/** Debian keeps these libraries in a directory of their own, for they share their names with OpenSSL's. */
async function libraryDirectory(): Promise<string> {
  const { stdout } = await run('gcc', ['-print-multiarch']);
  return `/usr/lib/${stdout.trim()}/android`;
}
