import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteBudget } from '../../../src/admission/serving/byte-budget.ts';

test('the request that holds most is cut off when the limit is exceeded', () => {
  const budget = new ByteBudget(100);
  const cutOff: string[] = [];
  const [small, large, third] = ['small', 'large', 'third'].map((name) => budget.open(() => cutOff.push(name)));
  small?.hold(10);
  large?.hold(80);
  third?.hold(20);
  assert.deepEqual([cutOff, budget.total], [['large'], 30]);
});

test('in every order of events the limit holds, and each is cut off at most once', () => {
  const step = fc.record({ who: fc.nat(9), bytes: fc.nat(60), leaves: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const budget = new ByteBudget(100);
      const held = new Map<number, number>();
      const shares = Array.from({ length: 10 }, (_, who) =>
        budget.open(() => {
          assert.ok(held.delete(who), 'it held something, and was not cut off before');
        }),
      );
      for (const { bytes, leaves, who } of steps) {
        if (leaves) {
          shares[who]?.release();
          held.delete(who);
          shares[who] = budget.open(() => assert.ok(held.delete(who)));
          continue;
        }
        // As a request does, it stays cut off until another one takes its place.
        if (held.has(who) || bytes > 0) held.set(who, bytes);
        shares[who]?.hold(bytes);
        if (budget.total < [...held.values()].reduce((sum, one) => sum + one, 0)) held.delete(who);
        assert.ok(budget.total <= 100);
      }
    }),
  );
});
