import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { trimEndWhile } from '../../src/text/trim.ts';

test('the chosen characters are removed from the end, and from nowhere else', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('/', 'a', '.', ' ') }), (text) => {
      assert.equal(
        trimEndWhile(text, (character) => character === '/'),
        text.replace(/\/+$/, ''),
      );
    }),
  );
});
