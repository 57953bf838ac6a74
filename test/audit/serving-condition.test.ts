import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { AuditResult } from '../../src/audit/result.ts';
import { FINDING_REASONS, podNotice, servingCondition } from '../../src/audit/serving-condition.ts';
import { type AuditState, FINDINGS } from '../../src/audit/verdict.ts';
import { imaginaryFleet } from '../../testing/support/imaginary-fleet.ts';

function conditionOf(states: readonly AuditState[], messageOf?: (index: number) => string) {
  // The third pod of a fleet is of the resource `web`, and so is every other pod but for multiples of 3 and 7.
  const webs = [1, 2, 4, 5, 8, 10];
  const stateOf = (index: number) => states[webs.indexOf(index)] ?? 'current';
  const size = (webs[states.length - 1] ?? 0) + 1;
  const result = imaginaryFleet({ pods: size, stateOf, ...(messageOf === undefined ? {} : { messageOf }) });
  const summary = result.resources.find(({ name }) => name === 'web');
  assert.ok(summary !== undefined);
  return servingCondition(summary, entriesOf(result, 'web'));
}

function entriesOf(result: AuditResult, name: string) {
  return result.entries.filter(({ subject }) => subject.resource.metadata.name === name);
}

describe('the condition Serving', () => {
  test('is True where each server serves its credential, or is about to', () => {
    const { message, reason, status } = conditionOf(['current', 'updating', 'current']);
    assert.deepEqual([status, reason], ['True', 'Current']);
    assert.equal(message, 'each of 3 servers serves the credential of its Secret');
  });

  test('is Unknown where no pod runs', () => {
    assert.deepEqual(conditionOf(['not-running']).status, 'Unknown');
  });

  for (const state of FINDINGS) {
    test(`is False with ${FINDING_REASONS[state]} for ${state}`, () => {
      const { message, reason, status } = conditionOf(['current', state]);
      assert.deepEqual([status, reason], ['False', FINDING_REASONS[state]]);
      assert.match(message, /^1 of 2 servers: /);
    });
  }

  test('has the reason of the most urgent finding, and names the first three', () => {
    const { message, reason } = conditionOf(['unreachable', 'stale', 'invalid', 'none', 'current']);
    assert.equal(reason, 'ServedCredentialInvalid');
    assert.match(message, /^4 of 5 servers: .*found invalid.*found stale.*found none.*; and 1 more: dcred audit$/);
  });

  test('says the same of the same servers, so that nothing is written', () => {
    assert.deepEqual(conditionOf(['stale', 'none']), conditionOf(['stale', 'none']));
  });

  test('has a message that the API server takes, whatever servers say', () => {
    const { message } = conditionOf(['unreachable', 'unreachable', 'unreachable'], () => '\u001b[31m'.repeat(5_000));
    assert.ok(message.length <= 4096 && !message.includes('\u001b'));
  });
});

describe('a pod is notified', () => {
  const entryOf = (state: AuditState) => {
    const [entry] = imaginaryFleet({ pods: 1, stateOf: () => state }).entries;
    assert.ok(entry !== undefined);
    return entry;
  };

  test('of a finding once, and when it clears', () => {
    assert.equal(podNotice(entryOf('stale'), undefined)?.reason, 'ServedCredentialStale');
    assert.equal(podNotice(entryOf('stale'), 'current')?.type, 'Warning');
    assert.equal(podNotice(entryOf('stale'), 'stale'), undefined);
    assert.equal(podNotice(entryOf('invalid'), 'stale')?.reason, 'ServedCredentialInvalid');
    assert.equal(podNotice(entryOf('current'), 'invalid')?.reason, 'ServedCredentialCurrent');
  });

  test('of nothing that is well, or that the operator reports', () => {
    for (const [state, before] of [
      ['current', undefined],
      ['current', 'updating'],
      ['updating', 'stale'],
      ['not-running', undefined],
      ['no-secret', undefined],
    ] as const) {
      assert.equal(podNotice(entryOf(state), before), undefined, state);
    }
  });
});
