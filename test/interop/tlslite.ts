import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildOnce } from '../support/cache.ts';
import { ensurePackages } from '../support/debian.ts';
import { run, tryRun } from '../support/processes.ts';

/**
 * tlslite-ng, a TLS implementation in Python of which nothing is shared with the other peers: the one client that shows the
 * credential which a server proved to hold the key of.
 */

const FOLDER = join(import.meta.dirname, 'tlslite');
const PYTHON = '/usr/bin/python3';
const INSTALL_TIMEOUT_MS = 300_000;

export type Tlslite =
  | { readonly available: true; readonly connect: (server: TlsServer) => Promise<string> }
  | { readonly available: false; readonly reason: string };

interface TlsServer {
  /** Default: 127.0.0.1. */
  readonly host?: string;
  readonly port: number;
  readonly name: string;
}

let found: Promise<Tlslite> | undefined;

/** Installed where it was not; or why it cannot be had. Looks once per process. */
export function findTlslite(): Promise<Tlslite> {
  found ??= find();
  return found;
}

async function find(): Promise<Tlslite> {
  const needs = [PYTHON, '/usr/bin/pip3'];
  const reason = await ensurePackages({ needs, packages: ['python3', 'python3-pip'] });
  if (reason !== undefined) return { available: false, reason };
  const requirements = join(FOLDER, 'requirements.txt');
  const version = (await run(PYTHON, ['--version'])).stdout;
  const libraries = await buildOnce('tlslite', (await readFile(requirements, 'utf8')) + version, async (directory) => {
    const quiet = ['--quiet', '--disable-pip-version-check', '--no-cache-dir', '--root-user-action=ignore'];
    const words = ['-m', 'pip', 'install', ...quiet, '--no-deps', '--target', directory, '--requirement', requirements];
    await run(PYTHON, words, { timeoutMs: INSTALL_TIMEOUT_MS });
  });
  return { available: true, connect: (server) => connect(libraries, server) };
}

/** The credential that the server used, as lower-case hex; `none`. Rejects with what the handshake failed by. */
async function connect(libraries: string, { host = '127.0.0.1', name, port }: TlsServer): Promise<string> {
  const words = ['-B', join(FOLDER, 'client.py'), host, String(port), name];
  const { status, stderr, stdout } = await tryRun(PYTHON, words, {
    env: { PATH: process.env['PATH'], PYTHONPATH: libraries },
  });
  if (status !== 0) throw new Error(`tlslite-ng: ${stderr.trim()}`);
  return stdout.trim();
}
