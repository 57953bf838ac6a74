import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SigningQueue } from '../../src/signer/signing-queue.ts';

const never = new AbortController().signal;

test('who waits is taken soonest expiry first, equals in the order in which they came', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat({ max: 9 }), { minLength: 1, maxLength: 40 }), async (expiries) => {
      const queue = new SigningQueue({ concurrency: 1, maxWaiting: 100 });
      const gate = Promise.withResolvers<void>();
      const first = queue.run(0, never, () => gate.promise);
      const order: (readonly [number, number])[] = [];
      const rest = expiries.map((expiresAt, position) =>
        queue.run(expiresAt, never, async () => void order.push([expiresAt, position])),
      );
      gate.resolve();
      await Promise.all([first, ...rest]);
      const sorted = [...order].sort(([a, i], [b, j]) => a - b || i - j);
      assert.deepEqual(order, sorted);
    }),
  );
});

test('no more run at a time than may, whatever fails', async () => {
  const queue = new SigningQueue({ concurrency: 3, maxWaiting: 100 });
  let [running, most] = [0, 0];
  const outcomes = await Promise.allSettled(
    Array.from({ length: 30 }, (_, position) =>
      queue.run(position, never, async () => {
        running += 1;
        most = Math.max(most, running);
        await new Promise(setImmediate);
        running -= 1;
        if (position % 3 === 0) throw new Error('the key failed');
      }),
    ),
  );
  assert.equal(most, 3);
  assert.equal(outcomes.filter(({ status }) => status === 'rejected').length, 10);
  assert.equal(queue.waiting, 0);
});

test('who gives up while waiting leaves, and is never started', async () => {
  const queue = new SigningQueue({ concurrency: 1, maxWaiting: 2 });
  const gate = Promise.withResolvers<void>();
  const first = queue.run(0, never, () => gate.promise);
  const abort = new AbortController();
  let started = false;
  const second = queue.run(1, abort.signal, async () => {
    started = true;
  });
  const third = queue.run(2, never, async () => 'third');
  await assert.rejects(
    queue.run(3, never, async () => 'no'),
    { code: 'SignerOverloaded' },
  );
  abort.abort(new Error('gave up'));
  await assert.rejects(second, /gave up/);
  gate.resolve();
  await first;
  assert.equal(await third, 'third');
  assert.equal(started, false);
});
