import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { UsageError } from '../../../src/cli/command.ts';
import { formatDuration, parseDuration } from '../../../src/cli/options/duration.ts';
import { parseTimestamp } from '../../../src/cli/options/timestamp.ts';

test('durations are read as Go writes them', () => {
  const cases = {
    '48h': 172_800,
    '30m': 1800,
    '90s': 90,
    '1h30m': 5400,
    '1.5h': 5400,
    '1.1h': 3960,
    '4.35m': 261,
    '1.001s999ms': 2,
    '0.7h0.3m': 2538,
    '48h0m0s': 172_800,
    '2000ms': 2,
    '0s': 0,
  };
  for (const [text, seconds] of Object.entries(cases)) assert.equal(parseDuration(text, '--lifetime'), seconds, text);
});

test('anything but a duration in whole seconds is wrong usage, with an example', () => {
  for (const text of ['', '48', 'h', '48 h', '-1h', '2d', '1h30', '1.h', '1500ms', '1e3s', `${'9'.repeat(400)}h`]) {
    assert.throws(
      () => parseDuration(text, '--lifetime'),
      (error: unknown) =>
        error instanceof UsageError && /--lifetime takes a duration .* such as 48h/.test(error.message),
      text,
    );
  }
});

test('a fraction is whole seconds whenever it is written so', () => {
  fc.assert(
    fc.property(fc.nat(100_000), fc.nat(9), (hours, tenths) =>
      assert.equal(parseDuration(`${hours}.${tenths}h`, '--x'), hours * 3600 + tenths * 360),
    ),
  );
});

test('durations are shown without parts that are zero', () => {
  const cases = { 0: '0s', 59: '59s', 60: '1m', 5400: '1h30m', 172800: '48h', 601200: '167h', 3601: '1h1s' };
  for (const [seconds, text] of Object.entries(cases)) assert.equal(formatDuration(Number(seconds)), text);
  assert.equal(formatDuration(-90), '-1m30s');
});

test('what is shown reads back', () => {
  fc.assert(
    fc.property(fc.nat(10_000_000), (seconds) => assert.equal(parseDuration(formatDuration(seconds), '--x'), seconds)),
  );
});

/** What Date.parse takes for the day after. */
const NO_DAYS = ['2026-02-30T00:00:00Z', '2026-02-29T00:00:00Z', '2026-04-31T00:00:00Z', '2026-01-01T24:00:00Z'];

test('times are read as RFC 3339, with any offset', () => {
  assert.equal(parseTimestamp('2026-11-22T22:00:00Z', '--at'), 1_795_384_800);
  assert.equal(parseTimestamp('2026-11-22T23:00:00.9+01:00', '--at'), 1_795_384_800);
  assert.equal(parseTimestamp('2028-02-29T00:00:00Z', '--at'), 1_835_395_200);
  for (const text of [
    '',
    'now',
    '2026-11-22',
    '2026-11-22T22:00:00',
    '2026-13-22T22:00:00Z',
    '1795384800',
    ...NO_DAYS,
  ]) {
    assert.throws(() => parseTimestamp(text, '--at'), UsageError, text);
  }
});
