import assert from 'node:assert/strict';
import { BlockList } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { block } from '../../../testing/node/network.ts';

const INDEX = fc.integer({ min: 0, max: 63 });
const numberOf = (address: string) => address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
const firstOf = (range: string) => numberOf(range.replace(/\/.*/, ''));

test("a node's addresses all lie in the range that is kept for benchmarks", () => {
  const benchmarks = new BlockList();
  benchmarks.addSubnet('198.18.0.0', 15);
  fc.assert(
    fc.property(INDEX, (index) => {
      const { hostAddress, nodeAddress, pods, services } = block(index);
      for (const range of [hostAddress, nodeAddress, pods, services]) {
        assert.ok(benchmarks.check(range.replace(/\/.*/, '')), range);
      }
    }),
  );
});

test('the blocks of two nodes share no address', () => {
  fc.assert(
    fc.property(INDEX, INDEX, (one, other) => {
      fc.pre(one < other);
      assert.ok(firstOf(block(one).services) + 255 < numberOf(block(other).hostAddress));
    }),
  );
});

test('the ends of the link, the pods and the Services have separate ranges', () => {
  const { hostAddress, nodeAddress, pods, services } = block(9);
  assert.deepEqual(
    { hostAddress, nodeAddress, pods, services },
    { hostAddress: '198.18.72.1', nodeAddress: '198.18.72.2', pods: '198.18.73.0/24', services: '198.18.74.0/24' },
  );
});
