/** What `make build` makes, built twice. The source map says independently of esbuild's metafile which packages are in the bundle. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { packagePath } from '../../scripts/bundled-packages.ts';
import { run, tryRun } from '../../testing/support/processes.ts';
import { explain, sbomValidator } from './sbom-schema.ts';

const ROOT = join(import.meta.dirname, '..', '..');

interface Component {
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly licenses: readonly object[];
  readonly hashes: readonly { readonly alg: string; readonly content: string }[];
}

describe('a build', () => {
  let folder: string;
  const path = (...names: readonly string[]) => join(folder, ...names);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dcred-build-'));
    const build = (to: string, cwd: string, zone: string) =>
      run(process.execPath, [join(ROOT, 'scripts', 'build.ts'), to], {
        cwd,
        env: { ...process.env, DCRED_COMMIT: 'abc', TZ: zone, LANG: 'C' },
        timeoutMs: 600_000,
      });
    await build(path('one'), ROOT, 'UTC');
    await build(path('deeper', 'two'), folder, 'Asia/Kathmandu');
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const filesBelow = async (...folders: readonly string[]): Promise<readonly string[]> => {
    const entries = await readdir(path(...folders), { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile());
    return files.map(({ name, parentPath }) => relative(path(...folders), join(parentPath, name))).sort();
  };

  /** `name@version` of every package that the source map has a file of. */
  const inSourceMap = async (): Promise<ReadonlySet<string>> => {
    const { sources } = JSON.parse(await readFile(path('one', 'dcred.js.map'), 'utf8')) as { sources: string[] };
    const paths = new Set(sources.flatMap((source) => packagePath(source.replace(/^(\.\.\/)+/, '')) ?? []));
    const names = [...paths].map(async (one) => {
      const { name, version } = JSON.parse(await readFile(join(ROOT, one, 'package.json'), 'utf8'));
      return `${name}@${version}`;
    });
    return new Set(await Promise.all(names));
  };

  test('has the same bytes, wherever and whenever it is made', async () => {
    assert.deepEqual((await readdir(path('one'))).sort(), [
      'app',
      'dcred.js',
      'dcred.js.map',
      'licenses.txt',
      'sbom-pkcs11.cdx.json',
      'sbom.cdx.json',
    ]);
    const names = await filesBelow('one');
    assert.deepEqual(names, await filesBelow('deeper', 'two'));
    assert.ok(names.includes(join('app', 'dcred.mjs')));
    for (const name of names) {
      const [one, two] = await Promise.all([readFile(path('one', name)), readFile(path('deeper', 'two', name))]);
      assert.ok(one.equals(two), name);
    }
  });

  test('runs, and names no folder of this machine', async () => {
    for (const entry of ['dcred.js', join('app', 'dcred.mjs')]) {
      const { stdout } = await run(process.execPath, [path('one', entry), 'version']);
      assert.match(stdout, /^dcred \S+ \(abc\)/, entry);
    }
    for (const name of await filesBelow('one')) {
      assert.ok(!(await readFile(path('one', name), 'utf8')).includes(ROOT), name);
    }
  });

  test('says the same in one file and in several', async () => {
    const said = async (entry: string, words: readonly string[]) => {
      const { status, stderr, stdout } = await tryRun(process.execPath, [entry, ...words]);
      return { status, stderr, stdout };
    };
    for (const words of [['--help'], ['operator', '--help'], ['probe'], ['crd'], ['agent', '--nonsense']]) {
      const several = await said(path('one', 'app', 'dcred.mjs'), words);
      assert.deepEqual(several, await said(path('one', 'dcred.js'), words), words.join(' '));
    }
  });

  test('in several files loads no more than a command needs', async () => {
    const whole = (await stat(path('one', 'dcred.js'))).size;
    const shareOf = async (command: string): Promise<number> => {
      const names = await readdir(path('one', 'app', command));
      const loaded = new Set<string>(['main.mjs', names.find((name) => name.startsWith(`${command}-`)) ?? command]);
      let bytes = 0;
      // A set that grows while it is walked.
      for (const name of loaded) {
        const text = await readFile(path('one', 'app', command, name), 'utf8');
        bytes += text.length;
        for (const [, next = ''] of text.matchAll(/\b(?:import|from)"\.\/([\w.-]+\.mjs)"/g)) loaded.add(next);
      }
      assert.ok(loaded.size > 1 && loaded.size < 20, command);
      return bytes / whole;
    };
    assert.ok((await shareOf('probe')) < 0.06);
    assert.ok((await shareOf('agent')) < 0.06);
    assert.ok((await shareOf('operator')) < 0.4);
  });

  test('lists the licence of every package in it', async () => {
    const text = await readFile(path('one', 'licenses.txt'), 'utf8');
    const packages = await inSourceMap();
    assert.ok(
      packages.has(`undici@${JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')).dependencies.undici}`),
    );
    for (const one of packages) {
      const at = one.lastIndexOf('@');
      assert.ok(text.includes(`\n${one.slice(0, at)} ${one.slice(at + 1)} (`), one);
    }
    // Each section has a text: what is between two headings is longer than any name.
    const sections = text.split(/^={80}$/m).slice(1);
    for (let at = 1; at < sections.length; at += 2) {
      assert.ok((sections[at] ?? '').trim().length > 200, sections[at - 1]);
    }
  });

  test("lists pkcs11js in the SBOM of the image's variant, and no other package more", async () => {
    const names = async (file: string) => {
      const { components } = JSON.parse(await readFile(path('one', file), 'utf8'));
      return (components as readonly Component[]).map(({ name }) => name);
    };
    const [plain, variant] = [await names('sbom.cdx.json'), await names('sbom-pkcs11.cdx.json')];
    assert.deepEqual(
      variant.filter((name) => !plain.includes(name)),
      ['pkcs11js'],
    );
    assert.equal(variant.length, plain.length + 1);
  });

  test("has SBOMs that CycloneDX' own schema accepts, and refuses when they have a fault", async () => {
    const validate = await sbomValidator('1.6');
    for (const file of ['sbom.cdx.json', 'sbom-pkcs11.cdx.json']) {
      const text = await readFile(path('one', file), 'utf8');
      validate(JSON.parse(text));
      assert.deepEqual(explain(validate.errors), [], file);
      for (const [from, to] of [
        ['"library"', '"part"'],
        ['"id": "MIT"', '"id": "MIT-ish"'],
        ['"SHA-512"', '"SHA512"'],
        ['"dependsOn"', '"dependOn"'],
        ['"specVersion": "1.6"', '"specVersion": 1.6'],
      ] as const) {
        assert.ok(text.includes(from), from);
        assert.equal(validate(JSON.parse(text.replace(from, to))), false, to);
      }
    }
  });

  test('lists every package in its SBOM, with a licence, and the hash that the lockfile pins', async () => {
    const { bomFormat, components, specVersion } = JSON.parse(await readFile(path('one', 'sbom.cdx.json'), 'utf8'));
    assert.deepEqual([bomFormat, specVersion], ['CycloneDX', '1.6']);
    const listed = components as readonly Component[];
    assert.deepEqual(new Set(listed.map(({ name, version }) => `${name}@${version}`)), await inSourceMap());
    for (const { hashes, licenses, name, purl, version } of listed) {
      assert.equal(purl, `pkg:npm/${name.replace('@', '%40')}@${version}`);
      assert.equal(licenses.length, 1, name);
      assert.match(hashes[0]?.content ?? '', /^[0-9a-f]{128}$/, name);
      assert.equal(hashes[0]?.alg, 'SHA-512', name);
    }
  });
});

test('a file belongs to the innermost package', () => {
  assert.equal(packagePath('node_modules/undici/lib/a.js'), 'node_modules/undici');
  assert.equal(packagePath('node_modules/@noble/curves/a.js'), 'node_modules/@noble/curves');
  assert.equal(packagePath('node_modules/a/node_modules/@b/c/d.js'), 'node_modules/a/node_modules/@b/c');
  assert.equal(packagePath('src/main.ts'), undefined);
});
