import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SlotHeap } from '../../../src/operator/core/slot-heap.ts';

/** Times, and a few slots or many: short columns grow into long ones on the way. */
const changes = fc.constantFrom(3, 40).chain((slots) =>
  fc.array(
    fc.record({
      slot: fc.nat({ max: slots }),
      number: fc.option(fc.constantFrom(0, 1, 5, 1_795_700_000, 4_000_000_000), { nil: undefined }),
    }),
    { maxLength: 200 },
  ),
);

test('the lowest number is that of a sorted list, whatever was set, moved and removed', () => {
  fc.assert(
    fc.property(changes, (all) => {
      const heap = new SlotHeap();
      const model = new Map<number, number>();
      for (const { number, slot } of all) {
        heap.set(slot, number);
        if (number === undefined) model.delete(slot);
        else model.set(slot, number);
        const lowest = [...model.values()].sort((a, b) => a - b)[0];
        assert.equal(heap.size, model.size);
        assert.equal(heap.lowest, lowest);
        assert.equal(heap.lowestSlot === undefined ? undefined : model.get(heap.lowestSlot), lowest);
        assert.equal(heap.get(slot), model.get(slot));
      }
    }),
  );
});
