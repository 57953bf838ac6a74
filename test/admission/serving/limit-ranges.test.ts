import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readLimitRanges } from '../../../src/admission/injection/limit-range.ts';
import { LimitRanges } from '../../../src/admission/serving/limit-ranges.ts';
import { ApiError } from '../../../src/kubernetes/api-error.ts';
import type { ListOptions, ListSelection } from '../../../src/kubernetes/client/api-types.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';

interface Call extends ListSelection, ListOptions {}

const MAX_CPU = { type: 'Container', max: { cpu: '2' } };

/** A LimitRange whose author has filled it with what the agent's resources do not depend on. */
function filled(bytes: number): object {
  const annotations = { note: 'x'.repeat(bytes) };
  const managedFields = [{ manager: 'x'.repeat(bytes) }];
  const max = { cpu: '2', 'example.com/gpu': '1', memory: '9'.repeat(bytes) };
  const limits = [
    { type: 'PersistentVolumeClaim', max: { storage: '1'.repeat(bytes) } },
    { type: 'Container', max, note: 'x'.repeat(bytes) },
  ];
  return { metadata: { namespace: 'edge', name: 'limits', annotations, managedFields }, spec: { limits } };
}

function start(list: (call: Call) => readonly object[] | Promise<never>) {
  const clock = new FakeClock();
  const log = recordingLogger();
  const calls: Call[] = [];
  const client = {
    list: async (_type: unknown, selection: ListSelection, options: ListOptions) => {
      calls.push({ ...selection, ...options });
      return { metadata: {}, items: await list({ ...selection, ...options }) };
    },
  };
  const limitRanges = new LimitRanges(client as never, clock, log, readLimitRanges);
  return { limitRanges, clock, log, calls };
}

const tooLarge = async () => {
  throw new ApiError('the answer exceeds what is read', { status: 0, reason: 'ResponseTooLarge' });
};
const unavailable = async () => {
  throw new ApiError('unavailable', { status: 503, reason: 'ServiceUnavailable' });
};

describe('of one namespace', () => {
  test('is kept what the agent depends on, whatever else its LimitRanges hold', async () => {
    const { limitRanges } = start(() => [filled(250_000)]);
    assert.deepEqual(await limitRanges.get('edge'), [MAX_CPU]);
  });

  test('is read a bounded number of LimitRanges, of a bounded size', async () => {
    const { calls, limitRanges } = start(() => []);
    await limitRanges.get('edge');
    assert.equal(calls[0]?.limit, 16);
    assert.equal(calls[0]?.maxBytes, 256 * 1024);
  });

  test('those too large to be read count as none, and are not read again for every pod', async () => {
    const { calls, clock, limitRanges, log } = start(tooLarge);
    assert.deepEqual(await limitRanges.get('edge'), []);
    assert.deepEqual(await limitRanges.get('edge'), []);
    assert.equal(calls.length, 1);
    assert.equal(log.lines.length, 1);
    clock.advance(5_000);
    await limitRanges.get('edge');
    assert.equal(calls.length, 2);
  });

  test('those that cannot be read now are read for the next pod', async () => {
    const { calls, limitRanges } = start(unavailable);
    assert.deepEqual(await limitRanges.get('edge'), []);
    await limitRanges.get('edge');
    assert.equal(calls.length, 2);
  });

  test('a Deployment of pods reads them once', async () => {
    const { calls, limitRanges } = start(() => [{ spec: { limits: [MAX_CPU] } }]);
    const all = await Promise.all(Array.from({ length: 100 }, () => limitRanges.get('edge')));
    assert.deepEqual(all, Array(100).fill([MAX_CPU]));
    assert.equal(calls.length, 1);
  });
});

describe('of several namespaces', () => {
  test('old ones go when another one is read', async () => {
    const { clock, limitRanges } = start(() => []);
    for (const namespace of ['a', 'b', 'c']) await limitRanges.get(namespace);
    assert.equal(limitRanges.size, 3);
    clock.advance(5_000);
    await limitRanges.get('d');
    assert.equal(limitRanges.size, 1);
  });

  test('at most 256 are kept, the newest', async () => {
    const { calls, limitRanges } = start(() => []);
    for (let index = 0; index < 300; index += 1) await limitRanges.get(`n-${index}`);
    assert.equal(limitRanges.size, 256);
    await limitRanges.get('n-44');
    assert.equal(calls.length, 300);
    await limitRanges.get('n-43');
    assert.equal(calls.length, 301);
  });
});
