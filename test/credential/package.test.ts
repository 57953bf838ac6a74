/** `dcred/credential` as a package: documented, runnable examples, declarations that other projects can compile against. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { buildLibraries } from '../../scripts/libraries.ts';
import * as credential from '../../src/credential/index.ts';
import * as noble from '../../src/credential/noble.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const FOLDER = join(ROOT, 'src', 'credential');
const run = promisify(execFile);

const files = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.ts'))
  .map((name) => ({ name, text: readFileSync(join(FOLDER, name), 'utf8') }));

/** Doc comments, and the name of the function or constant that each documents. */
function documented(text: string): readonly { readonly name: string; readonly comment: string }[] {
  const pattern = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*export (?:async )?(?:function|const) (\w+)/g;
  return [...text.matchAll(pattern)].map(([, comment = '', name = '']) => ({ name, comment }));
}

function exampleOf(comment: string): string | undefined {
  const [, example] = comment.split('@example');
  return example?.replaceAll(/^ \* ?/gm, '').trim();
}

/** All examples run in one process, each in its own scope, and so with its own imports. */
function asFunction(name: string, example: string): string {
  const body = example
    .replace(/^import \* as (\w+) from ('[^']+');$/gm, 'const $1 = await import($2);')
    .replace(/^import (\w+) from ('[^']+');$/gm, 'const { default: $1 } = await import($2);')
    .replace(/^import (\{[^}]*\}) from ('[^']+');$/gm, 'const $1 = await import($2);');
  return `await (async function ${name}() {\n${body}\n})();\nconsole.log('${name}');`;
}

const all = files.flatMap(({ text }) => documented(text));

describe('dcred/credential', () => {
  test('every file begins with a comment that says what it is for', () => {
    for (const { name, text } of files) assert.match(text, /^\/\*\*[\s\S]{30,}?\*\/\n/, name);
  });

  test('every public function has an example', () => {
    const functions = Object.entries({ ...credential, ...noble })
      .filter(([, value]) => typeof value === 'function' && !/^class\b/.test(Function.prototype.toString.call(value)))
      .map(([name]) => name);
    const withExample = new Set(all.filter(({ comment }) => exampleOf(comment) !== undefined).map(({ name }) => name));
    assert.deepEqual(
      functions.filter((name) => !withExample.has(name)),
      [],
    );
    assert.ok(functions.length > 20);
  });

  test('every example runs', async () => {
    const examples = all.flatMap(({ comment, name }) => {
      const example = exampleOf(comment);
      return example === undefined ? [] : [asFunction(name, example)];
    });
    const options = ['--conditions=dcred-source', '--input-type=module-typescript', '--eval', examples.join('\n')];
    const { stdout } = await run(process.execPath, options, { cwd: join(ROOT, 'test', 'vectors') });
    assert.equal(stdout.trim().split('\n').length, examples.length);
  });

  test('is built with declarations that compile strictly, and runs without the sources', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'dcred-package-'));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const modules = join(directory, 'node_modules');
    await buildLibraries(join(modules, 'dcred', 'dist', 'lib'));
    copyFileSync(join(ROOT, 'package.json'), join(modules, 'dcred', 'package.json'));
    for (const name of ['@noble', '@types', 'undici-types']) {
      symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
    }
    mkdirSync(join(directory, 'src'));
    writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
    writeFileSync(join(directory, 'src', 'use.ts'), USE);
    const strict = ['--strict', '--target', 'es2024', '--module', 'nodenext', '--types', 'node'];
    const places = ['--rootDir', 'src', '--outDir', 'out', 'src/use.ts'];
    const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
    await run(process.execPath, [tsc, '--ignoreConfig', ...strict, ...places], { cwd: directory });
    const { stdout } = await run(process.execPath, [join(directory, 'out', 'use.js'), join(ROOT, 'test', 'vectors')]);
    assert.equal(stdout, 'ok\n');
  });
});

const USE = `
import { readFileSync } from 'node:fs';
import { type DelegationCertificate, readDelegationCertificate, type VerifyResult, verifyCredential } from 'dcred/credential';
import { verifyWithNoble } from 'dcred/credential/noble';

const folder = process.argv[2] ?? '';
const certificate: DelegationCertificate = readDelegationCertificate(readFileSync(\`\${folder}/leaf.crt\`, 'utf8'));
const now = Date.parse('2026-11-22T22:00:00Z') / 1000;
const result: VerifyResult = verifyCredential({
  bytes: readFileSync(\`\${folder}/p256.dc\`), certificate, usage: 'Server', now, verifySignature: verifyWithNoble,
});
console.log(result.ok ? 'ok' : result.message);
`;
