import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProgressBar } from '../../src/cli/progress-bar.ts';

function bar(isTTY: boolean) {
  const written: string[] = [];
  return { written, bar: new ProgressBar({ isTTY, write: (text) => written.push(text) }, 'audit') };
}

test('a progress bar is drawn on a terminal, and removed', () => {
  const { bar: drawn, written } = bar(true);
  for (let done = 1; done <= 10_000; done += 1) drawn.show(done, 10_000);
  assert.match(written.at(-1) ?? '', /^\raudit █{30} 10000\/10000/);
  assert.ok(written.length <= 201, `${written.length} writes`);
  drawn.clear();
  drawn.clear();
  assert.equal(written.filter((text) => text === '\r\u001b[K').length, 1);
});

test('nothing is written anywhere else', () => {
  const { bar: drawn, written } = bar(false);
  drawn.show(1, 2);
  drawn.clear();
  assert.deepEqual(written, []);
});
