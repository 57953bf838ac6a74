import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { sharedLibraries, withParents } from '../../scripts/image.ts';
import { imageArchive } from '../../scripts/image-archive.ts';
import type { TarEntry } from '../../src/bundle/tar.ts';
import { PAUSE_IMAGE } from './components.ts';

/** Images for tests, made from what the machine has: nothing is pulled. Each is a docker-archive. */

const exec = promisify(execFile);

export const SHELL_IMAGE = 'localhost/shell:1';
export const SERVER_IMAGE = 'localhost/boringssl-server:1';

const ARCHITECTURE = process.arch === 'arm64' ? 'arm64' : 'amd64';

/** Holds a pod's namespaces, and exits on SIGTERM. */
const PAUSE = `#include <signal.h>
#include <unistd.h>
static void end(int number) { (void)number; _exit(0); }
int main(void) {
  signal(SIGTERM, end);
  signal(SIGINT, end);
  for (;;) pause();
}
`;

export async function pauseImage(): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'dcred-pause-'));
  try {
    const source = join(folder, 'pause.c');
    await writeFile(source, PAUSE);
    await exec('gcc', ['-static', '-Os', '-s', '-o', join(folder, 'pause'), source]);
    const content = await readFile(join(folder, 'pause'));
    return testImage(PAUSE_IMAGE, [{ type: 'file', path: 'pause', content, mode: 0o755 }], ['/pause']);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** A shell with the usual commands, wget and httpd among them. */
export async function shellImage(): Promise<Buffer> {
  const content = await readFile('/bin/busybox');
  const { stdout } = await exec('/bin/busybox', ['--list']);
  const commands = stdout.split('\n').filter((line) => line !== '');
  // The archive format here has no links; each command is a line of shell instead.
  const scripts = commands.map((command): TarEntry => {
    const script = `#!/bin/busybox sh\nexec /bin/busybox ${command} "$@"\n`;
    return { type: 'file', path: `usr/bin/${command}`, content: Buffer.from(script), mode: 0o755 };
  });
  const entries: TarEntry[] = [{ type: 'file', path: 'bin/busybox', content, mode: 0o755 }, ...scripts];
  return testImage(SHELL_IMAGE, [...entries, { type: 'directory', path: 'tmp', mode: 0o1777 }], ['/bin/busybox', 'sh']);
}

/** testing/peers/server.c with its libraries. `binary` is where it was compiled to. */
export async function serverImage(binary: string): Promise<Buffer> {
  const libraries = await Promise.all(
    sharedLibraries(binary).map(async (path): Promise<TarEntry> => {
      return { type: 'file', path: path.slice(1), content: await readFile(path), mode: 0o755 };
    }),
  );
  const server: TarEntry = { type: 'file', path: 'server', content: await readFile(binary), mode: 0o755 };
  return testImage(SERVER_IMAGE, [server, ...libraries], ['/server']);
}

function testImage(name: string, entries: readonly TarEntry[], entrypoint: readonly string[]): Buffer {
  return imageArchive({
    name,
    architecture: ARCHITECTURE,
    layers: [{ createdBy: basename(import.meta.filename), entries: withParents(entries) }],
    user: '65532:65532',
    env: ['PATH=/usr/bin:/bin'],
    entrypoint,
    command: [],
    labels: {},
  });
}
