import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WorkQueue } from '../../../src/kubernetes/queue/work-queue.ts';
import { WavePacer } from '../../../src/operator/pods/wave-pacer.ts';
import { FakeClock, settle } from '../../../testing/support/fake-clock.ts';

/** A queue with ten keys of a wave, added latest expiry first, and workers that issue whatever they take. */
class World {
  readonly clock = new FakeClock(0);
  readonly queue = new WorkQueue({ clock: this.clock, random: () => 0 });
  readonly pacer: WavePacer;
  readonly taken: string[] = [];
  readonly #stop = new AbortController();

  constructor(maxPerSecond: number | undefined, workers = 1) {
    this.pacer = new WavePacer({ maxPerSecond, queue: this.queue, clock: this.clock });
    for (let expiry = 9; expiry >= 0; expiry -= 1) this.queue.add(`wave-${expiry}`, 'background', expiry);
    for (let worker = 0; worker < workers; worker += 1) void this.#work();
  }

  async #work(): Promise<void> {
    for (;;) {
      const key = await this.queue.take(this.#stop.signal);
      if (key === undefined) return;
      this.taken.push(key);
      await settle();
      this.pacer.issued(key.startsWith('wave') ? 'CertificateChanged' : 'Missing');
      this.queue.done(key);
    }
  }

  async advance(ms: number): Promise<void> {
    this.clock.advance(ms);
    for (let turn = 0; turn < 5; turn += 1) await settle();
  }
}

const wave = (count: number) => Array.from({ length: count }, (_, expiry) => `wave-${expiry}`);

describe('a wave of re-issues', () => {
  test('keeps to the rate, soonest expiry first', async () => {
    const world = new World(2);
    await world.advance(0);
    assert.deepEqual(world.taken, wave(1));
    await world.advance(499);
    assert.deepEqual(world.taken, wave(1));
    for (let count = 2; count <= 10; count += 1) {
      await world.advance(count === 2 ? 1 : 500);
      assert.deepEqual(world.taken, wave(count));
    }
  });

  test('of several workers is paced after the fact', async () => {
    const world = new World(2, 4);
    await world.advance(0);
    assert.deepEqual(world.taken, wave(4));
    await world.advance(1_999);
    assert.deepEqual(world.taken, wave(4), 'four at two a second are two seconds');
    await world.advance(1);
    assert.deepEqual(world.taken, wave(8));
  });

  test('lets a new pod pass, which costs the wave nothing', async () => {
    const world = new World(2);
    await world.advance(0);
    world.queue.add('new');
    await world.advance(0);
    assert.deepEqual(world.taken, ['wave-0', 'new']);
    await world.advance(500);
    assert.deepEqual(world.taken, ['wave-0', 'new', 'wave-1']);
  });

  test('has no limit where none is set', async () => {
    const world = new World(undefined);
    for (let turn = 0; turn < 10; turn += 1) await world.advance(0);
    assert.deepEqual(world.taken, wave(10));
  });

  test('does not hold up a shutdown', async () => {
    const world = new World(0.001);
    await world.advance(0);
    world.queue.shutDown();
    for (let turn = 0; turn < 10; turn += 1) await world.advance(0);
    assert.deepEqual(world.taken, wave(10), 'what is ready is still taken');
  });
});
