import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Gate } from '../../../src/kubernetes/queue/gate.ts';

const settled = () => new Promise((resolve) => setImmediate(resolve));

test('lets in as many callers as the limit allows, in turn, and none waits while there is room', async () => {
  const steps = fc.array(fc.constantFrom('enter' as const, 'leave' as const, 'raise' as const, 'lower' as const));
  await fc.assert(
    fc.asyncProperty(steps, async (sequence) => {
      let limit = 2;
      let next = 0;
      const entered: number[] = [];
      const gate = new Gate(() => limit);
      const { signal } = new AbortController();
      for (const step of sequence) {
        const before = gate.inside;
        if (step === 'enter') {
          const number = next;
          next += 1;
          void gate.enter(signal).then(() => entered.push(number));
        } else if (step === 'leave' && gate.inside > 0) gate.leave();
        else if (step === 'raise') {
          limit += 1;
          gate.admit();
        } else if (step === 'lower' && limit > 1) limit -= 1;
        await settled();
        assert.ok(gate.inside <= Math.max(limit, before), `${gate.inside} inside at a limit of ${limit}`);
        const isFull = gate.inside >= limit;
        assert.ok(isFull || entered.length === next, 'a caller waits although there is room');
      }
      assert.deepEqual(
        entered,
        entered.toSorted((a, b) => a - b),
      );
    }),
  );
});

test('whatever happens in one turn of the event loop, nobody waits while there is room, and nobody overtakes', async () => {
  const steps = fc.array(
    fc.record({
      step: fc.constantFrom('enter' as const, 'leave' as const, 'abort' as const, 'pause' as const),
      which: fc.nat({ max: 20 }),
    }),
    { maxLength: 30 },
  );
  await fc.assert(
    fc.asyncProperty(steps, async (sequence) => {
      const limit = 2;
      const gate = new Gate(() => limit);
      const callers: { readonly stop: AbortController; answer?: boolean }[] = [];
      const entered: number[] = [];
      const enter = (): void => {
        const caller: (typeof callers)[number] = { stop: new AbortController() };
        const number = callers.push(caller);
        void gate.enter(caller.stop.signal).then((isIn) => {
          caller.answer = isIn;
          if (isIn) entered.push(number);
        });
      };
      let left = 0;
      for (const { step, which } of sequence) {
        if (step === 'enter') enter();
        if (step === 'abort') callers[which]?.stop.abort();
        if (step === 'pause') await settled();
        if (step === 'leave' && left < entered.length) {
          left += 1;
          gate.leave();
        }
        assert.ok(gate.inside <= limit, `${gate.inside} inside`);
      }
      await settled();
      assert.equal(gate.inside, entered.length - left);
      const waiting = callers.filter(({ answer }) => answer === undefined).length;
      assert.ok(waiting === 0 || gate.inside === limit, `${waiting} wait, ${gate.inside} are inside`);
      assert.deepEqual(
        entered,
        entered.toSorted((a, b) => a - b),
      );
    }),
    { numRuns: 300 },
  );
});

test('a waiting caller leaves when the signal aborts, and takes no room', async () => {
  const gate = new Gate(() => 1);
  const stop = new AbortController();
  assert.equal(await gate.enter(stop.signal), true);
  const waiting = gate.enter(stop.signal);
  stop.abort();
  assert.equal(await waiting, false);
  assert.equal(gate.inside, 1);
});

test('work is done inside once there is room, and frees its place however it ends', async () => {
  const gate = new Gate(() => 1);
  const stop = new AbortController();
  const first = Promise.withResolvers<string>();
  const done = [gate.during(() => first.promise, stop.signal), gate.during(async () => 'second', stop.signal)];
  await settled();
  assert.equal(gate.inside, 1);
  first.reject(new Error('refused'));
  assert.deepEqual(
    (await Promise.allSettled(done)).map(({ status }) => status),
    ['rejected', 'fulfilled'],
  );
  assert.equal(gate.inside, 0);
  stop.abort(new Error('the end'));
  await assert.rejects(
    gate.during(async () => assert.fail('begun'), stop.signal),
    /the end/,
  );
  assert.equal(gate.inside, 0);
});
