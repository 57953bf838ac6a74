import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareResourceVersions } from '../../../src/kubernetes/cache/resource-version.ts';

test('versions compare as numbers of any size', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n }), fc.bigInt({ min: 0n, max: 2n ** 64n }), (a, b) => {
      assert.equal(Math.sign(compareResourceVersions(`${a}`, `${b}`) ?? Number.NaN), a === b ? 0 : a < b ? -1 : 1);
    }),
  );
});

test('a version that is not a number is equal to itself and cannot be compared with any other', () => {
  assert.equal(compareResourceVersions('abc', 'abc'), 0);
  for (const odd of ['abc', '', '-1', '01', '1.5', '1e3', ' 1']) {
    assert.equal(compareResourceVersions(odd, '7'), undefined);
    assert.equal(compareResourceVersions('7', odd), undefined);
  }
});
