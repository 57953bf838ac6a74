import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { IssuedSecret } from '../../src/issued-secret/issued-secret.ts';
import {
  describePending,
  nothingAwaited,
  notInTime,
  progressBar,
  progressLine,
  progressOf,
  RenewalCount,
  summary,
} from '../../src/renew/progress.ts';
import { facts, issuedSecret, NOW } from '../../testing/support/builders.ts';

const issuedAt = (issued: number, podName = 'web-0') =>
  issuedSecret({ name: `web-${podName}`, podName, facts: facts({ issuedAt: issued }) });

describe('progress', () => {
  test('counts what was issued at the moment or later', () => {
    const secrets = [issuedAt(NOW - 1, 'old'), issuedAt(NOW, 'new'), issuedAt(NOW + 5, 'newer')];
    const { pending, reissued, total } = progressOf(secrets, NOW);
    assert.deepEqual([reissued, total], [2, 3]);
    assert.deepEqual(
      pending.map(({ podName }) => podName),
      ['old'],
    );
  });

  test('a Secret that another client has changed is not yet re-issued', () => {
    assert.equal(progressOf([issuedSecret({ facts: undefined })], NOW).pending.length, 1);
  });

  test('counted change by change equals a count of all', () => {
    const secret = fc.option(
      fc.integer({ min: NOW - 2, max: NOW + 2 }).map((at) => issuedAt(at)),
      { nil: undefined },
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(4), secret)), (changes) => {
        const count = new RenewalCount(NOW);
        const present = new Map<number, IssuedSecret | undefined>();
        for (const [key, current] of changes) {
          count.change(present.get(key), current);
          present.set(key, current);
        }
        const { reissued, total } = progressOf(
          [...present.values()].filter((one) => one !== undefined),
          NOW,
        );
        assert.deepEqual(count.counts, { total, reissued });
      }),
    );
  });

  test('that has begun when the wait is over blames nobody', () => {
    assert.match(notInTime({ total: 3, reissued: 0 }), /check that the operator runs/);
    const begun = notInTime({ total: 3, reissued: 1 });
    assert.match(begun, /the operator goes on, at its pace/);
    assert.doesNotMatch(begun, /check/);
  });

  test('is drawn as a bar with count and rate', () => {
    const bar = progressBar({ total: 20, reissued: 10 }, 2);
    assert.equal(bar, `[${'#'.repeat(15)}${'-'.repeat(15)}]  10/20  5.0/s`);
  });

  test('the bar has one width, and is full only at the end', () => {
    const counts = fc.integer({ min: 1, max: 50_000 }).chain((total) => fc.tuple(fc.constant(total), fc.nat(total)));
    fc.assert(
      fc.property(counts, fc.double({ min: 0, max: 600, noNaN: true }), ([total, reissued], seconds) => {
        const bar = /^\[(#*)(-*)\]/.exec(progressBar({ total, reissued }, seconds));
        assert.equal((bar?.[1]?.length ?? 0) + (bar?.[2]?.length ?? 0), 30);
        assert.equal(bar?.[2] === '', reissued === total);
      }),
    );
  });

  test('is summed up in one line', () => {
    assert.equal(summary({ total: 20, reissued: 20 }, 2.5), 're-issued 20 of 20 credentials in 2.5 s (8.0/s)');
    assert.match(summary({ total: 0, reissued: 0 }, 1), /nothing to re-issue/);
    assert.equal(
      nothingAwaited({ suspended: 2, failed: 1 }),
      'nothing is waited for: 2 suspended, 1 could not be requested',
    );
    assert.equal(progressLine({ total: 3, reissued: 1 }), '1 of 3 credentials re-issued');
  });

  test('names the pending pods, the first of many', () => {
    const pending = Array.from({ length: 25 }, (_, number) => issuedAt(NOW, `web-${String(number).padStart(2, '0')}`));
    const lines = describePending({ total: 25, reissued: 0, pending });
    assert.equal(lines[0], '  pod edge/web-00 (Secret web-web-00)');
    assert.equal(lines.length, 21);
    assert.equal(lines.at(-1), '  and 5 more');
  });
});
