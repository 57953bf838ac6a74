import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { IssuedSecret } from '../../../src/issued-secret/issued-secret.ts';
import { WorkQueue } from '../../../src/kubernetes/queue/work-queue.ts';
import type { Caches } from '../../../src/operator/caches.ts';
import { Membership } from '../../../src/operator/core/membership.ts';
import { fanOut } from '../../../src/operator/resources/fan-out.ts';
import { facts, issuedSecret, NOW, podOf } from '../../../testing/support/builders.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';
import { PodTable } from '../../../testing/support/pod-table.ts';

/** Stands for the cache of Secrets. A fake. */
function cachesWith(secrets: readonly (IssuedSecret | undefined)[]): Caches {
  const byIndex = (namespace: string, index: string, value: string) => {
    assert.deepEqual([namespace, index, value], ['edge', 'resource', 'edge/web']);
    return secrets.map((issued) => ({ namespace: 'edge', name: 'x', issued }));
  };
  return { secrets: { byIndex } } as unknown as Caches;
}

/** The keys in the order in which workers would take them. */
async function order(pods: readonly string[], secrets: readonly (IssuedSecret | undefined)[], late: string[] = []) {
  const membership = new Membership(new PodTable(pods.map((name) => podOf({ name }))));
  membership.setResource('edge', 'web', {});
  const podQueue = new WorkQueue({ clock: new FakeClock(), random: () => 0 });
  fanOut({ caches: cachesWith(secrets), membership, podQueue, namespace: 'edge', name: 'web' });
  for (const key of late) podQueue.add(key);
  const taken: string[] = [];
  while (podQueue.length > 0) taken.push((await podQueue.take(new AbortController().signal)) ?? '');
  return taken.map((key) => key.replace('edge/web/', ''));
}

const of = (podName: string, hours: number, name = `web-${podName}`) =>
  issuedSecret({ name, podName, facts: facts({ expiresAt: NOW + hours * 3_600 }) });

describe('a wave over the pods of a resource', () => {
  test('starts with pods without a Secret, then the soonest expiry', async () => {
    assert.deepEqual(await order(['a', 'b', 'c', 'd'], [of('a', 9), of('b', 3), of('c', 6)]), ['d', 'b', 'c', 'a']);
  });

  test('is overtaken by a new pod', async () => {
    assert.deepEqual(await order(['a', 'b'], [of('a', 9), of('b', 3)], ['edge/web/new']), ['new', 'b', 'a']);
  });

  test('includes Secrets of pods that are no longer selected', async () => {
    assert.deepEqual(await order([], [of('gone', 3)]), ['gone']);
  });

  test('takes a Secret without an expiry first', async () => {
    const unknown = issuedSecret({ name: 'web-u', podName: 'u', facts: undefined });
    assert.deepEqual(await order(['a', 'u'], [of('a', 1), unknown]), ['u', 'a']);
  });

  test('takes a pod with two Secrets once, by the soonest expiry', async () => {
    const secrets = [of('a', 9), of('b', 5), of('a', 1, 'old-name')];
    assert.deepEqual(await order(['a', 'b'], secrets), ['a', 'b']);
  });

  test("skips other resources' Secrets", async () => {
    assert.deepEqual(await order(['a'], [undefined]), ['a']);
  });
});
