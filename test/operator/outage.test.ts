import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Outage } from '../../src/operator/outage.ts';

function ends(statuses: readonly number[]): number {
  const outage = new Outage();
  let count = 0;
  outage.follow(() => (count += 1));
  for (const status of statuses) outage.observe({ status });
  return count;
}

test('an outage ends with the first answer after three calls in a row without one', () => {
  assert.equal(ends([0, 503, 504]), 0);
  assert.equal(ends([0, 503, 504, 200, 200]), 1);
  assert.equal(ends([0, 0, 200, 0, 0, 200]), 0, 'single connections fail all the time');
  assert.equal(ends([502, 502, 502, 404, 0, 0, 0, 0, 201]), 2, 'any answer will do, whatever it is');
  assert.equal(ends([500, 500, 500, 500, 200]), 0, 'a webhook that fails is no outage');
});

test('there are as many as runs of unanswered calls that an answer follows', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(0, 502, 503, 504, 200, 409, 500)), (statuses) => {
      const runs = statuses.map((status) => ([0, 502, 503, 504].includes(status) ? '-' : '+')).join('');
      assert.equal(ends(statuses), runs.match(/-{3,}(?=\+)/g)?.length ?? 0);
    }),
  );
});
