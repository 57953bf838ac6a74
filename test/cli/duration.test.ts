import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { UsageError } from '../../src/cli/command.ts';
import { formatDuration, parseDuration } from '../../src/cli/duration.ts';
import { parseTimestamp } from '../../src/cli/timestamp.ts';

test('durations are read as Go writes them', () => {
  const cases = {
    '48h': 172_800,
    '30m': 1800,
    '90s': 90,
    '1h30m': 5400,
    '1.5h': 5400,
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

test('times are read as RFC 3339, with any offset', () => {
  assert.equal(parseTimestamp('2026-11-22T22:00:00Z', '--at'), 1_795_384_800);
  assert.equal(parseTimestamp('2026-11-22T23:00:00.9+01:00', '--at'), 1_795_384_800);
  for (const text of ['', 'now', '2026-11-22', '2026-11-22T22:00:00', '2026-13-22T22:00:00Z', '1795384800']) {
    assert.throws(() => parseTimestamp(text, '--at'), UsageError, text);
  }
});
