import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from 'js-yaml';
import { explainYamlError } from '../../src/text/yaml-error.ts';

test('a mistake in YAML is named by its place, and nothing of the text is quoted', () => {
  for (const [text, expected] of [
    ['a: b: c', /^the error is at or before line 1, column 5$/],
    ['a: 1\nkey: *hidden', /^the error is at or before line 2, column \d+$/],
    ['a: 1\n---\nb: 2', /^expected a single document/],
    ['# nothing', /^expected a document, but the input is empty$/],
  ] as const) {
    assert.throws(
      () => load(text),
      (error) => {
        assert.match(explainYamlError(error), expected);
        return true;
      },
    );
  }
});
