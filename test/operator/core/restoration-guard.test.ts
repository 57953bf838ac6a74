import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { RestorationGuard } from '../../../src/operator/core/restoration-guard.ts';

const KEY = 'edge/web/web-0';
const UID = 'uid-of-web-0';
const START = Date.UTC(2027, 0, 15);
const LONGEST = 300_000;

/** How long each restoration waits when the other client reverts it at once. */
function waits(guard: RestorationGuard, restorations: number, longestMs = LONGEST): readonly number[] {
  let now = START;
  return Array.from({ length: restorations }, () => {
    const at = guard.allowedAt(KEY, UID, now, longestMs);
    const wait = at - now;
    now = at;
    guard.restored(KEY, UID, now);
    return wait;
  });
}

describe('restoring what another client keeps reverting', () => {
  test('is immediate three times, then waits twice as long each time', () => {
    assert.deepEqual(waits(new RestorationGuard(), 8), [0, 0, 0, 1_000, 2_000, 4_000, 8_000, 16_000]);
  });

  test('waits five minutes at most', () => {
    assert.equal(waits(new RestorationGuard(), 20).at(-1), 300_000);
  });

  test('waits no longer than a short-lived credential allows', () => {
    assert.equal(Math.max(...waits(new RestorationGuard(), 20, 3_000)), 3_000);
  });

  test('is immediate again after ten quiet minutes', () => {
    const guard = new RestorationGuard();
    waits(guard, 6);
    const later = START + 7_000 + 600_001;
    assert.equal(guard.allowedAt(KEY, UID, later, LONGEST), later);
    guard.restored(KEY, UID, later);
    assert.equal(guard.allowedAt(KEY, UID, later, LONGEST), later);
  });

  test('of one Secret does not delay another', () => {
    const guard = new RestorationGuard();
    waits(guard, 10);
    assert.equal(guard.allowedAt('edge/web/web-1', UID, START, LONGEST), START);
  });

  test('does not wait for a clock that was set back', () => {
    const guard = new RestorationGuard();
    waits(guard, 4);
    const dayBefore = START - 86_400_000;
    assert.equal(guard.allowedAt(KEY, UID, dayBefore, LONGEST), dayBefore);
  });

  test('forgets quiet Secrets, so that memory does not grow', () => {
    const guard = new RestorationGuard();
    for (let n = 0; n < 1_000; n += 1) guard.restored(`edge/web/old-${n}`, UID, START);
    guard.restored(KEY, UID, START + 600_001);
    guard.restored(KEY, UID, START + 1_200_002);
    assert.equal(guard.size, 1);
  });

  test('forgets them after any pause, and when the clock was set back', () => {
    const moment = fc.integer({ min: -4, max: 8 }).map((tenMinutes) => START + tenMinutes * 600_001);
    fc.assert(
      fc.property(fc.array(moment, { minLength: 1 }), (moments) => {
        const guard = new RestorationGuard();
        moments.forEach((ms, index) => {
          for (let n = 0; n < 10; n += 1) guard.restored(`edge/web/${index}-${n}`, UID, ms);
        });
        const last = moments.at(-1) ?? START;
        guard.restored(KEY, UID, last + 600_001);
        guard.restored(KEY, UID, last + 1_200_002);
        assert.equal(guard.size, 1);
      }),
    );
  });

  test('of a pod that was replaced under its name starts again', () => {
    const guard = new RestorationGuard();
    waits(guard, 10);
    assert.equal(guard.allowedAt(KEY, 'another', START, LONGEST), START);
    guard.restored(KEY, 'another', START);
    assert.equal(guard.knows(KEY, UID), false);
  });

  test('counts restorations, not losses', () => {
    const guard = new RestorationGuard();
    assert.equal(guard.knows(KEY, UID), false);
    for (let n = 0; n < 10; n += 1) guard.lost(KEY, UID, START);
    assert.equal(guard.knows(KEY, UID), true);
    assert.equal(guard.allowedAt(KEY, UID, START, LONGEST), START);
  });

  test('of a Secret that is deleted on sight is bounded: a few in a minute, whatever the other client does', () => {
    const pause = fc.integer({ min: 0, max: 2_000 });
    fc.assert(
      fc.property(fc.array(pause, { minLength: 200, maxLength: 200 }), (pauses) => {
        const guard = new RestorationGuard();
        let now = START;
        let restored = 0;
        for (const ms of pauses) {
          guard.lost(KEY, UID, now);
          now = Math.max(now, guard.allowedAt(KEY, UID, now, LONGEST));
          if (now >= START + 60_000) break;
          guard.restored(KEY, UID, now);
          restored += 1;
          now += ms;
        }
        // Three at once, then 1 + 2 + 4 + 8 + 16 s apart.
        assert.ok(restored <= 9, `${restored} restorations`);
      }),
    );
  });
});
