import assert from 'node:assert/strict';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { load } from 'js-yaml';
import { withNote } from '../../scripts/elf-note.ts';
import { KREW_BINARY, krewManifest } from '../../scripts/krew.ts';
import { releaseNotes } from '../../scripts/release-notes.ts';
import { singleExecutable } from '../../scripts/single-executable.ts';
import { tryRun } from '../../testing/support/processes.ts';
import { temporaryDirectory } from '../cli/run-command.ts';

const ROOT = join(import.meta.dirname, '..', '..');

describe('the single executable', { skip: process.platform !== 'linux' && 'it is made on Linux only' }, () => {
  test('runs where there is no Node, under both names', async (t) => {
    const folder = temporaryDirectory(t);
    const path = join(folder, 'dcred');
    await writeFile(path, await singleExecutable('1.2.3'), { mode: 0o755 });
    const run = (name: string, ...args: readonly string[]) =>
      tryRun(join(folder, name), args, { env: { PATH: folder } });
    const version = await run('dcred', 'version');
    assert.deepEqual([version.status, version.stderr], [0, '']);
    assert.match(version.stdout, /^dcred 1\.2\.3 /);
    const inspected = await run('dcred', 'inspect', join(ROOT, 'test', 'vectors', 'leaf.crt'));
    assert.match(inspected.stdout, /^ {2}can delegate +yes$/m);
    // Loads the parts that are loaded on demand.
    const unreachable = await run('dcred', 'status', '--kubeconfig', join(folder, 'absent'));
    assert.match(unreachable.stderr, /no kubeconfig: .*absent does not exist/);
    const key = 'pkcs11:token=vault;object=web?module-path=/usr/lib/softhsm/libsofthsm2.so';
    const token = await run('dcred', 'csr', '--dns', 'web.example', '--key', key, '--out', join(folder, 'out'));
    assert.equal(token.status, 1);
    assert.match(token.stderr, /^dcred csr: a pkcs11: key needs a native add-on, .*-pkcs11.*\n$/);
    await symlink(path, join(folder, KREW_BINARY));
    assert.match((await run(KREW_BINARY, '--help')).stdout, /^Usage: kubectl dcred COMMAND/m);
  });

  test('is made of nothing but an executable at a fixed address', () => {
    const elf = (change: (bytes: Buffer) => void) => {
      const bytes = Buffer.alloc(64 + 3 * 56);
      bytes.writeUInt32BE(0x7f454c46, 0);
      bytes.set([2, 1], 4);
      bytes.writeUInt16LE(2, 16);
      bytes.writeBigUInt64LE(64n, 32);
      bytes.writeUInt16LE(56, 54);
      bytes.writeUInt16LE(3, 56);
      for (const [index, type] of [6, 1, 4].entries()) bytes.writeUInt32LE(type, 64 + index * 56);
      change(bytes);
      return bytes;
    };
    const content = Buffer.from('content');
    const made = withNote(
      elf(() => {}),
      'NAME',
      content,
    );
    assert.equal(made.length, 0x10000 + 12 + 8 + 8);
    assert.equal(made.subarray(0x10000 + 20, 0x10000 + 27).toString(), 'content');
    for (const change of [
      (bytes: Buffer) => bytes.writeUInt16LE(3, 16),
      (bytes: Buffer) => bytes.fill(0, 0, 4),
      (bytes: Buffer) => bytes.writeUInt16LE(57, 54),
      (bytes: Buffer) => bytes.writeUInt32LE(1, 64),
      (bytes: Buffer) => bytes.writeUInt32LE(1, 64 + 2 * 56),
    ]) {
      assert.throws(() => withNote(elf(change), 'NAME', content), { code: 'Elf' });
    }
  });
});

describe("krew's manifest", () => {
  const platform = { os: 'linux', arch: 'amd64', uri: 'https://dcred.dev/a.tar.gz', sha256: 'a1'.repeat(32) };
  const manifest = load(krewManifest('1.2.3', 'https://dcred.dev', [platform])) as {
    readonly apiVersion: string;
    readonly kind: string;
    readonly metadata: { readonly name: string };
    readonly spec: Readonly<Record<string, unknown>> & {
      readonly platforms: readonly Readonly<Record<string, unknown>>[];
    };
  };

  /** https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/ and krew's own validation (internal/index/validation). */
  test('has what krew requires, and nothing that it does not know', () => {
    assert.equal(manifest.apiVersion, 'krew.googlecontainertools.github.com/v1alpha2');
    assert.equal(manifest.kind, 'Plugin');
    assert.match(manifest.metadata.name, /^[\w-]+$/);
    const known = ['version', 'homepage', 'shortDescription', 'description', 'caveats', 'platforms'];
    assert.deepEqual(Object.keys(manifest.spec).sort(), known.sort());
    assert.match(String(manifest.spec['version']), /^v\d+\.\d+\.\d+$/, 'semantic, with a "v"');
    assert.ok(String(manifest.spec['shortDescription']).length <= 50, 'fits into a line of "kubectl krew search"');
    assert.ok(!/[\r\n]/.test(String(manifest.spec['shortDescription'])));
  });

  test('has a platform with a checksum, an archive, and a binary that is among its files', () => {
    assert.equal(manifest.spec.platforms.length, 1);
    for (const one of manifest.spec.platforms) {
      assert.deepEqual(Object.keys(one).sort(), ['bin', 'files', 'selector', 'sha256', 'uri']);
      assert.deepEqual(one['selector'], { matchLabels: { os: 'linux', arch: 'amd64' } });
      assert.match(String(one['uri']), /^https:\/\/.*\.(tar\.gz|zip)$/);
      assert.match(String(one['sha256']), /^[0-9a-f]{64}$/);
      const files = one['files'] as readonly { readonly from: string; readonly to: string }[];
      assert.ok(files.some(({ from, to }) => from === one['bin'] && to === '.'));
      assert.ok(
        files.some(({ from }) => from === 'LICENSE'),
        "krew's index asks for the licence",
      );
    }
  });
});

describe('release notes', () => {
  const changelog =
    '# Changes\n\n## Unreleased\n\n### Added\n- new\n\n## [0.2.0] - 2027-01-15\n\n- two\n\n## 0.1.0\n\n- one\n';

  test('are the section of the version', () => {
    assert.equal(releaseNotes(changelog, '0.2.0'), '# dcred 0.2.0\n\n- two\n');
    assert.equal(releaseNotes(changelog, '0.1.0'), '# dcred 0.1.0\n\n- one\n');
  });

  test('are what is unreleased while the version has no section', () => {
    assert.equal(releaseNotes(changelog, '0.3.0'), '# dcred 0.3.0\n\n### Added\n- new\n');
    assert.throws(() => releaseNotes('# Changes\n\n## Unreleased\n', '0.3.0'), { code: 'ReleaseNotes' });
  });

  test('can be made from the current changelog', async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    assert.ok(releaseNotes(await readFile(join(ROOT, 'CHANGELOG.md'), 'utf8'), version).length > 200);
  });
});
