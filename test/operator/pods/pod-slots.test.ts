import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type IssuedSecret, podKeyOf } from '../../../src/issued-secret/issued-secret.ts';
import type { Caches } from '../../../src/operator/caches.ts';
import { RankedTexts } from '../../../src/operator/core/ranked-texts.ts';
import { PodFailure } from '../../../src/operator/pod-failure.ts';
import { PodSlots } from '../../../src/operator/pods/pod-slots.ts';
import { issuedSecret, podOf } from '../../../testing/support/builders.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';

/** The caches of pods and of Secrets, which report every change. */
class World {
  readonly clock = new FakeClock(0);
  readonly freed: string[] = [];
  /** By name: the uid of a pod that exists. */
  readonly pods = new Map<string, string>();
  /** By name. */
  readonly secrets = new Map<string, IssuedSecret>();
  /** How many Secrets were read from the cache. */
  reads = 0;
  slots = this.restarted();

  constructor(...pods: readonly string[]) {
    for (const name of pods) this.showPod(name);
  }

  restarted(): PodSlots {
    const byIndex = (_: string, index: string, value: string) =>
      this.#read(index === 'podKey' ? this.#ofPod(value) : [...this.secrets.values()]);
    this.slots = new PodSlots({
      caches: {
        pods: {
          get: (_: string, name: string) => {
            const uid = this.pods.get(name);
            return uid === undefined ? undefined : podOf({ name, uid });
          },
        },
        secrets: { byIndex },
      } as unknown as Caches,
      clock: this.clock,
      onFree: (key) => void this.freed.push(key),
    });
    return this.slots;
  }

  #read(secrets: readonly IssuedSecret[]) {
    this.reads += secrets.length;
    return secrets.map((issued) => ({ issued }));
  }

  #ofPod(podKey: string): readonly IssuedSecret[] {
    const secret = this.secrets.get(`web-${podKey.split('/').at(-1)}`);
    return secret === undefined || podKeyOf(secret) !== podKey ? [] : [secret];
  }

  showPod(name: string, uid = `uid-of-${name}`): void {
    this.pods.set(name, uid);
    this.slots.podChanged({ namespace: 'edge', name });
  }

  hidePod(name: string): void {
    this.pods.delete(name);
    this.slots.podChanged({ namespace: 'edge', name });
  }

  show(...pods: readonly string[]): void {
    for (const podName of pods) this.showSecret(podName, `uid-of-${podName}`);
  }

  showSecret(podName: string, podUid: string): void {
    const secret = issuedSecret({ name: `web-${podName}`, podName, podUid });
    this.secrets.set(secret.name, secret);
    this.slots.secretChanged(secret);
  }

  hide(podName: string): void {
    const secret = this.secrets.get(`web-${podName}`);
    this.secrets.delete(`web-${podName}`);
    if (secret !== undefined) this.slots.secretChanged(secret);
  }

  /** Whether a credential may be issued to the pod. */
  take(pod: string, maxPods: number): boolean {
    return this.taken(pod, maxPods) !== undefined;
  }

  /** The function that gives the slot back; undefined where there is none. */
  taken(pod: string, maxPods: number, uid = `uid-of-${pod}`): (() => void) | undefined {
    try {
      return this.slots.take(`edge/web/${pod}`, uid, maxPods);
    } catch (error) {
      assert.ok(error instanceof PodFailure && error.code === 'MaxPodsReached');
      return undefined;
    }
  }
}

describe('with maxPods 2', () => {
  test('a third pod gets none, whether the cache shows the others yet or not', () => {
    const world = new World('a', 'b', 'c');
    assert.deepEqual(
      ['a', 'b', 'c'].map((pod) => world.take(pod, 2)),
      [true, true, false],
    );
    world.show('a');
    assert.ok(!world.take('c', 2));
    world.show('b');
    assert.ok(!world.take('c', 2));
  });

  test('pods that have one are re-issued, even after a restart', () => {
    const world = new World('a', 'b', 'c');
    world.show('a', 'b');
    world.restarted();
    assert.deepEqual(
      ['a', 'b', 'c'].map((pod) => world.take(pod, 2)),
      [true, true, false],
    );
  });

  test('one that could not be issued after all frees its slot', () => {
    const world = new World('a', 'b', 'c');
    assert.ok(world.take('a', 2));
    world.taken('b', 2)?.();
    assert.ok(world.take('c', 2));
  });

  test('one that may or may not have been written keeps its slot, even when the next attempt is refused', () => {
    const world = new World('a', 'b', 'c');
    assert.ok(world.take('a', 2) && world.take('b', 2));
    world.taken('b', 2)?.();
    assert.ok(!world.take('c', 2));
  });

  test('a write that no cache ever showed frees its slot after a minute', () => {
    const world = new World('a', 'b', 'c');
    assert.ok(world.take('a', 2) && world.take('b', 2));
    world.clock.advance(60_001);
    assert.ok(world.take('c', 2));
  });

  test('the Secret of a pod that is gone does not count', () => {
    const world = new World('a', 'b', 'c');
    world.show('a', 'b');
    assert.ok(!world.take('c', 2));
    world.hidePod('a');
    assert.ok(world.take('c', 2));
  });

  test('a Secret that the cache showed before its pod counts', () => {
    const world = new World('b', 'c');
    world.show('a', 'b');
    world.take('b', 2);
    world.showPod('a');
    assert.ok(!world.take('c', 2));
  });

  test('a pod that was refused is enqueued when a slot becomes free, once', () => {
    const world = new World('a', 'b', 'c');
    world.show('a', 'b');
    assert.ok(!world.take('c', 2));
    world.hidePod('a');
    world.hide('a');
    world.hide('b');
    assert.deepEqual(world.freed, ['edge/web/c']);
  });

  test('a pod that was refused and is gone is not enqueued', () => {
    const world = new World('a', 'b', 'c', 'd');
    world.show('a', 'b');
    assert.ok(!world.take('c', 2) && !world.take('d', 2));
    world.hidePod('c');
    world.hide('a');
    assert.deepEqual(world.freed, ['edge/web/d']);
  });

  test('of more pods than that, the first by uid are re-issued, always the same', () => {
    const world = new World('a', 'b', 'c', 'd', 'e');
    world.show('e', 'd', 'c', 'b', 'a');
    assert.deepEqual(
      ['a', 'b', 'c', 'd', 'e'].map((pod) => world.take(pod, 2)),
      [true, true, false, false, false],
    );
  });
});

test('a wave reads each Secret a few times, however many there are', () => {
  const pods = Array.from({ length: 3_000 }, (_, index) => `p${index}`);
  const world = new World(...pods);
  for (const pod of pods) {
    world.take(pod, 2_500);
    world.show(pod);
  }
  for (const pod of pods) world.take(pod, 2_500);
  assert.ok(world.reads <= 3 * pods.length, `${world.reads} reads`);
});

/** The same by a full count: the simplest model. */
class Model {
  readonly world: World;
  takes: { readonly pod: string; readonly uid: string; readonly sinceMs: number }[] = [];

  constructor(world: World) {
    this.world = world;
  }

  shown(pod: string): string | undefined {
    const uid = this.world.secrets.get(`web-${pod}`)?.podUid;
    return uid === this.world.pods.get(pod) ? uid : undefined;
  }

  /** Once the cache shows a pod's Secret, nothing waits for it. */
  seen(): void {
    this.takes = this.takes.filter(({ pod }) => this.shown(pod) === undefined);
  }

  holders(): ReadonlyMap<string, string> {
    const now = this.world.clock.monotonic();
    const pods = [...PODS].flatMap((pod) => {
      const uid = this.shown(pod);
      return uid === undefined ? [] : [[pod, uid] as const];
    });
    const taken = this.takes
      .filter(({ sinceMs }) => now - sinceMs <= 60_000)
      .map(({ pod, uid }) => [pod, uid] as const);
    return new Map([...taken, ...pods]);
  }

  mayTake(pod: string, uid: string, maxPods: number): boolean {
    const holders = this.holders();
    if (!holders.has(pod)) return holders.size < maxPods;
    const before = [...holders].filter(([other, otherUid]) => other !== pod && otherUid < uid);
    return holders.size <= maxPods || before.length < maxPods;
  }
}

const PODS = ['a', 'b', 'c', 'd'];
const PROPERTIES = { numRuns: 500 };

test('after any history, the pods that may take a slot are those of a full count', () => {
  const pod = fc.constantFrom(...PODS);
  const life = fc.integer({ min: 1, max: 2 });
  const event = fc.oneof(
    fc.record({ kind: fc.constant('pod' as const), pod, life }),
    fc.record({ kind: fc.constant('pod gone' as const), pod }),
    fc.record({ kind: fc.constant('secret' as const), pod, life }),
    fc.record({ kind: fc.constant('secret gone' as const), pod }),
    ...[1, 2].map(() =>
      fc.record({ kind: fc.constant('take' as const), pod, life, maxPods: fc.integer({ min: 0, max: 3 }) }),
    ),
    fc.record({ kind: fc.constant('give back' as const), which: fc.nat(10) }),
    fc.record({ kind: fc.constant('time' as const), ms: fc.constantFrom(1, 30_000, 60_001) }),
    fc.record({ kind: fc.constant('restart' as const) }),
  );
  fc.assert(
    fc.property(fc.array(event, { minLength: 20, maxLength: 60, size: 'max' }), (events) => {
      const world = new World();
      const model = new Model(world);
      let undos: (() => void)[] = [];
      for (const one of events) {
        switch (one.kind) {
          case 'pod':
            world.showPod(one.pod, uidOf(one.pod, one.life));
            break;
          case 'pod gone':
            world.hidePod(one.pod);
            break;
          case 'secret':
            world.showSecret(one.pod, uidOf(one.pod, one.life));
            break;
          case 'secret gone':
            world.hide(one.pod);
            break;
          case 'take': {
            const uid = uidOf(one.pod, one.life);
            const expected = model.mayTake(one.pod, uid, one.maxPods);
            const undo = world.taken(one.pod, one.maxPods, uid);
            assert.equal(undo !== undefined, expected, JSON.stringify(events));
            if (undo === undefined) break;
            const before = model.takes;
            const taken = { pod: one.pod, uid, sinceMs: world.clock.monotonic() };
            if (model.shown(one.pod) === undefined) {
              model.takes = [...before.filter((other) => other.pod !== one.pod), taken];
            }
            const earlier = before.find((other) => other.pod === one.pod && other.uid === uid);
            undos.push(() => {
              undo();
              if (!model.takes.includes(taken)) return;
              model.takes = model.takes.filter((other) => other !== taken).concat(earlier ?? []);
            });
            break;
          }
          case 'give back':
            undos.splice(one.which % Math.max(1, undos.length), 1)[0]?.();
            break;
          case 'time':
            world.clock.advance(one.ms);
            break;
          case 'restart':
            world.restarted();
            model.takes = [];
            undos = [];
        }
        model.seen();
      }
    }),
    PROPERTIES,
  );
});

/** A pod's name may be used again, by a pod whose uid comes before or after. */
function uidOf(pod: string, life: number): string {
  return `${life}-${pod}`;
}

test('ranks are those of a sorted list', () => {
  const text = fc.integer({ min: 0, max: 40 }).map((number) => String(number).padStart(2, '0'));
  const change = fc.record({ text, adds: fc.boolean() });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 200 }), text, fc.integer({ min: 1, max: 6 }), (changes, asked, chunk) => {
      const ranked = new RankedTexts(2 * chunk);
      let sorted: string[] = [];
      for (const one of changes) {
        if (one.adds) {
          ranked.add(one.text);
          sorted = [...sorted, one.text].toSorted();
          continue;
        }
        ranked.delete(one.text);
        if (sorted.includes(one.text)) sorted.splice(sorted.indexOf(one.text), 1);
      }
      assert.equal(ranked.rankOf(asked), sorted.filter((other) => other < asked).length);
    }),
    PROPERTIES,
  );
});
