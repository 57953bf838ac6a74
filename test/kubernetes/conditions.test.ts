import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setCondition } from '../../src/kubernetes/conditions.ts';
import type { Condition } from '../../src/kubernetes/objects.ts';
import { formatRfc3339, formatRfc3339Micro } from '../../src/text/rfc3339.ts';

const T0 = Date.UTC(2026, 10, 22, 22, 0, 0, 999);
const LATER = T0 + 60_000;
const issued = {
  type: 'Ready',
  status: 'True',
  reason: 'Issued',
  message: 'All pods.',
  observedGeneration: 1,
} as const;

describe('setCondition', () => {
  test('adds a new condition', () => {
    assert.deepEqual(setCondition([], issued, T0), [{ ...issued, lastTransitionTime: '2026-11-22T22:00:00Z' }]);
  });

  test('returns the very same array when nothing is new', () => {
    const conditions = setCondition([], issued, T0);
    assert.equal(setCondition(conditions, { ...issued }, LATER), conditions);
  });

  test('moves the transition time with the status, and only with it', () => {
    const conditions = setCondition([], issued, T0);
    const [sameStatus] = setCondition(conditions, { ...issued, reason: 'Issuing', observedGeneration: 2 }, LATER);
    assert.equal(sameStatus?.lastTransitionTime, formatRfc3339(T0 / 1000));
    assert.equal(sameStatus?.reason, 'Issuing');
    assert.equal(sameStatus?.observedGeneration, 2);
    const [otherStatus] = setCondition(conditions, { ...issued, status: 'False' }, LATER);
    assert.equal(otherStatus?.lastTransitionTime, formatRfc3339(LATER / 1000));
  });

  test('leaves the others in place, and its argument unchanged', () => {
    const other: Condition = { ...issued, type: 'Other', lastTransitionTime: formatRfc3339(T0 / 1000) };
    const before = Object.freeze([...setCondition([], issued, T0), other]);
    const after = setCondition(before, { ...issued, message: 'New.' }, LATER);
    assert.deepEqual(
      after.map((condition) => condition.type),
      ['Ready', 'Other'],
    );
    assert.equal(after[1], other);
    assert.equal(before[0]?.message, 'All pods.');
  });
});

test('Time has whole seconds, MicroTime six digits', () => {
  assert.equal(formatRfc3339(T0 / 1000), '2026-11-22T22:00:00Z');
  assert.equal(formatRfc3339Micro(T0), '2026-11-22T22:00:00.999000Z');
});
