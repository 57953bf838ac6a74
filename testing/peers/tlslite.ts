import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildOnce } from '../support/cache.ts';
import { ensurePackages } from '../support/debian.ts';
import { Guardian } from '../support/guardian.ts';
import { canConnect, freePort } from '../support/ports.ts';
import { eventually, run, tryRun } from '../support/processes.ts';

/**
 * tlslite-ng, a TLS implementation in Python that shares no code with the other peers: the only client that shows the credential whose
 * key a server has proved to hold, and the only server that reads credentials as PEM.
 */

const FOLDER = join(import.meta.dirname, 'tlslite');
const PYTHON = '/usr/bin/python3';
const INSTALL_TIMEOUT_MS = 300_000;

export type Tlslite =
  | {
      readonly available: true;
      /** The credential that the server used, as lower-case hex; `none`. Rejects with the handshake's error. */
      readonly connect: (server: TlsServer) => Promise<string>;
      /** Serves `tls.crt` and `dc.key` of a folder with one of its credential files, and without the leaf's key. */
      readonly serve: (directory: string, credentialFile: string) => Promise<TlsliteServer>;
    }
  | { readonly available: false; readonly reason: string };

interface TlsServer {
  /** Default: 127.0.0.1. */
  readonly host?: string;
  readonly port: number;
  readonly name: string;
}

interface TlsliteServer extends AsyncDisposable {
  readonly port: number;
}

let found: Promise<Tlslite> | undefined;

/** Installs it where needed, or says why that is not possible. Once per process. */
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
  return {
    available: true,
    connect: (server) => connect(libraries, server),
    serve: (directory, credentialFile) => serve(libraries, directory, credentialFile),
  };
}

async function connect(libraries: string, { host = '127.0.0.1', name, port }: TlsServer): Promise<string> {
  const words = ['-B', join(FOLDER, 'client.py'), host, String(port), name];
  const { status, stderr, stdout } = await tryRun(PYTHON, words, {
    env: { PATH: process.env['PATH'], PYTHONPATH: libraries },
  });
  if (status !== 0) throw new Error(`tlslite-ng: ${stderr.trim()}`);
  return stdout.trim();
}

async function serve(libraries: string, directory: string, credentialFile: string): Promise<TlsliteServer> {
  const guardian = await Guardian.start('tlslite');
  try {
    const port = await freePort();
    const files = ['-c', 'tls.crt', '--dc-key', 'dc.key', '--dc-file', credentialFile];
    const words = files.map((word) => (word.startsWith('-') ? word : join(directory, word)));
    const server = guardian.startComponent({
      name: 'server',
      binary: 'env',
      args: [
        `PYTHONPATH=${libraries}`,
        PYTHON,
        '-B',
        join(libraries, 'bin', 'tls.py'),
        'server',
        ...words,
        `127.0.0.1:${port}`,
      ],
    });
    await eventually('tlslite-ng to listen', async () => {
      if (server.hasExited) throw new Error(`tlslite-ng ended: ${await server.logTail()}`);
      return (await canConnect({ host: '127.0.0.1', port })) || undefined;
    });
    return { port, [Symbol.asyncDispose]: () => guardian.stop() };
  } catch (error) {
    await guardian.stop();
    throw error;
  }
}
