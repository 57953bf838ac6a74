import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { WorkQueue } from '../../../src/kubernetes/queue/work-queue.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';
import { seeded } from '../../faults/seeded.ts';

const SECOND = 1000;
const STEP_MS = 100;
const never = new AbortController().signal;

interface Server {
  /** Whether an attempt at this key at this time, in milliseconds since the start, fails. */
  readonly fails: (key: string, atMs: number) => boolean;
  readonly askedMs?: number;
}

/** Tries keys as workers do, for `ms`. @returns when each was tried, and which are left */
async function run(keys: readonly string[], ms: number, { askedMs = 0, fails }: Server) {
  const clock = new FakeClock();
  clock.advance(24 * 3_600 * SECOND);
  const queue = new WorkQueue({ clock, random: () => 0.5 });
  const tries = new Map<string, number[]>(keys.map((key) => [key, []]));
  const left = new Set(keys);
  for (const key of keys) queue.add(key);
  for (let now = 0; now <= ms; now += STEP_MS) {
    while (queue.length > 0) {
      const key = (await queue.take(never)) ?? assert.fail('no key');
      tries.get(key)?.push(now);
      if (fails(key, now)) queue.retry(key, { unavailable: true, minDelayMs: askedMs });
      else {
        queue.forget(key);
        left.delete(key);
      }
      queue.done(key);
    }
    clock.advance(STEP_MS);
  }
  queue.shutDown();
  assert.equal(clock.timers, 0);
  return { tries, left };
}

const named = (count: number) => Array.from({ length: count }, (_, index) => `pod-${index}`);
const count = (tries: ReadonlyMap<string, readonly number[]>) =>
  [...tries.values()].reduce((sum, times) => sum + times.length, 0);

test('however long a server failed some calls, everything is done soon after it recovers', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 0, max: 600 }),
      fc.double({ min: 0.1, max: 1, noNaN: true }),
      fc.integer(),
      async (pods, failingSeconds, share, seed) => {
        const end = failingSeconds * SECOND;
        const random = seeded(seed);
        // A second until a key may be tried early, then one early attempt within its interval, which brings the others.
        const soon = Math.max(SECOND, Math.min(30 * SECOND, end / 10)) + 2 * SECOND;
        const { left } = await run(named(pods), end + soon, { fails: (_, now) => now < end && random() < share });
        assert.deepEqual([...left], []);
      },
    ),
    { numRuns: 60 },
  );
});

test('where calls fail indefinitely, early attempts cost the same for one key and for a thousand', async () => {
  const hour = 3_600 * SECOND;
  const backOffAlone = 8 + 12 + 1;
  for (const keys of [1, 1_000]) {
    const { tries } = await run(named(keys), hour, { fails: () => true });
    const early = count(tries) - keys * backOffAlone;
    assert.ok(early < 200, `${early} early tries of ${keys} keys in an hour`);
  }
});

test('keys that succeed meanwhile do not bring back those that always fail', async () => {
  const keys = named(100);
  const isBad = (key: string) => Number(key.slice(4)) % 2 === 1;
  const { left, tries } = await run(keys, 600 * SECOND, { fails: (key, now) => isBad(key) || now < 10 * SECOND });
  assert.deepEqual([...left], keys.filter(isBad));
  for (const key of left) {
    const times = tries.get(key) ?? [];
    assert.ok(times.length < 30, `${times.length} tries of ${key}`);
  }
});

test('no key is tried before the time that the server named', async () => {
  const askedMs = 7 * SECOND;
  const { left, tries } = await run(named(20), 60 * SECOND, { askedMs, fails: (_, now) => now < 30 * SECOND });
  assert.deepEqual([...left], []);
  for (const times of tries.values()) {
    for (const [index, at] of times.entries()) assert.ok(index === 0 || at - (times[index - 1] ?? 0) >= askedMs);
  }
});

test('a key that fails for a reason of its own is not tried early', async () => {
  const clock = new FakeClock();
  const queue = new WorkQueue({ clock, random: () => 0 });
  const fail = async (unavailable: boolean) => {
    queue.add('pod');
    await queue.take(never);
    queue.retry('pod', { unavailable });
    queue.done('pod');
  };
  for (let failures = 0; failures < 5; failures += 1) await fail(true);
  await fail(false);
  clock.advance(32 * SECOND - 1);
  assert.equal(queue.length, 0);
  clock.advance(1);
  assert.equal(queue.length, 1);
});
