import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ApiError } from '../../../src/kubernetes/api-error.ts';
import { WatchPacer } from '../../../src/kubernetes/cache/watch-pacer.ts';
import { networkError } from '../../../src/kubernetes/client/status-error.ts';

const expired = new ApiError('x', { status: 410, reason: 'Expired' });
const forbidden = new ApiError('x', { status: 403, reason: 'Forbidden' });
const unreachable = networkError('x', new Error('x'));
const overloaded = (retryAfterSeconds: number) =>
  new ApiError('x', { status: 429, reason: 'TooManyRequests', retryAfterSeconds });

const delays = (pacer: WatchPacer, error: unknown, livedMs: number, count: number) =>
  Array.from({ length: count }, () => pacer.delayAfter(error, { livedMs }));

describe('WatchPacer', () => {
  test('a server that cannot be reached is tried every few seconds, so that its return is noticed', () => {
    assert.deepEqual(delays(new WatchPacer(() => 0), unreachable, 0, 5), [500, 1_000, 1_500, 1_500, 1_500]);
  });

  test('a refusal is tried again every few seconds while a server may be starting, and every half a minute after that', () => {
    const expected = [500, 1_000, ...Array.from({ length: 6 }, () => 1_500), 30_000, 30_000];
    assert.deepEqual(delays(new WatchPacer(() => 0), forbidden, 0, 10), expected);
  });

  test('an unusable answer is requested ever less often: it may have cost the server a whole list', () => {
    const tooLarge = new ApiError('x', { status: 0, reason: 'ResponseTooLarge' });
    assert.deepEqual(delays(new WatchPacer(() => 0), tooLarge, 0, 5), [500, 1_000, 2_000, 4_000, 8_000]);
  });

  test('the first watch that expires is listed again at once, further ones ever later, until a watch has lasted', () => {
    const pacer = new WatchPacer(() => 0);
    assert.deepEqual(delays(pacer, expired, 100, 4), [0, 1_000, 2_000, 4_000]);
    assert.equal(pacer.delayAfter(expired, { livedMs: 5_000 }), 8_000);
    assert.equal(pacer.delayAfter(expired, { livedMs: 60_000 }), 0);
  });

  test('a watch that the server ends is resumed at once, unless it was very short', () => {
    const pacer = new WatchPacer(() => 0);
    assert.deepEqual(delays(pacer, undefined, 300_000, 3), [0, 0, 0]);
    assert.deepEqual(delays(pacer, undefined, 10, 3), [500, 1_000, 1_500]);
    assert.equal(pacer.delayAfter(undefined, { livedMs: 1_000 }), 0);
  });

  test('a watch that is cut again and again, and brings something each time, is resumed soon each time', () => {
    const pacer = new WatchPacer(() => 0);
    const cut = () => pacer.delayAfter(unreachable, { livedMs: 100, advanced: true });
    assert.deepEqual(Array.from({ length: 5 }, cut), [500, 500, 500, 500, 500]);
    assert.deepEqual(delays(pacer, unreachable, 100, 3), [1_000, 1_500, 1_500]);
  });

  test('Retry-After is honoured, spread, and bounded', () => {
    assert.equal(new WatchPacer(() => 0).delayAfter(overloaded(120), { livedMs: 0 }), 120_000);
    assert.equal(new WatchPacer(() => 0.5).delayAfter(overloaded(120), { livedMs: 0 }), 132_000);
    assert.equal(new WatchPacer(() => 0).delayAfter(overloaded(1e9), { livedMs: 0 }), 300_000);
    assert.equal(new WatchPacer(() => 0).delayAfter(overloaded(0), { livedMs: 0 }), 500);
  });

  test('whatever fails in whatever order, rounds of very short watches become rare', () => {
    const errors = fc.constantFrom(expired, forbidden, unreachable, overloaded(0), undefined);
    fc.assert(
      fc.property(fc.array(errors, { minLength: 40, maxLength: 40 }), (sequence) => {
        const pacer = new WatchPacer(() => 0);
        const waited = sequence.reduce<number>((sum, error) => sum + pacer.delayAfter(error, { livedMs: 10 }), 0);
        // Unreachable alone: 0.5 + 1, then 1.5 s each.
        assert.ok(waited >= 55_000, `40 rounds in ${waited} ms`);
      }),
    );
  });
});
