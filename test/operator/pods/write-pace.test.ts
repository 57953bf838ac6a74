/** How many pods are in progress: as many as may be written at a time, or more with a signer, where writes have their own limit. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WritePace, workersFor } from '../../../src/operator/pods/write-pace.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';

const signal = new AbortController().signal;

/** Enters for as long as there is room. */
async function fill(gate: { readonly inside: number; enter(signal: AbortSignal): Promise<boolean> }): Promise<number> {
  for (let tries = 0; tries < 200; tries += 1) void gate.enter(signal);
  await new Promise((resolve) => setImmediate(resolve));
  return gate.inside;
}

class World {
  readonly clock = new FakeClock();
  readonly pace: WritePace;
  /** How many keys are taken from the queue. */
  readonly queue = { taken: 0 };

  constructor(signsAhead: boolean) {
    this.pace = new WritePace({ max: 32, clock: this.clock, signsAhead });
    this.pace.follow(this.queue);
  }

  answer(ms: number, status = 201): void {
    this.clock.advance(ms);
    this.pace.observe({ verb: 'create', method: 'POST', plural: 'secrets', status, seconds: ms / 1000 });
  }
}

test('without a signer, a worker that takes a pod may write', async () => {
  const { pace } = new World(false);
  assert.equal(pace.writes, undefined);
  assert.equal(await fill(pace.gate), pace.limit);
});

test('with a signer, pods are taken ahead of what may be written, in proportion to it', async () => {
  const { pace } = new World(true);
  assert.ok(pace.writes);
  const taken = await fill(pace.gate);
  assert.equal(taken, workersFor(pace.limit, true));
  assert.ok(taken > 2 * pace.limit && taken <= workersFor(32, true));
  assert.equal(await fill(pace.writes), pace.limit);
});

test('pods that wait for a signature neither raise the limit nor keep it from being learned', async () => {
  const world = new World(true);
  const { pace } = world;
  // Many are in progress, of which one at a time is written.
  world.queue.taken = 70;
  assert.equal(pace.limit, 2, 'learning');
  for (let answers = 0; answers < 4; answers += 1) {
    await pace.writes?.during(async () => world.answer(10), signal);
  }
  const learned = pace.limit;
  assert.ok(learned > 2, 'learned, whatever is taken');
  for (let answers = 0; answers < 200; answers += 1) {
    await pace.writes?.during(async () => world.answer(10), signal);
  }
  assert.equal(pace.limit, learned, 'never reached, so not raised');
});
