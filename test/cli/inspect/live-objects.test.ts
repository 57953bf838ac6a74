import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readLiveName } from '../../../src/cli/inspect/live-objects.ts';

test('an object of a cluster is named as in kubectl', () => {
  const secret = { kind: 'Secret', name: 'web-tls' };
  for (const words of [['secret/web-tls'], ['secrets/web-tls'], ['Secret/web-tls'], ['secret', 'web-tls']]) {
    assert.deepEqual(readLiveName(words), secret);
  }
  for (const words of [['pod/web-0'], ['po', 'web-0'], ['pods/web-0']]) {
    assert.deepEqual(readLiveName(words), { kind: 'Pod', name: 'web-0' });
  }
});

test('anything else is a file', () => {
  for (const path of ['-', 'dc.bin', './secret/web-tls', 'pod', 'out/dc.bin', '/secret/web', 'constructor/x']) {
    assert.equal(readLiveName([path]), undefined, path);
  }
});

test('a name that no object can have, another kind, and two files are wrong usage', () => {
  for (const words of [['secret/'], ['secret/a/b'], ['pod/A'], ['pod', ''], ['node', 'a'], ['a.bin', 'b.bin']]) {
    assert.throws(() => readLiveName(words), { code: 'Usage' }, words.join(' '));
  }
  assert.throws(() => readLiveName(['secret/A']), /for a file of this name, write \.\/secret\/A/);
});
