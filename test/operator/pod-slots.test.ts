import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { IssuedSecret } from '../../src/issued-secret/issued-secret.ts';
import type { Caches } from '../../src/operator/caches.ts';
import { PodFailure } from '../../src/operator/pod-failure.ts';
import { PodSlots } from '../../src/operator/pod-slots.ts';
import { issuedSecret, podOf } from '../../testing/support/builders.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';

/** Pods that exist, and the Secrets that the cache shows. */
class World {
  readonly clock = new FakeClock(0);
  readonly freed: string[] = [];
  pods = ['a', 'b', 'c', 'd', 'e'];
  secrets: IssuedSecret[] = [];
  readonly slots = new PodSlots({
    caches: {
      pods: { get: (_: string, name: string) => (this.pods.includes(name) ? podOf({ name }) : undefined) },
      secrets: { byIndex: () => this.secrets.map((issued) => ({ issued })) },
    } as unknown as Caches,
    clock: this.clock,
    onFree: (key) => void this.freed.push(key),
  });

  show(...pods: readonly string[]): void {
    this.secrets = pods.map((podName) => issuedSecret({ name: `web-${podName}`, podName }));
  }

  /** Whether a credential may be issued to the pod. */
  take(pod: string, maxPods: number): boolean {
    try {
      this.slots.take(`edge/web/${pod}`, `uid-of-${pod}`, maxPods);
      return true;
    } catch (error) {
      assert.ok(error instanceof PodFailure && error.code === 'MaxPodsReached');
      return false;
    }
  }
}

describe('with maxPods 2', () => {
  test('a third pod gets none, whether the cache shows the others yet or not', () => {
    const world = new World();
    assert.deepEqual(
      ['a', 'b', 'c'].map((pod) => world.take(pod, 2)),
      [true, true, false],
    );
    world.show('a');
    assert.ok(!world.take('c', 2));
    world.show('a', 'b');
    assert.ok(!world.take('c', 2));
  });

  test('pods that have one are re-issued', () => {
    const world = new World();
    world.show('a', 'b');
    assert.deepEqual(
      ['a', 'b'].map((pod) => world.take(pod, 2)),
      [true, true],
    );
  });

  test('one that could not be issued after all leaves its place', () => {
    const world = new World();
    assert.ok(world.take('a', 2) && world.take('b', 2));
    world.slots.release('edge/web/b');
    assert.ok(world.take('c', 2));
  });

  test('a write that no cache ever showed leaves its place after a minute', () => {
    const world = new World();
    assert.ok(world.take('a', 2) && world.take('b', 2));
    world.clock.advance(60_001);
    assert.ok(world.take('c', 2));
  });

  test('the Secret of a pod that is gone does not count', () => {
    const world = new World();
    world.show('a', 'b');
    world.pods = ['b', 'c'];
    assert.ok(world.take('c', 2));
  });

  test('who was refused is enqueued when a Secret is gone, once', () => {
    const world = new World();
    world.show('a', 'b');
    assert.ok(!world.take('c', 2));
    world.slots.freed('edge/web/a');
    world.slots.freed('edge/web/a');
    assert.deepEqual(world.freed, ['edge/web/c']);
  });

  test('of more pods than that, the first by uid are re-issued, always the same', () => {
    const world = new World();
    world.show('e', 'd', 'c', 'b', 'a');
    assert.deepEqual(
      ['a', 'b', 'c', 'd', 'e'].map((pod) => world.take(pod, 2)),
      [true, true, false, false, false],
    );
  });
});
