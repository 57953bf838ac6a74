import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const folder = new URL('../../src/credential/', import.meta.url);
/** Without comments: the examples in them may do what the code may not. */
const sources = readdirSync(folder)
  .filter((name) => name.endsWith('.ts'))
  .map((name) => ({ name, text: readFileSync(new URL(name, folder), 'utf8').replace(/\/\*\*[\s\S]*?\*\//g, '') }));

test('src/credential imports only src/text from this project, and only crypto and util from Node', () => {
  for (const { name, text } of sources) {
    for (const [, specifier = ''] of text.matchAll(/\bfrom '([^']+)'/g)) {
      assert.match(
        specifier,
        /^(\.\/[a-z-]+\.ts|\.\.\/text\/[a-z0-9-]+\.ts|node:(crypto|util)|@noble\/curves\/.+)$/,
        `${name} imports ${specifier}`,
      );
    }
  }
});

test('src/credential has no clock, no I/O and no environment', () => {
  for (const { name, text } of sources) {
    assert.doesNotMatch(text, /\bDate\.now\b|\bnew Date\(\)|\bprocess\.|\bimport\(|\bsetTimeout\b|\bfetch\b/, name);
  }
});

test('only noble.ts loads @noble/curves, so that the operator need not', () => {
  const loading = sources.filter(({ text }) => text.includes('@noble/')).map(({ name }) => name);
  assert.deepEqual(loading, ['noble.ts']);
});
