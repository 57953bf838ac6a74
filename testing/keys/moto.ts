/** AWS KMS and STS as moto emulates them: real requests, signatures by real keys, no AWS. From PyPI, kept in the cache. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buildOnce } from '../support/cache.ts';
import { ensurePackages } from '../support/debian.ts';
import { Guardian } from '../support/guardian.ts';
import { canConnect, freePort } from '../support/ports.ts';
import { eventually, run } from '../support/processes.ts';

const PYTHON = '/usr/bin/python3';
const REQUIREMENTS = join(import.meta.dirname, 'moto', 'requirements.txt');
const INSTALL_TIMEOUT_MS = 600_000;

export type Moto =
  | { readonly available: true; readonly start: () => Promise<MotoServer> }
  | { readonly available: false; readonly reason: string };

export interface MotoServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
}

let found: Promise<Moto> | undefined;

/** Installs it where needed, or says why that is not possible. Once per process. */
export function findMoto(): Promise<Moto> {
  found ??= find();
  return found;
}

async function find(): Promise<Moto> {
  const reason = await ensurePackages({ needs: [PYTHON, '/usr/bin/pip3'], packages: ['python3', 'python3-pip'] });
  if (reason !== undefined) return { available: false, reason };
  const version = (await run(PYTHON, ['--version'])).stdout;
  const libraries = await buildOnce('moto', (await readFile(REQUIREMENTS, 'utf8')) + version, async (directory) => {
    const quiet = ['--quiet', '--disable-pip-version-check', '--no-cache-dir', '--root-user-action=ignore'];
    const words = ['-m', 'pip', 'install', ...quiet, '--no-deps', '--target', directory, '--requirement', REQUIREMENTS];
    await run(PYTHON, words, { timeoutMs: INSTALL_TIMEOUT_MS });
  });
  return { available: true, start: () => start(libraries) };
}

async function start(libraries: string): Promise<MotoServer> {
  const guardian = await Guardian.start('moto');
  try {
    const port = await freePort();
    const server = guardian.startComponent({
      name: 'server',
      binary: 'env',
      args: [`PYTHONPATH=${libraries}`, PYTHON, '-B', '-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)],
    });
    await eventually('moto to listen', async () => {
      if (server.hasExited) throw new Error(`moto ended: ${await server.logTail()}`);
      return (await canConnect({ host: '127.0.0.1', port })) || undefined;
    });
    return { url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => guardian.stop() };
  } catch (error) {
    await guardian.stop();
    throw error;
  }
}

/** Answers that AWS gives and moto never does. */
export interface AwsFault {
  readonly status: number;
  /** The error's name; undefined: the connection is cut. */
  readonly type: string | undefined;
  /** How many requests get it; undefined: all, until it is removed. */
  readonly times?: number;
}

/** A fake in front of moto: passes requests on, but answers those to an operation with the fault that is set for it. */
export class FaultyAws implements AsyncDisposable {
  readonly faults = new Map<string, AwsFault>();
  /** By operation, such as `Sign`. */
  readonly calls = new Map<string, number>();
  /** The last request, by operation. */
  readonly bodies = new Map<string, string>();
  readonly #server;

  private constructor(target: string) {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const operation =
          String(request.headers['x-amz-target'] ?? '')
            .split('.')
            .at(-1) || 'Sts';
        this.calls.set(operation, (this.calls.get(operation) ?? 0) + 1);
        this.bodies.set(operation, Buffer.concat(chunks).toString());
        const fault = this.#take(operation);
        if (fault?.type === undefined && fault !== undefined) return void request.socket.destroy();
        if (fault !== undefined) {
          response.writeHead(fault.status, { 'content-type': 'application/x-amz-json-1.1' });
          return void response.end(JSON.stringify({ __type: fault.type, message: 'never repeated' }));
        }
        const {
          connection: _,
          host: __,
          'content-length': ___,
          ...headers
        } = request.headers as Record<string, string>;
        void fetch(`${target}${request.url}`, { method: 'POST', headers, body: Buffer.concat(chunks) })
          .then(async (answer) => {
            const type = answer.headers.get('content-type') ?? 'application/json';
            response.writeHead(answer.status, { 'content-type': type });
            response.end(Buffer.from(await answer.arrayBuffer()));
          })
          .catch(() => void response.destroy());
      });
    });
  }

  static async start(target: string): Promise<FaultyAws> {
    const fake = new FaultyAws(target);
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #take(operation: string): AwsFault | undefined {
    const fault = this.faults.get(operation);
    if (fault?.times === undefined) return fault;
    if (fault.times > 1) this.faults.set(operation, { ...fault, times: fault.times - 1 });
    else this.faults.delete(operation);
    return fault;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
