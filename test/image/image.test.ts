import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { defaultImageName, image, withParents } from '../../scripts/image.ts';
import { tar } from '../../src/bundle/tar.ts';
import { endChild, eventually, run } from '../../testing/support/processes.ts';

/** A fake dist/app/dcred.mjs that prints how it was started. */
const BUNDLE = Buffer.from(
  'console.log(JSON.stringify({ uid: process.getuid(), args: process.argv.slice(2), node: process.version }));\n',
);

const application = (contents: Buffer) => [
  { name: 'dcred.mjs', contents },
  { name: 'part/main.mjs', contents: Buffer.from('export {};\n') },
];
const BUILT = { app: application(BUNDLE), licences: Buffer.from('a licence') };

describe('tar', () => {
  test('writes archives that tar extracts, whatever the content', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dcred-tar-'));
    try {
      const content = fc.uint8Array({ maxLength: 2_000 });
      await fc.assert(
        fc.asyncProperty(fc.array(content, { minLength: 1, maxLength: 5 }), async (contents) => {
          const entries = contents.map(
            (bytes, index) => ({ type: 'file', path: `file-${index}`, content: bytes }) as const,
          );
          const archive = join(folder, 'archive.tar');
          await writeFile(archive, tar(entries));
          await run('tar', ['-xf', archive, '-C', folder]);
          for (const { path, content: expected } of entries) {
            assert.deepEqual(new Uint8Array(await readFile(join(folder, path))), expected);
          }
        }),
        { numRuns: 20 },
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('refuses a path that is too long for the header', () => {
    assert.throws(() => tar([{ type: 'directory', path: 'x'.repeat(100) }]), { message: /at most 100 bytes/ });
  });

  test('gets every parent directory once, the outermost first', () => {
    const file = (path: string) => ({ type: 'file', path, content: BUNDLE }) as const;
    const paths = withParents([file('a/b/c'), file('a/d'), { type: 'directory', path: 'a/b', mode: 0o700 }]).map(
      ({ path }) => path,
    );
    assert.deepEqual(paths, ['a', 'a/b/c', 'a/d', 'a/b']);
  });
});

describe('the image', { skip: process.platform === 'linux' ? false : 'an image needs Node for Linux' }, () => {
  let folder: string;
  let archive: Buffer;
  let config: {
    readonly config: {
      readonly User: string;
      readonly Env: readonly string[];
      readonly Entrypoint: readonly string[];
      readonly Cmd: readonly string[];
    };
    readonly rootfs: { readonly diff_ids: readonly string[] };
  };
  let manifest: { readonly Config: string; readonly RepoTags: readonly string[]; readonly Layers: readonly string[] };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dcred-image-'));
    archive = await image(BUILT);
    await writeFile(join(folder, 'image.tar'), archive);
    await run('tar', ['-xf', 'image.tar'], { cwd: folder });
    [manifest] = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'));
    config = JSON.parse(await readFile(join(folder, manifest.Config), 'utf8'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  test("has the name of the chart's default image, which no registry can serve", async () => {
    assert.deepEqual(manifest.RepoTags, [await defaultImageName()]);
    assert.match(manifest.RepoTags[0] ?? '', /^registry\.invalid\/dcred:\d+\.\d+\.\d+$/);
  });

  test('names its layers by their SHA-256', async () => {
    const digests = await Promise.all(
      manifest.Layers.map(async (path) =>
        createHash('sha256')
          .update(await readFile(join(folder, path)))
          .digest('hex'),
      ),
    );
    assert.deepEqual(
      config.rootfs.diff_ids,
      digests.map((digest) => `sha256:${digest}`),
    );
  });

  test('has the user, the environment and the command of the Dockerfile', async () => {
    const dockerfile = await readFile(join(import.meta.dirname, '..', '..', 'Dockerfile'), 'utf8');
    assert.equal(config.config.User, /^USER (.*)$/m.exec(dockerfile)?.[1]);
    assert.deepEqual(
      config.config.Env,
      Array.from(dockerfile.matchAll(/^ENV (.*)$/gm), ([, variable]) => variable),
    );
    assert.deepEqual(config.config.Entrypoint, JSON.parse(/^ENTRYPOINT (.*)$/m.exec(dockerfile)?.[1] ?? ''));
    assert.deepEqual(config.config.Cmd, JSON.parse(/^CMD (.*)$/m.exec(dockerfile)?.[1] ?? ''));
  });

  test('is byte for byte the same when built again', async () => {
    assert.ok(archive.equals(await image(BUILT)));
  });

  test('contains everything that Node needs', {
    skip: process.getuid?.() === 0 ? false : 'needs root, for chroot',
  }, async () => {
    const root = join(folder, 'root');
    await mkdir(root);
    for (const layer of manifest.Layers) await run('tar', ['-xpf', join(folder, layer), '-C', root]);
    assert.equal((await stat(join(root, 'tmp'))).mode & 0o7777, 0o1777);
    const { stdout } = await run(
      'chroot',
      [`--userspec=${config.config.User}`, root, ...config.config.Entrypoint, 'hello'],
      {
        env: { PATH: '/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
      },
    );
    const { uid, args, node } = JSON.parse(stdout);
    assert.equal(uid, 65_532);
    assert.deepEqual(args, ['hello']);
    assert.match(node, /^v2\d\./);
  });

  test('holds Node, its libraries and dcred, and nothing else: no shell, no npm', async () => {
    const lists = manifest.Layers.map(async (layer) =>
      (await run('tar', ['-tf', join(folder, layer)])).stdout.split('\n'),
    );
    const files = (await Promise.all(lists)).flat().filter((path) => path !== '' && !path.endsWith('/'));
    const others = files.filter((path) => !/^(usr\/)?lib(64)?\/.*\.so(\.\d+)*$/.test(path));
    assert.deepEqual(others.sort(), [
      'app/dcred.mjs',
      'app/part/main.mjs',
      'etc/group',
      'etc/nsswitch.conf',
      'etc/passwd',
      'licenses/dcred.txt',
      'licenses/packages.txt',
      'usr/local/bin/node',
    ]);
  });

  describe('its process', { skip: process.getuid?.() === 0 ? false : 'needs root, for chroot' }, () => {
    let child: ChildProcess;
    let output = '';

    before(async () => {
      const root = join(folder, 'process');
      await mkdir(root);
      const waiting = {
        ...BUILT,
        app: application(Buffer.from("console.log('ready'); setInterval(() => {}, 1000);\n")),
      };
      await writeFile(join(folder, 'waiting.tar'), await image(waiting));
      const layers = JSON.parse((await run('tar', ['-xOf', join(folder, 'waiting.tar'), 'manifest.json'])).stdout);
      await run('tar', ['-xf', 'waiting.tar'], { cwd: folder });
      for (const layer of layers[0].Layers) await run('tar', ['-xpf', join(folder, layer), '-C', root]);
      const env = { PATH: '/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };
      const words = [`--userspec=${config.config.User}`, root, ...config.config.Entrypoint];
      child = spawn('chroot', words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on('data', (chunk: Buffer) => {
          output += chunk.toString();
        });
      }
      await eventually('the process to run', async () => (output.includes('ready') ? true : undefined));
    });
    after(() => endChild(child));

    test('cannot be traced or dumped: the kernel gives its files in /proc to root', async () => {
      const { uid } = await stat(`/proc/${child.pid}/environ`);
      assert.equal(uid, 0);
      assert.match(await readFile(`/proc/${child.pid}/status`, 'utf8'), /^Uid:\t65532\t/m);
    });

    test('does not handle SIGUSR1, which would start the inspector', async () => {
      const caught = /^SigCgt:\t([0-9a-f]+)$/m.exec(await readFile(`/proc/${child.pid}/status`, 'utf8'))?.[1];
      const handles = (signal: number) => (BigInt(`0x${caught}`) >> BigInt(signal - 1)) % 2n === 1n;
      assert.equal(handles(constants.signals.SIGUSR1), false);
    });
  });
});
