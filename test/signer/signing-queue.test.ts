import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SigningQueue } from '../../src/signer/signing-queue.ts';

const never = new AbortController().signal;

test('requests are taken soonest expiry first, equals in the order in which they came', async () => {
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

test('no more than the limit run at a time, whatever fails', async () => {
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

test('a request that is aborted while it waits leaves the queue, and is never started', async () => {
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

test('clients take turns: one that requests much, with the soonest expiries, holds up no other', async () => {
  const clients = fc.array(fc.tuple(fc.constantFrom('greedy', 'a', 'b'), fc.nat({ max: 9 })), { maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(clients, async (requests) => {
      const queue = new SigningQueue({ concurrency: 1, maxWaiting: 100 });
      const gate = Promise.withResolvers<void>();
      const first = queue.run(0, never, () => gate.promise);
      const order: (readonly [string, number])[] = [];
      const rest = requests.map(([client, expiresAt]) => {
        const at = client === 'greedy' ? 0 : 1 + expiresAt;
        return queue.run(at, never, async () => void order.push([client, at]), client);
      });
      gate.resolve();
      await Promise.all([first, ...rest]);
      assert.equal(order.length, requests.length);
      for (const client of ['greedy', 'a', 'b']) {
        const own = order.flatMap(([name, at]) => (name === client ? [at] : []));
        assert.deepEqual(
          own,
          own.toSorted((one, other) => one - other),
          'its own soonest first',
        );
        const last = order.findLastIndex(([name]) => name === client);
        // Up to a client's last turn, no other client had more turns.
        const others = order.slice(0, Math.max(0, last)).filter(([name]) => name !== client);
        for (const other of new Set(others.map(([name]) => name))) {
          const count = others.filter(([name]) => name === other).length;
          assert.ok(count <= own.length, `${other} had ${count} turns while ${client} had ${own.length}`);
        }
      }
    }),
  );
});

test('a client whose line is empty after each turn, and full again before the next one, holds up no other', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 12 }), async (width, count) => {
      const queue = new SigningQueue({ concurrency: 1, maxWaiting: 100 });
      const gate = Promise.withResolvers<void>();
      const first = queue.run(0, never, () => gate.promise);
      let [left, turns] = [count, 0];
      const all: Promise<void>[] = [];
      // Of a stolen client: the soonest expiry, and another call as soon as one is answered.
      const again = (): void => {
        const work = async () => {
          turns += 1;
          if (left > 0 && turns < 1_000) again();
        };
        all.push(queue.run(1, never, work, 'greedy'));
      };
      for (let call = 0; call < width; call += 1) again();
      const one = async () => {
        left -= 1;
      };
      const honest = Array.from({ length: count }, () => queue.run(9, never, one, 'honest'));
      gate.resolve();
      await Promise.all([first, ...honest]);
      assert.ok(turns <= count + 1, `${turns} turns of one, ${count} of the other`);
      await Promise.all(all);
      assert.equal(queue.waiting, 0);
    }),
  );
});

test('a client that fills its share leaves room for the others', async () => {
  const queue = new SigningQueue({ concurrency: 1, maxWaiting: 10, maxWaitingOfOne: 4 });
  const gate = Promise.withResolvers<void>();
  const all = [queue.run(0, never, () => gate.promise, 'greedy')];
  for (let count = 0; count < 4; count += 1) all.push(queue.run(1, never, async () => {}, 'greedy'));
  assert.equal(queue.hasRoomFor(1, 'greedy'), false);
  assert.equal(queue.hasRoomFor(4, 'honest'), true);
  assert.equal(queue.hasRoomFor(5, 'honest'), false);
  await assert.rejects(
    queue.run(1, never, async () => {}, 'greedy'),
    { code: 'SignerOverloaded' },
  );
  gate.resolve();
  await Promise.all(all);
  assert.equal(queue.waiting, 0);
  assert.equal(queue.hasRoomFor(4, 'greedy'), true);
});
