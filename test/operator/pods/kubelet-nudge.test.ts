import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ApiError } from '../../../src/kubernetes/api-error.ts';
import type { Step } from '../../../src/operator/core/plan.ts';
import { readPod, samePod } from '../../../src/operator/core/pod.ts';
import { KubeletNudge, type KubeletNudgeOptions, needsNudge } from '../../../src/operator/pods/kubelet-nudge.ts';
import { issuedSecret, podOf } from '../../../testing/support/builders.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';
import { missing } from '../../../testing/support/not-found.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';

/** A nudge whose API server is a fake: it takes the patches, or answers with an error. */
function nudging(answer: () => Promise<unknown> = async () => ({})) {
  const patches: unknown[] = [];
  const outcomes: string[] = [];
  const log = recordingLogger();
  const client = {
    mergePatch: async (_type: unknown, reference: unknown, patch: unknown) => {
      patches.push([reference, patch]);
      return await answer();
    },
  } as unknown as KubeletNudgeOptions['client'];
  const metrics = { kubeletNudged: (outcome: 'ok' | 'failed') => void outcomes.push(outcome) };
  const made = new KubeletNudge({ client, clock: new FakeClock(Date.UTC(2027, 0, 15, 8, 0, 0, 7)), log, metrics });
  const send = () => made.send(podOf(), new AbortController().signal);
  return { log, send, outcomes, patches };
}

const refusal = (reason: string, status: number) => async () => {
  throw new ApiError(`refused: ${reason}`, { reason, status });
};

describe('a nudge', () => {
  test('changes one annotation of exactly that pod', async () => {
    const { send, outcomes, patches } = nudging();
    await send();
    assert.deepEqual(patches, [
      [
        { namespace: 'edge', name: 'web-0' },
        { metadata: { uid: 'uid-of-web-0', annotations: { 'dcred.dev/renewed-at': '2027-01-15T08:00:00.007Z' } } },
      ],
    ]);
    assert.deepEqual(outcomes, ['ok']);
  });

  test('that fails is counted and never thrown', async () => {
    const { send, outcomes, patches } = nudging(refusal('InternalError', 500));
    await send();
    assert.deepEqual(outcomes, ['failed']);
    assert.equal(patches.length, 1);
  });

  test('that keeps failing is one warning, until one succeeds', async () => {
    let failing = true;
    const { log, send } = nudging(() => (failing ? refusal('Forbidden', 403)() : Promise.resolve({})));
    const levels = () => log.lines.map(({ level }) => level);
    await send();
    await send();
    assert.deepEqual(levels(), ['warn', 'debug']);
    failing = false;
    await send();
    failing = true;
    await send();
    assert.deepEqual(levels(), ['warn', 'debug', 'warn']);
  });

  const replaced = { NotFound: () => Promise.reject(missing('web-0')), Conflict: refusal('Conflict', 409) };
  for (const [reason, answer] of Object.entries(replaced)) {
    test(`to a pod that has gone or been replaced (${reason}) is not a warning`, async () => {
      const { log, send } = nudging(answer);
      await send();
      assert.deepEqual(
        log.lines.map(({ level }) => level),
        ['debug'],
      );
    });
  }

  test('changes nothing that the operator reads of the pod', () => {
    const pod = (annotations: Readonly<Record<string, string>>) =>
      readPod({ metadata: { namespace: 'edge', name: 'web-0', uid: '1', annotations } });
    assert.ok(samePod(pod({}), pod({ 'dcred.dev/renewed-at': '2027-01-15T08:00:00.007Z' })));
  });
});

describe('what needs a nudge', () => {
  const renewed: Step = { kind: 'issue', reason: 'RenewalDue', name: 'web-web-0', replaces: issuedSecret() };
  for (const [what, step, pod, expected] of [
    ['a re-issue to a running pod', renewed, podOf(), true],
    ['a first issue: the pod mounts it when it starts', { ...renewed, replaces: undefined }, podOf(), false],
    ['a re-issue to a terminating pod', renewed, podOf({ terminating: true }), false],
    ['a re-issue to a pod that is gone', renewed, undefined, false],
    ['a new chain', { kind: 'rechain', secret: issuedSecret() }, podOf(), true],
    ['new labels', { kind: 'annotate', secret: issuedSecret(), renewAt: 1 }, podOf(), false],
    ['a deletion', { kind: 'delete', reason: 'NotSelected', secret: issuedSecret() }, podOf(), false],
  ] as const satisfies readonly (readonly [string, object, object | undefined, boolean])[]) {
    test(`${what}: ${expected}`, () => assert.equal(needsNudge(step as Step, pod), expected));
  }
});
