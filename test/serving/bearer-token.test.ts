import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bearerToken } from '../../src/serving/bearer-token.ts';

const LONGEST = 'a'.repeat(16_384);

test('a bearer token is read whatever the case of its scheme', () => {
  const token = fc.stringMatching(/^[A-Za-z0-9._~+/=-]{1,200}$/);
  const scheme = fc.mixedCase(fc.constant('bearer'));
  fc.assert(fc.property(scheme, token, (word, text) => assert.equal(bearerToken(`${word} ${text}`), text)));
});

test('the longest token that is read has 16 KiB', () => {
  assert.equal(bearerToken(`Bearer ${LONGEST}`), LONGEST);
  assert.equal(bearerToken(`Bearer ${LONGEST}a`), undefined);
});

for (const header of [
  undefined,
  '',
  'Bearer',
  'Bearer ',
  'Bearer  a',
  ' Bearer a',
  'Bearer a ',
  'Bearer a b',
  'Bearer a\n',
  'Bearer ä',
  'Basic YTpi',
]) {
  test(`${JSON.stringify(header) ?? 'no header'} holds no bearer token`, () =>
    assert.equal(bearerToken(header), undefined));
}
