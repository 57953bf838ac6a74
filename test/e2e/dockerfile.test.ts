import assert from 'node:assert/strict';
import { chmod, copyFile, cp, mkdir, realpath, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { sharedLibraries } from '../../scripts/image.ts';
import { ensurePackages, findCommand } from '../../testing/support/debian.ts';
import { Guardian } from '../../testing/support/guardian.ts';
import { type Output, run } from '../../testing/support/processes.ts';
import { ROOT } from '../chart/chart.ts';

/**
 * The Dockerfile, built without a daemon and without pulling: its base is a stand-in made of this machine's Node, npm and shell.
 * What the real base brings besides is not tested here.
 */

const BASE = 'localhost/stand-in';
const BUILT = 'localhost/dcred';
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';
const APP = join(ROOT, 'dist', 'app');
const BUNDLE = join(ROOT, 'dist', 'dcred.js');
const BUILD_TIMEOUT_MS = 10 * 60_000;

async function whyNot(): Promise<string | false> {
  const reason =
    process.getuid?.() === 0
      ? await ensurePackages({
          needs: ['buildah', '/bin/busybox', CERTIFICATES],
          packages: ['buildah', 'busybox-static', 'ca-certificates'],
        })
      : 'buildah is run as root here, and this user is not';
  if (reason !== undefined && process.env['CI'] === 'true') throw new Error(`in CI buildah must be there: ${reason}`);
  return reason ?? false;
}

/** A root folder with a shell, Node, npm, and the authorities that this machine trusts. */
async function writeBase(root: string): Promise<void> {
  const npm = await realpath(findCommand('npm') ?? '');
  for (const folder of ['bin', 'etc/ssl/certs', 'root', 'tmp', 'usr/bin', 'usr/local/bin', 'usr/local/lib']) {
    await mkdir(join(root, folder), { recursive: true });
  }
  await chmod(join(root, 'tmp'), 0o1777);
  await copyFile('/bin/busybox', join(root, 'bin', 'busybox'));
  await symlink('busybox', join(root, 'bin', 'sh'));
  for (const library of [...sharedLibraries(process.execPath), CERTIFICATES]) {
    await mkdir(dirname(join(root, library)), { recursive: true });
    await copyFile(library, join(root, library));
  }
  await copyFile(process.execPath, join(root, 'usr/local/bin/node'));
  await cp(dirname(dirname(npm)), join(root, 'usr/local/lib/npm'), { recursive: true });
  const script = async (path: string, command: string) =>
    writeFile(join(root, path), `#!/bin/sh\nexec ${command} "$@"\n`, { mode: 0o755 });
  await script('usr/local/bin/npm', 'node /usr/local/lib/npm/bin/npm-cli.js');
  await writeFile(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
}

/** The commit that `make build` has put into the bundle. */
async function revision(): Promise<string> {
  const { stdout } = await run(process.execPath, [BUNDLE, 'version']);
  const commit = /\((\w+)\)/.exec(stdout)?.[1];
  if (commit === undefined) throw new Error(`expected a commit in the version, found ${stdout}`);
  return commit;
}

describe('the Dockerfile', { skip: await whyNot() }, () => {
  let guardian: Guardian;

  before(async () => {
    guardian = await Guardian.start('dockerfile');
    const root = join(guardian.directory, 'base');
    await writeBase(root);
    const container = (await buildah('from', 'scratch')).stdout.trim();
    await buildah('copy', '--quiet', container, root, '/');
    const env = ['PATH=/usr/local/bin:/usr/bin:/bin', `NODE_EXTRA_CA_CERTS=${CERTIFICATES}`];
    await buildah('config', ...env.flatMap((variable) => ['--env', variable]), container);
    await buildah('commit', '--quiet', container, BASE);
  });
  after(() => guardian?.stop());

  /** With its own storage, in a folder that is removed when this process ends. */
  function buildah(...words: readonly string[]): Promise<Output> {
    const { directory } = guardian;
    const storage = ['--storage-driver', 'vfs', '--root', join(directory, 'root'), '--runroot', join(directory, 'run')];
    return run('buildah', [...storage, ...words], { cwd: ROOT, timeoutMs: BUILD_TIMEOUT_MS });
  }

  /** What the image's own user sees. */
  async function inside(...command: readonly string[]): Promise<string> {
    const container = (await buildah('from', '--pull-never', BUILT)).stdout.trim();
    return (await buildah('run', '--isolation', 'chroot', container, '--', ...command)).stdout.trim();
  }

  test('builds, from nothing but what .dockerignore lets through', async (t: TestContext) => {
    const began = performance.now();
    const args = [`BASE=${BASE}`, 'VERSION=9.9.9', `REVISION=${await revision()}`];
    const isolated = ['--isolation', 'chroot', '--pull-never', '--tag', BUILT];
    await buildah('build', ...isolated, ...args.flatMap((arg) => ['--build-arg', arg]), '.');
    t.diagnostic(`after ${((performance.now() - began) / 1_000).toFixed(1)} s`);
  });

  test('gives an image that says of which commit it is, to a user without rights', async () => {
    const version = await inside('node', '/app/dcred.mjs', 'version');
    assert.ok(version.includes(`(${await revision()})`), version);
    assert.equal(await inside('node', '--print', 'process.getuid()'), '65532');
  });

  test('ships the files that make build makes, byte for byte', async () => {
    const digests = (folder: string) =>
      `const fs = require('node:fs'); JSON.stringify(fs.readdirSync('${folder}', { recursive: true }).sort()` +
      `.filter((name) => fs.statSync('${folder}/' + name).isFile())` +
      `.map((name) => [name, require('node:crypto').hash('sha256', fs.readFileSync('${folder}/' + name))]))`;
    const { stdout } = await run(process.execPath, ['--print', digests(APP)]);
    assert.equal(await inside('node', '--print', digests('/app')), stdout.trim());
  });

  test('is labelled with the version that it was given', async () => {
    const format = '{{index .Docker.Config.Labels "org.opencontainers.image.version"}}';
    assert.equal((await buildah('inspect', '--type', 'image', '--format', format, BUILT)).stdout.trim(), '9.9.9');
  });
});
