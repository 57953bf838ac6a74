import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest } from '../../src/text/nearest.ts';

const WORDS = ['status', 'suspend', 'resume', 'issue', 'issuer', 'probe', 'dev-ca', 'crd', 'csr'];

test('a misspelt word finds a known one that is at most two slips away', () => {
  for (const [typed, meant] of [
    ['statsu', 'status'],
    ['Status', 'status'],
    ['sttaus', 'status'],
    ['stat', 'status'],
    ['susp', 'suspend'],
    ['dev_ca', 'dev-ca'],
    ['isue', 'issue'],
    ['csrr', 'csr'],
    ['proob', 'probe'],
  ] as const) {
    assert.equal(nearest(typed, WORDS), meant, typed);
  }
});

test('a word that is like none, or the beginning of several, finds none', () => {
  for (const typed of ['', 'x', 's', 'kubectl', 'zz', 'isszzz', 'status'.repeat(100)]) {
    assert.equal(nearest(typed, WORDS), undefined, typed);
  }
  assert.equal(nearest('re', ['renew', 'resume']), undefined);
});
