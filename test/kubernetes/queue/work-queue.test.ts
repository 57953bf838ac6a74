import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { KeyLanes, type Lane } from '../../../src/kubernetes/queue/key-lanes.ts';
import { WorkQueue, type WorkQueueOptions } from '../../../src/kubernetes/queue/work-queue.ts';
import { FakeClock, settle } from '../../../testing/support/fake-clock.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const never = new AbortController().signal;

function queueWith(options: Partial<WorkQueueOptions> = {}) {
  const clock = new FakeClock();
  return { clock, queue: new WorkQueue({ clock, random: () => 0, ...options }) };
}

/** Takes what is ready, without waiting. */
async function drain(queue: WorkQueue): Promise<string[]> {
  const keys: string[] = [];
  while (queue.length > 0) {
    const key = await queue.take(never);
    if (key === undefined) break;
    keys.push(key);
    queue.done(key);
  }
  return keys;
}

describe('adding and taking', () => {
  test('keys come in the order in which they were added, each once', async () => {
    const { queue } = queueWith();
    for (const key of ['a', 'b', 'a', 'c', 'b']) queue.add(key);
    assert.equal(queue.length, 3);
    assert.deepEqual(await drain(queue), ['a', 'b', 'c']);
  });

  test('urgent keys come before background keys, and a background key that becomes urgent moves', async () => {
    const { queue } = queueWith();
    queue.add('late', 'background');
    queue.add('moved', 'background');
    queue.add('soon');
    queue.add('moved');
    queue.add('soon', 'background');
    assert.deepEqual(await drain(queue), ['soon', 'moved', 'late']);
  });

  test('a key added while it is worked on comes again after done, once, and not before', async () => {
    const { queue } = queueWith();
    queue.add('a');
    await queue.take(never);
    queue.add('a', 'background');
    queue.add('a');
    queue.add('a');
    assert.equal(queue.length, 0);
    queue.done('a');
    assert.equal(queue.length, 1);
    assert.deepEqual(await drain(queue), ['a']);
  });

  test('a key added again while it is worked on stays urgent, whatever is added later', async () => {
    const { queue } = queueWith();
    queue.add('a');
    await queue.take(never);
    queue.add('a');
    queue.add('a', 'background');
    queue.add('b', 'background');
    queue.done('a');
    assert.deepEqual(await drain(queue), ['a', 'b']);
  });

  test('done is for keys that were taken', () => {
    const { queue } = queueWith();
    queue.add('a');
    assert.throws(() => queue.done('a'), /expected a key that was taken, found "a"/);
  });

  test('a waiting worker is woken by a new key', async () => {
    const { queue } = queueWith();
    const first = queue.take(never);
    const second = queue.take(never);
    queue.add('a');
    queue.add('b');
    assert.deepEqual([await first, await second], ['a', 'b']);
  });

  test('a worker that gives up leaves the key to a waiting worker', async () => {
    const { queue } = queueWith();
    const giveUp = new AbortController();
    const first = queue.take(giveUp.signal);
    const second = queue.take(never);
    queue.add('a');
    giveUp.abort();
    assert.equal(await first, undefined);
    assert.equal(await second, 'a');
  });

  test('reports how long keys waited, and how long they were processed', async () => {
    const seen: string[] = [];
    const { clock, queue } = queueWith({
      observe: ({ kind, lane, seconds }) => seen.push(`${kind} ${lane} ${seconds}`),
    });
    queue.add('a');
    clock.advance(2 * SECOND);
    await queue.take(never);
    clock.advance(3 * SECOND);
    queue.retry('a');
    queue.done('a');
    assert.deepEqual(seen, ['add urgent undefined', 'take urgent 2', 'retry urgent 1', 'done urgent 3']);
  });
});

describe('the background', () => {
  test('comes by rank, lowest first; keys without a rank come before, in their order', async () => {
    const { queue } = queueWith();
    queue.add('last', 'background', 300);
    queue.add('second', 'background', 200);
    queue.add('plain', 'background');
    queue.add('first', 'background', 100);
    queue.add('plain too', 'background');
    queue.add('second too', 'background', 200);
    assert.deepEqual(await drain(queue), ['plain', 'plain too', 'first', 'second', 'second too', 'last']);
  });

  test('is put in order after a restart: a key that waits moves to the rank it is added with, and keeps it otherwise', async () => {
    const { queue } = queueWith();
    for (const key of ['a', 'b', 'c']) queue.add(key, 'background', 1_000);
    queue.add('c', 'background', 10);
    queue.add('a', 'background', 20);
    queue.add('a', 'background');
    assert.deepEqual(await drain(queue), ['c', 'a', 'b']);
  });

  test('keeps the rank of a key that is added while it is processed', async () => {
    const { queue } = queueWith();
    queue.add('a', 'background');
    await queue.take(never);
    queue.add('a', 'background', 50);
    queue.add('a', 'background');
    queue.add('b', 'background', 40);
    queue.add('c', 'background', 60);
    queue.done('a');
    assert.deepEqual(await drain(queue), ['b', 'a', 'c']);
  });
});

describe('delayed keys', () => {
  test('are ready at their time, earliest first', async () => {
    const { clock, queue } = queueWith();
    queue.addAfter('b', 20 * MINUTE);
    queue.addAfter('a', 5 * MINUTE, 'background');
    clock.advance(5 * MINUTE - 1);
    assert.equal(queue.length, 0);
    clock.advance(1);
    assert.deepEqual(await drain(queue), ['a']);
    clock.advance(15 * MINUTE);
    assert.deepEqual(await drain(queue), ['b']);
    assert.equal(clock.timers, 0);
  });

  test('a time that has passed means now', () => {
    const { clock, queue } = queueWith();
    queue.addAt('a', clock.now());
    queue.addAt('b', clock.now() - MINUTE);
    assert.equal(queue.length, 2);
  });

  test('of two times for a key the earlier one counts', () => {
    const { clock, queue } = queueWith();
    queue.addAfter('a', MINUTE);
    queue.addAfter('a', 2 * MINUTE);
    queue.addAfter('a', 30 * SECOND);
    assert.equal(queue.delayed, 1);
    clock.advance(30 * SECOND);
    assert.equal(queue.length, 1);
    assert.equal(queue.delayed, 0);
  });

  test('NaN is refused as a time, because a heap with NaN in it has no order', () => {
    assert.throws(() => queueWith().queue.addAt('a', Number.NaN), TypeError);
  });

  test('when the wall clock jumps ahead, keys that have become due are ready within ten seconds', () => {
    const { clock, queue } = queueWith();
    queue.addAfter('a', 60 * MINUTE);
    queue.addAfter('b', 300 * MINUTE);
    clock.advance(MINUTE);
    clock.jump(120 * MINUTE);
    clock.advance(10 * SECOND);
    assert.equal(queue.length, 1);
    assert.equal(queue.delayed, 1);
  });

  test('when the wall clock is set back, every key is ready within ten seconds, to be reconciled again', () => {
    const { clock, queue } = queueWith();
    queue.addAfter('a', 60 * MINUTE);
    queue.addAfter('b', 300 * MINUTE);
    clock.advance(MINUTE);
    clock.jump(-120 * MINUTE);
    clock.advance(10 * SECOND);
    assert.equal(queue.length, 2);
    assert.equal(queue.delayed, 0);
  });

  test('when the wall clock is set back, what only waited for its time is overtaken by what is urgent', async () => {
    const { clock, queue } = queueWith();
    queue.addAfter('late', 300 * MINUTE);
    queue.addAfter('soon', 60 * MINUTE);
    queue.retry('failed');
    queue.addAfter('short', 5 * SECOND);
    clock.jump(-120 * MINUTE);
    clock.advance(10 * SECOND);
    queue.add('new');
    assert.deepEqual(await drain(queue), ['failed', 'short', 'new', 'soon', 'late']);
  });

  test('a wall clock that is slewed, as NTP does, enqueues nothing early', () => {
    const { clock, queue } = queueWith();
    queue.addAfter('a', 60 * MINUTE);
    for (let i = 0; i < 300; i++) {
      clock.advance(10 * SECOND);
      clock.jump(-5);
    }
    assert.equal(queue.length, 0);
  });

  test('are dropped when the key is taken earlier: the reconcile says when the next is due', async () => {
    const { clock, queue } = queueWith();
    queue.addAfter('gone', 6 * 24 * 60 * MINUTE);
    queue.add('gone');
    assert.deepEqual(await drain(queue), ['gone']);
    assert.equal(queue.delayed, 0);
    clock.advance(7 * 24 * 60 * MINUTE);
    assert.equal(queue.length, 0);
  });

  test('that are added while the key is processed are kept', async () => {
    const { clock, queue } = queueWith();
    queue.add('a');
    await queue.take(never);
    queue.addAfter('a', MINUTE);
    queue.done('a');
    clock.advance(MINUTE);
    assert.deepEqual(await drain(queue), ['a']);
  });
});

describe('retries', () => {
  test('double from one second to five minutes', () => {
    const { queue } = queueWith();
    const delays = Array.from({ length: 11 }, () => queue.retry('a') / SECOND);
    assert.deepEqual(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert.equal(queue.failures('a'), 11);
  });

  test('stop growing at the longest delay that the caller allows', () => {
    const { queue } = queueWith();
    for (let i = 0; i < 10; i++) assert.ok(queue.retry('a', { maxDelayMs: 3 * SECOND }) <= 3 * SECOND);
    assert.ok(queue.retry('a', { maxDelayMs: 9999 * MINUTE }) <= 5 * MINUTE);
  });

  test('are spread by up to a fifth, never longer', () => {
    const { queue } = queueWith({ random: () => 0.999 });
    const ms = queue.retry('a');
    assert.ok(ms >= 800 && ms < 1000);
  });

  test("wait for the server's Retry-After, even beyond the longest delay, and not in one burst after it", () => {
    const early = queueWith({ random: () => 0 });
    assert.equal(early.queue.retry('a', { maxDelayMs: 3 * SECOND, minDelayMs: 2 * MINUTE }), 2 * MINUTE);
    const late = queueWith({ random: () => 0.999 });
    assert.ok(late.queue.retry('a', { minDelayMs: 2 * MINUTE }) > 2 * MINUTE);
    assert.equal(early.queue.retry('a', { minDelayMs: 10 }), 2 * SECOND, 'a short wait does not undo the back-off');
  });

  test('start over after forget', () => {
    const { queue } = queueWith();
    queue.retry('a');
    queue.retry('a');
    queue.forget('a');
    assert.equal(queue.failures('a'), 0);
    assert.equal(queue.retry('a'), SECOND);
  });

  test('that wait for an unreachable server come back when it can be reached, and only those', async () => {
    const { clock, queue } = queueWith();
    for (const key of ['gone', 'late', 'refused']) queue.add(key, 'background');
    for (let i = 0; i < 3; i += 1) await queue.take(never);
    for (let i = 0; i < 8; i += 1) queue.retry('gone', { unavailable: true });
    queue.retry('refused');
    for (const key of ['gone', 'refused']) queue.done(key);
    assert.equal(queue.length, 0);
    clock.advance(10);
    assert.equal(queue.retryUnavailable(), 1);
    assert.deepEqual(await drain(queue), ['gone']);
    assert.equal(queue.failures('gone'), 8, 'the next failure still doubles the delay');
    assert.equal(queue.retryUnavailable(), 0, 'once');
    // Its call began before the server came back.
    for (let i = 0; i < 8; i += 1) assert.equal(queue.retry('late', { unavailable: true }), SECOND);
    queue.done('late');
    clock.advance(SECOND);
    assert.deepEqual((await drain(queue)).toSorted(), ['late', 'refused']);
    queue.retry('gone', { unavailable: true });
    queue.shutDown();
    assert.equal(queue.retryUnavailable(), 0);
  });

  test('come back in the lane that the key was taken from', async () => {
    const { clock, queue } = queueWith();
    queue.add('a', 'background');
    await queue.take(never);
    queue.retry('a');
    queue.done('a');
    queue.addAfter('b', SECOND + 1);
    clock.advance(2 * SECOND);
    assert.deepEqual(await drain(queue), ['b', 'a']);
  });

  test('however often it fails, the delay is a number', () => {
    const { queue } = queueWith();
    for (let i = 0; i < 2000; i++) assert.ok(Number.isFinite(queue.retry('a')));
  });
});

describe('shutting down', () => {
  test('lets what is ready be taken, drops what is delayed, takes nothing new', async () => {
    const { clock, queue } = queueWith();
    queue.add('ready');
    queue.addAfter('delayed', SECOND);
    queue.shutDown();
    queue.add('new');
    queue.addAfter('new', SECOND);
    clock.advance(MINUTE);
    assert.equal(await queue.take(never), 'ready');
    assert.equal(await queue.take(never), undefined);
    assert.equal(clock.timers, 0);
  });

  test('lets a key that changed while it was worked on be taken once more', async () => {
    const { queue } = queueWith();
    queue.add('a');
    await queue.take(never);
    queue.add('a');
    queue.shutDown();
    queue.done('a');
    assert.equal(await queue.take(never), 'a');
  });

  test('wakes the workers that wait', async () => {
    const { queue } = queueWith();
    const waiting = [queue.take(never), queue.take(never)];
    await settle();
    queue.shutDown();
    assert.deepEqual(await Promise.all(waiting), [undefined, undefined]);
  });
});

/** A queue as one would write it on a napkin: two lists, a set, a table of times. */
class NapkinQueue {
  lanes: Record<Lane, string[]> = { urgent: [], background: [] };
  again = new Map<string, Lane>();
  processing = new Set<string>();

  add(key: string, lane: Lane): void {
    if (this.processing.has(key)) {
      if (this.again.get(key) !== 'urgent') this.again.set(key, lane);
      return;
    }
    if (this.lanes.urgent.includes(key)) return;
    if (lane === 'background' && this.lanes.background.includes(key)) return;
    this.lanes.background = this.lanes.background.filter((one) => one !== key);
    this.lanes[lane].push(key);
  }

  take(): string | undefined {
    const key = this.lanes.urgent.shift() ?? this.lanes.background.shift();
    if (key !== undefined) this.processing.add(key);
    return key;
  }

  done(key: string): void {
    this.processing.delete(key);
    const lane = this.again.get(key);
    if (lane === undefined) return;
    this.again.delete(key);
    this.add(key, lane);
  }
}

const KEYS = ['a', 'b', 'c', 'd'];
const lane = fc.constantFrom<Lane>('urgent', 'background');
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('add' as const), key: fc.constantFrom(...KEYS), lane }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('take' as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('done' as const), which: fc.nat(10) }) },
);

describe('any sequence of steps', () => {
  test('gives what the simple model gives: no key is worked on twice at once, none is lost', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80, size: 'max' }), async (steps) => {
        const { queue } = queueWith();
        const model = new NapkinQueue();
        const held: string[] = [];
        for (const one of steps) {
          if (one.kind === 'add') {
            queue.add(one.key, one.lane);
            model.add(one.key, one.lane);
          } else if (one.kind === 'take' && queue.length > 0) {
            const key = await queue.take(never);
            assert.equal(key, model.take());
            if (key === undefined) continue;
            assert.ok(!held.includes(key), `${key} is worked on twice`);
            held.push(key);
          } else if (one.kind === 'done' && held.length > 0) {
            const [key] = held.splice(one.which % held.length, 1);
            if (key === undefined) continue;
            queue.done(key);
            model.done(key);
          }
          assert.equal(queue.length, model.lanes.urgent.length + model.lanes.background.length);
          assert.equal(queue.processing.length, model.processing.size);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('keeps the order of the lanes through any mixture of pushes and shifts', () => {
    const lanes = new KeyLanes();
    const expected: string[] = [];
    for (let round = 0; round < 2000; round++) {
      lanes.push(`key-${round}`, 'urgent');
      expected.push(`key-${round}`);
      if (round % 3 === 0) assert.equal(lanes.shift()?.key, expected.shift());
    }
    while (expected.length > 0) assert.equal(lanes.shift()?.key, expected.shift());
    assert.equal(lanes.shift(), undefined);
  });
});
