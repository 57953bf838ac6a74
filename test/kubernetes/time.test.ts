/** The small parts that deal with time. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Backoff, backoffMs } from '../../src/kubernetes/backoff.ts';
import { delay, systemClock } from '../../src/kubernetes/clock.ts';
import { Deadline } from '../../src/kubernetes/deadline.ts';
import { TokenBucket } from '../../src/kubernetes/events/token-bucket.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';

describe('delay', () => {
  test('ends after its time, or with the signal, leaving no timer', async () => {
    const clock = new FakeClock();
    const stop = new AbortController();
    let ended = 0;
    const both = [delay(clock, 1_000, stop.signal), delay(clock, 5_000, stop.signal)].map((one) =>
      one.then(() => ended++),
    );
    await clock.advanceAsync(1_000);
    assert.equal(ended, 1);
    stop.abort();
    await Promise.all(both);
    assert.equal(clock.timers, 0);
    await delay(clock, 1_000, stop.signal);
  });

  test('the system clock does not turn a year into a millisecond', async () => {
    let fired = false;
    const timer = systemClock.setTimeout(() => {
      fired = true;
    }, 365 * 86_400_000);
    await delay(systemClock, 20, new AbortController().signal);
    timer.cancel();
    assert.equal(fired, false);
  });
});

describe('Deadline', () => {
  test('expires after its time, extended or held', () => {
    const clock = new FakeClock();
    using deadline = new Deadline(new AbortController().signal, clock, 1_000);
    clock.advance(900);
    deadline.extend(1_000);
    clock.advance(900);
    assert.ok(!deadline.expired);
    deadline.hold();
    clock.advance(90_000);
    assert.ok(!deadline.expired);
    deadline.extend(1_000);
    clock.advance(1_000);
    assert.ok(deadline.expired && deadline.signal.aborted);
  });

  test('aborts with its parent, for the parent’s reason, and does not count as expired', () => {
    const clock = new FakeClock();
    const parent = new AbortController();
    using early = new Deadline(parent.signal, clock, 1_000);
    parent.abort(new Error('enough'));
    using late = new Deadline(parent.signal, clock, 1_000);
    for (const deadline of [early, late]) {
      assert.equal(deadline.signal.reason.message, 'enough');
      assert.ok(!deadline.expired);
    }
  });

  test('calls back once, at whichever end comes first, with the reason of its signal', () => {
    for (const how of ['time', 'parent'] as const) {
      const clock = new FakeClock();
      const parent = new AbortController();
      using deadline = new Deadline(parent.signal, clock, 1_000);
      let called = 0;
      deadline.onEnd = () => {
        called += 1;
      };
      assert.deepEqual([deadline.ended, deadline.reason, called], [false, undefined, 0]);
      if (how === 'parent') parent.abort(new Error('enough'));
      clock.advance(1_000);
      parent.abort(new Error('too late'));
      clock.advance(5_000);
      assert.deepEqual([deadline.ended, deadline.expired, called], [true, how === 'time', 1]);
      assert.equal(deadline.reason, deadline.signal.reason);
      assert.equal((deadline.reason as Error).name, how === 'time' ? 'AbortError' : 'Error');
    }
  });

  test('leaves nothing behind', () => {
    const clock = new FakeClock();
    {
      using _ = new Deadline(new AbortController().signal, clock, 1_000);
    }
    assert.equal(clock.timers, 0);
  });
});

describe('Backoff', () => {
  test('doubles up to its maximum, and starts over after a reset', () => {
    const backoff = new Backoff({ baseMs: 100, maxMs: 1_000, random: () => 0 });
    assert.deepEqual(
      [1, 2, 3, 4, 5, 6].map(() => backoff.next()),
      [100, 200, 400, 800, 1_000, 1_000],
    );
    backoff.reset();
    assert.equal(backoff.next(), 100);
  });

  test('gives a finite delay within its jitter, however often something fails', () => {
    const inputs = {
      failures: fc.integer({ min: 1, max: 1_000_000 }),
      random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      jitter: fc.double({ min: 0, max: 1, noNaN: true }),
    };
    fc.assert(
      fc.property(fc.record(inputs), ({ failures, jitter, random }) => {
        const ms = backoffMs(failures, { baseMs: 100, maxMs: 5_000, random: () => random, jitter });
        const full = Math.min(5_000, 100 * 2 ** (failures - 1));
        assert.ok(ms <= full && ms >= full * (1 - jitter), `${ms} of ${full}`);
      }),
    );
  });
});

test('TokenBucket gives its burst, then its rate, and never saves up more than its burst', () => {
  const clock = new FakeClock();
  const bucket = new TokenBucket({ clock, burst: 3, perSecond: 2 });
  assert.deepEqual([bucket.take(), bucket.take(), bucket.take()], [0, 0, 0]);
  assert.equal(bucket.take(), 500);
  clock.advance(500);
  assert.equal(bucket.take(), 0);
  clock.advance(3_600_000);
  assert.deepEqual([bucket.take(), bucket.take(), bucket.take()], [0, 0, 0]);
  assert.ok(bucket.take() > 0);
});
