/** When an operator says that its signer does not answer, and when it takes that back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SignerUnavailableError } from '../../src/signer-client/errors.ts';
import { SignerHealth } from '../../src/signer-client/health.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';

const CUT = new SignerUnavailableError('https://signer.test', new Error('ECONNRESET'));
const MINUTE = 60_000;

function watched() {
  const clock = new FakeClock();
  const changes: (string | undefined)[] = [];
  const health = new SignerHealth({ clock, onChange: (problem) => changes.push(problem) });
  return { changes, clock, health };
}

for (const kind of ['sign', 'follow'] as const) {
  test(`one ${kind} call that is cut is no problem, however long no other is made`, () => {
    const { changes, clock, health } = watched();
    health.failed(kind, CUT);
    for (let passed = 0; passed < 20; passed += 1) {
      clock.advance(20_000);
      health.answered(kind === 'sign' ? 'follow' : 'sign');
    }
    assert.deepEqual(changes, []);
  });

  test(`${kind} calls that fail for five seconds are a problem until one is answered`, () => {
    const { changes, clock, health } = watched();
    health.failed(kind, CUT);
    clock.advance(4_999);
    health.failed(kind, CUT);
    assert.equal(health.problem, undefined);
    clock.advance(1);
    health.failed(kind, CUT);
    assert.equal(health.problem, CUT.message);
    health.answered(kind);
    assert.deepEqual(changes, [CUT.message, undefined]);
  });
}

test('signatures that go on failing stay a problem while certificates are followed', () => {
  const { changes, clock, health } = watched();
  // Pods are tried again after 5 minutes at most.
  for (let passed = 0; passed < 60 * MINUTE; passed += MINUTE) {
    if (passed % (5 * MINUTE) === 0) health.failed('sign', CUT);
    clock.advance(MINUTE);
    health.answered('follow');
  }
  assert.deepEqual(changes, [CUT.message]);
});

test('signatures that failed and that nobody needs any more are forgotten while certificates are followed', () => {
  const { changes, clock, health } = watched();
  health.failed('sign', CUT);
  clock.advance(6_000);
  health.failed('sign', CUT);
  clock.advance(9 * MINUTE);
  health.answered('follow');
  assert.equal(health.problem, CUT.message);
  clock.advance(MINUTE);
  health.answered('follow');
  assert.deepEqual(changes, [CUT.message, undefined]);
  health.failed('sign', CUT);
  assert.equal(health.problem, undefined, 'the next failure is a first one');
});

test('a signer that answers nothing stays a problem, however long nothing is signed', () => {
  const { changes, clock, health } = watched();
  health.failed('sign', CUT);
  for (let passed = 0; passed < 30 * MINUTE; passed += 10_000) {
    health.failed('follow', CUT);
    clock.advance(10_000);
  }
  assert.deepEqual(changes, [CUT.message]);
});
