import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import { PODS } from '../../../src/kubernetes/resource-type.ts';
import { NotServedError, ownedClient } from '../../../src/operator/owned-client.ts';
import { ShardSet } from '../../../src/operator/shards/shard-set.ts';
import { FakeClock, settle } from '../../../testing/support/fake-clock.ts';

const NAMESPACES = Array.from({ length: 40 }, (_, index) => `team-${index}`);

describe('a set of shards', () => {
  test('serves the namespaces of its shards, each namespace in one shard', () => {
    const set = new ShardSet(3);
    for (const shard of [0, 1, 2]) {
      const before = NAMESPACES.filter((namespace) => set.serves(namespace)).length;
      set.begin(shard);
      const now = NAMESPACES.filter((namespace) => set.serves(namespace)).length;
      assert.equal(now - before, NAMESPACES.filter((namespace) => set.isOf(shard, namespace)).length);
    }
    assert.ok(NAMESPACES.every((namespace) => set.serves(namespace) && set.mayWrite(namespace)));
  });

  test('begins nothing in a shard that it does not have', async () => {
    const set = new ShardSet(1);
    assert.equal(await set.during('edge', async () => 'done'), undefined);
  });

  test('hands a shard over when what is in progress is done, and begins nothing more', async () => {
    const set = new ShardSet(1);
    set.begin(0);
    const work = Promise.withResolvers<void>();
    const working = set.during('edge', async (signal) => {
      await work.promise;
      return signal?.aborted;
    });
    let ended = false;
    const ending = set.end(0, new FakeClock(), 5_000).then(() => {
      ended = true;
    });
    await settle();
    assert.deepEqual([ended, set.serves('edge'), set.mayWrite('edge')], [false, false, true]);
    assert.equal(await set.during('edge', async () => 'more'), undefined);
    work.resolve();
    assert.equal(await working, false, 'it was not cut short');
    await ending;
    assert.equal(set.mayWrite('edge'), false);
  });

  for (const [what, ms] of Object.entries({
    'after the time that it has': 5_000,
    'at once where the Lease was lost': 0,
  })) {
    test(`cuts short what is in progress ${what}`, async () => {
      const clock = new FakeClock();
      const set = new ShardSet(1);
      set.begin(0);
      const working = set.during('edge', async (signal) => {
        await new Promise((resolve) => signal?.addEventListener('abort', resolve));
        return set.mayWrite('edge');
      });
      const ending = set.end(0, clock, ms);
      clock.advance(ms);
      assert.equal(await working, false);
      await ending;
    });
  }

  test('may take a shard again', async () => {
    const set = new ShardSet(1);
    set.begin(0);
    assert.throws(() => set.begin(0), TypeError);
    await set.end(0, new FakeClock(), 0);
    set.begin(0);
    assert.equal(await set.during('edge', async () => 'done'), 'done');
  });
});

test('a client of one namespace writes in no other, whatever the write', async () => {
  const calls: string[] = [];
  const record = (name: string) => async () => void calls.push(name);
  const writes = ['apply', 'create', 'replace', 'delete', 'mergePatch', 'strategicMergePatch'] as const;
  const fake = Object.fromEntries([...writes, 'get'].map((name) => [name, record(name)]));
  const client = ownedClient(fake as unknown as ApiClient, (namespace) => namespace === 'edge');
  const attempts = (namespace: string): Readonly<Record<(typeof writes)[number], () => Promise<unknown>>> => {
    const options = { signal: new AbortController().signal };
    const ref = { namespace, name: 'web-0' };
    return {
      apply: () => client.apply(PODS, { metadata: ref }, options),
      create: () => client.create(PODS, { metadata: ref }, options),
      replace: () => client.replace(PODS, { metadata: ref }, options),
      delete: () => client.delete(PODS, ref, options),
      mergePatch: () => client.mergePatch(PODS, ref, {}, options),
      strategicMergePatch: () => client.strategicMergePatch(PODS, ref, {}, options),
    };
  };
  for (const write of writes) {
    await assert.rejects(attempts('shop')[write](), NotServedError);
    await attempts('edge')[write]();
  }
  assert.deepEqual(calls, writes);
});
