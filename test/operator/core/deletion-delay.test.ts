import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DeletionDelay } from '../../../src/operator/core/deletion-delay.ts';
import type { DeleteReason } from '../../../src/operator/core/plan.ts';

const KEY = 'edge/web/web-0';
const START = Date.UTC(2027, 0, 15);
const deletion = (reason: DeleteReason, uid = 's1') => ({ reason, secret: { uid } });

describe('a deletion', () => {
  for (const reason of ['NotSelected', 'Renamed'] as const) {
    test(`for ${reason} waits ten seconds from the first reconcile`, () => {
      const delay = new DeletionDelay();
      for (const later of [0, 4_000, 9_999]) {
        assert.equal(delay.allowedAt(KEY, [deletion(reason)], START + later).get('s1'), START + 10_000);
      }
    });
  }

  for (const reason of ['ResourceGone', 'PodGone', 'PodReplaced'] as const) {
    test(`for ${reason} does not wait`, () => {
      const delay = new DeletionDelay();
      assert.equal(delay.allowedAt(KEY, [deletion(reason)], START).get('s1'), undefined);
      assert.equal(delay.size, 0);
    });
  }

  test('that was called off in between waits again', () => {
    const delay = new DeletionDelay();
    delay.allowedAt(KEY, [deletion('NotSelected')], START);
    delay.allowedAt(KEY, [], START + 5_000);
    assert.equal(delay.size, 0);
    assert.equal(delay.allowedAt(KEY, [deletion('NotSelected')], START + 6_000).get('s1'), START + 16_000);
  });

  test('waits for each Secret by itself', () => {
    const delay = new DeletionDelay();
    delay.allowedAt(KEY, [deletion('Renamed', 's1')], START);
    const both = delay.allowedAt(KEY, [deletion('Renamed', 's1'), deletion('Renamed', 's2')], START + 3_000);
    assert.deepEqual([both.get('s1'), both.get('s2')], [START + 10_000, START + 13_000]);
  });

  test('does not wait longer after a clock was set back', () => {
    const delay = new DeletionDelay();
    delay.allowedAt(KEY, [deletion('NotSelected')], START);
    const earlier = START - 3_600_000;
    assert.equal(delay.allowedAt(KEY, [deletion('NotSelected')], earlier).get('s1'), earlier + 10_000);
  });
});
