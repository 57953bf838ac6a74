import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isDnsLabel, isDnsSubdomain } from '../../src/text/dns-name.ts';

const labels = ['a', '0', 'web', 'web-0', 'a--b', 'x'.repeat(63)];
const notLabels = ['', '-', '-a', 'a-', 'A', 'a_b', 'a b', 'ä', 'a\n', 'a/b', 'x'.repeat(64)];

describe('the names of Kubernetes objects', () => {
  test('a DNS label is letters, digits and dashes within, 63 at most', () => {
    for (const text of labels) assert.ok(isDnsLabel(text), text);
    for (const text of [...notLabels, 'a.b']) assert.ok(!isDnsLabel(text), text);
  });

  test('a DNS subdomain is labels with dots between, 253 at most', () => {
    const longest = [63, 63, 63, 61].map((length) => 'x'.repeat(length)).join('.');
    assert.equal(longest.length, 253);
    for (const text of [...labels, 'a.b', 'web-0.edge.example', longest]) assert.ok(isDnsSubdomain(text), text);
    for (const text of [...notLabels.slice(0, -1), '.', 'a.', '.a', 'a..b', 'a.-b', 'a-.b', `${longest}x`]) {
      assert.ok(!isDnsSubdomain(text), text);
    }
  });
});
