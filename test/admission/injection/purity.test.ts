import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const folder = new URL('../../../src/admission/injection/', import.meta.url);
const sources = readdirSync(folder).map((name) => ({ name, text: readFileSync(new URL(name, folder), 'utf8') }));

test('src/admission/injection imports src/api, src/text and zod, and of Node only path and util', () => {
  for (const { name, text } of sources) {
    for (const [, specifier = ''] of text.matchAll(/\bfrom '([^']+)'/g)) {
      assert.match(
        specifier,
        /^(\.\/[a-z-]+\.ts|\.\.\/\.\.\/(api|text)\/[a-z0-9-]+\.ts|node:(path|util)|zod)$/,
        `${name} imports ${specifier}`,
      );
    }
  }
});

test('src/admission/injection has no clock, no randomness, no I/O and no environment', () => {
  const impure =
    /\bDate\b|\bperformance\.|\bMath\.random\b|\bcrypto\.|\bprocess\.|\bimport\(|\bset(Timeout|Interval|Immediate)\b|\bfetch\b/;
  for (const { name, text } of sources) assert.doesNotMatch(text, impure, name);
});
