/** operator/core decides and does nothing else: no I/O, no clock, no randomness. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

const CORE = join(import.meta.dirname, '../../../src/operator/core');

/** node:crypto hashes and parses; the others reach the file system, the network, processes or timers. */
const PURE_MODULES: ReadonlySet<string> = new Set(['node:crypto', 'node:util', 'node:buffer']);
const IMPORT = /(?:\bfrom\s*|\bimport\s*\(?\s*)(['"])([^'"\n]+)\1/g;

const IMPURE: readonly (readonly [what: string, pattern: RegExp])[] = [
  ['the wall clock', /\bDate\s*\.\s*now\b|\bnew\s+Date\s*\(\s*\)|\bDate\s*\(\s*\)/],
  ['the monotonic clock', /\bperformance\s*\.|\bprocess\s*\.\s*(?:hrtime|uptime)\b/],
  ['timers', /\bset(?:Timeout|Interval|Immediate)\s*\(/],
  ['randomness', /\bMath\s*\.\s*random\b|\brandom(?:Bytes|UUID|Int|FillSync)\s*\(|\bgetRandomValues\b/],
  ['the environment', /\bprocess\s*\.\s*(?:env|argv|cwd|exit|std(?:in|out|err))\b/],
  ['the network', /\bfetch\s*\(|\bWebSocket\b/],
  ['the console', /\bconsole\s*\./],
];

/** Without comments, which may mention a clock. */
function codeOf(source: string): string {
  return source.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '');
}

function impurities(source: string): readonly string[] {
  const code = codeOf(source);
  const modules = [...code.matchAll(IMPORT)]
    .map(([, , specifier = '']) => specifier)
    .filter((specifier) => !specifier.startsWith('.') && !PURE_MODULES.has(specifier));
  return [...modules, ...IMPURE.flatMap(([what, pattern]) => (pattern.test(code) ? [what] : []))];
}

describe('operator/core', () => {
  for (const file of readdirSync(CORE).filter((name) => name.endsWith('.ts'))) {
    test(`${file} is pure`, () => assert.deepEqual(impurities(readFileSync(join(CORE, file), 'utf8')), []));
  }
});

describe('the purity check finds', () => {
  for (const [code, found] of [
    ["import { readFileSync } from 'node:fs';", ['node:fs']],
    ["const undici = await import('undici');", ['undici']],
    ['const now = Date.now();', ['the wall clock']],
    ['const now = new Date();', ['the wall clock']],
    ['const started = performance.now();', ['the monotonic clock']],
    ['setTimeout(() => {}, 1);', ['timers']],
    ['const x = Math.random();', ['randomness']],
    ["import { randomBytes } from 'node:crypto'; randomBytes(8);", ['randomness']],
    ['const level = process.env.LEVEL;', ['the environment']],
    ["await fetch('https://example.test');", ['the network']],
  ] as const) {
    test(code, () => assert.deepEqual(impurities(code), found));
  }

  test('nothing in pure code', () => {
    assert.deepEqual(impurities("/** Date.now() */\nimport { createHash } from 'node:crypto';\nDate.parse(text);"), []);
  });
});
