import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { KeyHeap } from '../../../src/kubernetes/queue/key-heap.ts';

/** The same as a sorted list: order first, then the turn. */
class ListOfKeys {
  items: { key: string; order: number; tag: number; arrival: number }[] = [];
  arrivals = 0;

  set(key: string, order: number, tag: number): void {
    const known = this.items.find((item) => item.key === key);
    const arrival = known?.order === order ? known.arrival : this.arrivals++;
    this.items = [...this.items.filter((item) => item.key !== key), { key, order, tag, arrival }];
    this.items.sort((a, b) => a.order - b.order || a.arrival - b.arrival);
  }

  delete(key: string): boolean {
    const before = this.items.length;
    this.items = this.items.filter((item) => item.key !== key);
    return this.items.length < before;
  }

  popUntil(order: number): string | undefined {
    const [first] = this.items;
    if (first === undefined || first.order > order) return undefined;
    this.items.shift();
    return first.key;
  }
}

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('set' as const),
      key: fc.nat(40).map(String),
      order: fc.nat(20),
      tag: fc.nat(255),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), key: fc.nat(40).map(String) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pop' as const), order: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const) }) },
);

describe('KeyHeap', () => {
  test('is a sorted list, through any sequence of steps', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300, size: 'max' }), (steps) => {
        const heap = new KeyHeap();
        const model = new ListOfKeys();
        for (const one of steps) {
          if (one.kind === 'set') {
            heap.set(one.key, one.order, one.tag);
            model.set(one.key, one.order, one.tag);
          } else if (one.kind === 'delete') {
            assert.equal(heap.delete(one.key), model.delete(one.key));
          } else if (one.kind === 'pop') {
            assert.equal(heap.popUntil(one.order)?.key, model.popUntil(one.order));
          } else {
            heap.clear();
            model.items = [];
          }
          assert.equal(heap.size, model.items.length);
          assert.equal(heap.next, model.items[0]?.order);
          for (const { key, order, tag } of model.items) assert.deepEqual(heap.get(key), { key, order, tag });
        }
        const rest: string[] = [];
        for (let next = heap.popUntil(Infinity); next !== undefined; next = heap.popUntil(Infinity))
          rest.push(next.key);
        assert.deepEqual(
          rest,
          model.items.map(({ key }) => key),
        );
      }),
    );
  });

  test('keeps hundreds of thousands of keys in order', () => {
    const heap = new KeyHeap();
    for (let i = 0; i < 200_000; i++) heap.set(`key-${i}`, (i * 7919) % 200_000);
    for (let expected = 0; expected < 200_000; expected++) assert.equal(heap.popUntil(Infinity)?.order, expected);
    assert.equal(heap.size, 0);
  });
});
