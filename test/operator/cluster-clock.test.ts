import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type ClockMeasurement, clockSkewMs } from '../../src/kubernetes/client/clock-skew.ts';
import { WorkQueue } from '../../src/kubernetes/queue/work-queue.ts';
import { ClusterClock } from '../../src/operator/cluster-clock.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';

const HOUR = 3_600_000;
const MINUTE = 60_000;
const START = Date.UTC(2027, 0, 15, 8);

/** A local clock that can be set, a server's clock that goes right unless both are set, and the skew that the client measures. */
function world() {
  const local = new FakeClock(START);
  let measured: ClockMeasurement | undefined;
  let bothSetByMs = 0;
  const server = () => START + local.monotonic() + bothSetByMs;
  const answer = () => {
    const date = new Date(Math.floor(server() / 1000) * 1000).toUTCString();
    const skewMs = clockSkewMs(date, local.now(), local.now());
    if (skewMs !== undefined) measured = { skewMs, offsetMs: local.now() - local.monotonic() };
    // The queues read the clock every few seconds.
    clock.now();
  };
  /** A machine that runs the API server too is resumed, or NTP sets its clock. */
  /** Of one API server among several, whose clock is ahead of the others'. */
  const answerAhead = (aheadMs: number) => {
    bothSetByMs += aheadMs;
    answer();
    bothSetByMs -= aheadMs;
  };
  const setBoth = (ms: number) => {
    local.jump(ms);
    bothSetByMs += ms;
    clock.now();
  };
  const clock = new ClusterClock(local, () => measured);
  return { local, server, answer, answerAhead, clock, setBoth };
}

describe('the time to issue by', () => {
  test('is the local one before the API server answered, and while both agree', () => {
    const { answer, clock, local } = world();
    assert.equal(clock.now(), local.now());
    answer();
    local.advance(12_345);
    answer();
    assert.equal(clock.now(), local.now());
  });

  test('is the API server’s from the moment that the local clock is set back, before any answer', () => {
    const { answer, clock, local, server } = world();
    answer();
    local.jump(-HOUR / 2);
    assert.ok(Math.abs(clock.now() - server()) <= 1_000);
    answer();
    assert.ok(Math.abs(clock.now() - server()) <= 2_000);
  });

  test('is the local one again once that is set right', () => {
    const { answer, clock, local, server } = world();
    local.jump(-HOUR / 2);
    answer();
    assert.ok(Math.abs(clock.now() - server()) <= 2_000);
    local.jump(HOUR / 2);
    assert.equal(clock.now(), local.now());
    answer();
    assert.equal(clock.now(), local.now());
  });

  test('is the local one where that is ahead', () => {
    const { answer, clock, local } = world();
    local.jump(HOUR);
    answer();
    assert.equal(clock.now(), local.now());
  });

  test('is the local one once the API server has answered after both were set together', () => {
    for (const ms of [8 * HOUR, HOUR / 2, -HOUR / 2, -8 * HOUR]) {
      const { answer, clock, local, setBoth } = world();
      answer();
      setBoth(ms);
      local.advance(1_000);
      answer();
      assert.equal(clock.skewMs, 0, `set by ${ms} ms`);
      assert.equal(clock.isSkewed, false);
      assert.equal(clock.now(), local.now());
    }
  });

  test('is corrected by an hour at most', () => {
    const { answer, clock, local } = world();
    local.jump(-5 * HOUR);
    answer();
    assert.equal(clock.now() - local.now(), HOUR);
  });

  test('is steady where the local clock is behind by as much as is tolerated: no key of a queue is ready before its time', () => {
    const pauses = fc.array(fc.integer({ min: 1, max: 4_000 }), { minLength: 50, maxLength: 50 });
    fc.assert(
      fc.property(fc.integer({ min: 29_000, max: 32_000 }), pauses, (behindMs, between) => {
        const { answer, clock, local } = world();
        local.jump(-behindMs);
        answer();
        const queue = new WorkQueue({ clock, random: () => 0 });
        queue.addAfter('next week', 168 * HOUR);
        let corrections = clock.now() === local.now() ? 0 : 1;
        let correctionMs = clock.now() - local.now();
        for (const pause of between) {
          local.advance(pause);
          answer();
          const nowMs = clock.now() - local.now();
          if (nowMs !== correctionMs) corrections += 1;
          correctionMs = nowMs;
        }
        assert.ok(corrections <= 1, `corrected ${corrections} times`);
        assert.equal(queue.length, 0);
      }),
    );
  });

  test('is steady, and what people are told too, whichever of several API servers answers', () => {
    const servers = fc.array(fc.integer({ min: 0, max: HOUR }), { minLength: 2, maxLength: 5 });
    const answers = fc.array(fc.record({ by: fc.nat(), pause: fc.integer({ min: 0, max: 20_000 }) }), {
      minLength: 20,
      maxLength: 100,
    });
    fc.assert(
      fc.property(servers, fc.integer({ min: -60_000, max: 60_000 }), answers, (aheadMs, localMs, sequence) => {
        // Where a measurement that wavers makes a difference is the matter of other tests.
        fc.pre(Math.abs(Math.abs(localMs - Math.max(...aheadMs)) - 30_000) > 2_000);
        const { answerAhead, clock, local } = world();
        local.jump(localMs);
        for (const one of aheadMs) answerAhead(one);
        const queue = new WorkQueue({ clock, random: () => 0 });
        queue.addAfter('next week', 168 * HOUR);
        const correctionMs = () => clock.now() - local.now();
        let fellAt = Number.NEGATIVE_INFINITY;
        let before = correctionMs();
        // Each answers within the minute: nothing changes. Else the time falls once a minute at most.
        const latest = aheadMs.indexOf(Math.max(...aheadMs));
        let latestAt = local.monotonic();
        let isRegular = true;
        const wasSkewed = clock.isSkewed;
        for (const { by, pause } of sequence) {
          local.advance(pause);
          const index = by % aheadMs.length;
          answerAhead(aheadMs[index] ?? 0);
          if (index === latest) latestAt = local.monotonic();
          isRegular &&= local.monotonic() - latestAt < MINUTE;
          const now = correctionMs();
          if (isRegular) {
            // By what one measurement wavers, and the correction tolerates.
            assert.ok(now >= before && now - before <= 6_000, `corrected by ${now - before} ms`);
            assert.equal(clock.isSkewed, wasSkewed);
            assert.equal(queue.length, 0, 'a key is ready before its time');
          }
          if (now < before) {
            assert.ok(local.monotonic() - fellAt >= MINUTE, 'the time fell twice within a minute');
            fellAt = local.monotonic();
          }
          before = now;
        }
      }),
    );
  });

  test('is that of the other API servers a minute after the one whose clock is ahead has answered last', () => {
    const { answer, answerAhead, clock, local } = world();
    answer();
    answerAhead(HOUR / 2);
    const corrections = [30_000, 29_000, 1_000].map((ms) => {
      local.advance(ms);
      answer();
      return [clock.now() - local.now(), clock.isSkewed];
    });
    assert.deepEqual(corrections, [
      [HOUR / 2, true],
      [HOUR / 2, true],
      [0, false],
    ]);
  });

  test('ends its correction once the local clock is less than 25 s behind', () => {
    const { answer, clock, local } = world();
    local.jump(-40_000);
    answer();
    const corrections = [11_000, 3_900, 200, -4_000].map((ms) => {
      local.jump(ms);
      answer();
      return clock.now() - local.now();
    });
    assert.deepEqual(corrections, [29_000, 29_000, 0, 0]);
  });

  test('is never more than half a minute behind the API server’s, whatever happens to the local clock within an hour', () => {
    const step = fc.record({
      jump: fc.integer({ min: -HOUR / 4, max: HOUR / 4 }),
      setBothBy: fc.integer({ min: -8 * HOUR, max: 8 * HOUR }),
      pause: fc.integer({ min: 0, max: 60_000 }),
      answered: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 4 }), (steps) => {
        const { answer, clock, local, server, setBoth } = world();
        answer();
        for (const { answered, jump, pause, setBothBy } of steps) {
          local.jump(jump);
          local.advance(pause);
          // Only an answer shows that the server's clock was set too.
          if (answered) {
            setBoth(setBothBy);
            answer();
          }
          assert.ok(clock.now() >= server() - 36_000);
          assert.ok(clock.now() <= Math.max(local.now(), server() + 6_000));
        }
      }),
    );
  });
});
