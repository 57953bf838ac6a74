/** Debian's nginx with an example's configuration, without the commands that only Tongsuo knows. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { ensurePackages, findCommand } from '../../testing/support/debian.ts';
import { freePort } from '../../testing/support/ports.ts';
import { endChild, eventually, type Result, tryRun } from '../../testing/support/processes.ts';

/** The commands that only Tongsuo knows: `cmd_DC` and the others in its ssl/ssl_conf.c. */
const TONGSUO_ONLY = /^\s*ssl_conf_command (?:DC|DCKey|Enable_sign_by_dc) [^;]+;\n/gm;

const NEEDS = { needs: ['nginx', 'openssl'], packages: ['nginx', 'openssl'] };

/** Why nginx is missing; undefined when it is installed. */
export async function nginxMissing(): Promise<string | undefined> {
  return await ensurePackages(NEEDS);
}

export function withoutTongsuo(configuration: string): string {
  return configuration.replaceAll(TONGSUO_ONLY, '');
}

/** A pod's directories, below a temporary folder. */
export class Pod {
  readonly directory: string;
  readonly port: number;

  constructor(directory: string, port: number) {
    this.directory = directory;
    this.port = port;
  }

  static async create(t: TestContext): Promise<Pod> {
    const directory = await mkdtemp(join(tmpdir(), 'dcred-nginx-'));
    t.after(() => rm(directory, { recursive: true, force: true }));
    await mkdir(join(directory, 'tmp'));
    return new Pod(directory, await freePort());
  }

  /** Writes files, keyed by their absolute paths in the pod. */
  async write(files: ReadonlyMap<string, string | Uint8Array>): Promise<void> {
    for (const [path, content] of files) {
      const place = join(this.directory, path);
      await mkdir(join(place, '..'), { recursive: true });
      await writeFile(place, content);
    }
  }

  /** Writes the configuration with its paths moved below this folder; resolves with the path of the file. */
  async configure(configuration: string): Promise<string> {
    const moved = withoutTongsuo(configuration)
      .replaceAll(
        /(\s)(\/(?:var\/run|etc|tmp)\/[^\s;]+)/g,
        (_all, space, path) => `${space}${join(this.directory, path)}`,
      )
      .replaceAll(/listen 8443 ssl/g, `listen 127.0.0.1:${this.port} ssl`);
    const file = join(this.directory, 'nginx.conf');
    await writeFile(file, moved);
    return file;
  }

  async check(file: string): Promise<Result> {
    return await tryRun(nginx(), ['-e', 'stderr', '-t', '-c', file, '-p', this.directory]);
  }

  /** Resolves when it listens. Ended after the test. */
  async start(t: TestContext, file: string): Promise<ChildProcess> {
    const child = spawn(nginx(), ['-e', 'stderr', '-c', file, '-p', this.directory], { stdio: 'ignore' });
    t.after(() => endChild(child));
    await eventually('nginx to listen', () => listens(this.port));
    return child;
  }
}

function nginx(): string {
  const found = findCommand('nginx');
  if (found === undefined) throw new Error('nginx is not installed');
  return found;
}

function listens(port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(undefined));
  });
}
