import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { assignShards, shardOf } from '../../../src/kubernetes/leader/shards.ts';

const NAMESPACES = Array.from({ length: 2_000 }, (_, index) => `team-${index}`);

describe('the shard of a namespace', () => {
  test('is the same in every version: replicas of two versions run side by side during an update', () => {
    const shards = ['default', 'edge', 'shop', 'team-1', 'team-2'].map((name) => shardOf(name, 8));
    assert.deepEqual(shards, [5, 0, 2, 0, 1]);
  });

  test('is one of the shards, and the only one where there is one', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 64 }), (name, shards) => {
        const shard = shardOf(name, shards);
        assert.ok(Number.isInteger(shard) && shard >= 0 && shard < shards);
      }),
    );
    assert.ok(NAMESPACES.every((name) => shardOf(name, 1) === 0));
  });

  for (const shards of [2, 3, 8, 16]) {
    test(`spreads namespaces evenly over ${shards} shards`, () => {
      const counts = new Array<number>(shards).fill(0);
      for (const name of NAMESPACES) counts[shardOf(name, shards)] = (counts[shardOf(name, shards)] ?? 0) + 1;
      const fair = NAMESPACES.length / shards;
      for (const count of counts) assert.ok(Math.abs(count - fair) < 5 * Math.sqrt(fair), counts.join());
    });

    test(`changes from ${shards} to one shard more only for namespaces that move to the new one`, () => {
      const moved = NAMESPACES.filter((name) => shardOf(name, shards) !== shardOf(name, shards + 1));
      assert.ok(moved.every((name) => shardOf(name, shards + 1) === shards));
      assert.ok(moved.length > 0 && moved.length < (2 * NAMESPACES.length) / (shards + 1));
    });
  }
});

type Change = { readonly kind: 'join' | 'leave'; readonly member: string };

const change: fc.Arbitrary<Change> = fc.record({
  kind: fc.constantFrom('join' as const, 'leave' as const),
  member: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
});

describe('the assignment of shards to members', () => {
  test('gives every shard to one member, evenly, and moves only those that must move, whichever members come and go', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.array(change, { maxLength: 20 }), (shards, changes) => {
        const members = new Set<string>();
        let holders: readonly (string | undefined)[] = new Array<undefined>(shards).fill(undefined);
        for (const { kind, member } of changes) {
          if (kind === 'join') members.add(member);
          else members.delete(member);
          const owners = assignShards({ holders, members: [...members] });
          expectBalanced(owners, members);
          expectFewMoves(holders, owners, members);
          holders = owners;
          // Once the leases are as assigned, nothing moves.
          assert.deepEqual(assignShards({ holders, members: [...members].reverse() }), owners);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('evens out whatever the leases were before', () => {
    const holder = fc.option(fc.constantFrom('a', 'b', 'c', 'gone'), { nil: undefined });
    fc.assert(
      fc.property(fc.array(holder, { maxLength: 12 }), fc.subarray(['a', 'b', 'c', 'd']), (holders, members) => {
        const owners = assignShards({ holders, members });
        assert.equal(owners.length, holders.length);
        expectBalanced(owners, new Set(members));
        expectFewMoves(holders, owners, new Set(members));
      }),
    );
  });
});

function expectBalanced(owners: readonly (string | undefined)[], members: ReadonlySet<string>): void {
  if (members.size === 0) {
    assert.ok(owners.every((owner) => owner === undefined));
    return;
  }
  assert.ok(owners.every((owner) => owner !== undefined && members.has(owner)));
  const counts = [...members].map((member) => owners.filter((owner) => owner === member).length);
  assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, counts.join());
}

/** A living member gives up a shard only where it has more than its share, which depends on how many may have one more. */
function expectFewMoves(
  holders: readonly (string | undefined)[],
  owners: readonly (string | undefined)[],
  members: ReadonlySet<string>,
): void {
  const least = Math.floor(holders.length / Math.max(1, members.size));
  const withMore = holders.length - least * members.size;
  const held = [...members].map((member) => holders.filter((holder) => holder === member).length);
  const excess = held.map((count) => Math.max(0, count - least)).sort((a, b) => b - a);
  const keptMore = excess.slice(0, withMore).filter((count) => count > 0).length;
  const mustMove = excess.reduce((sum, count) => sum + count, 0) - keptMore;
  const moved = holders.filter((holder, shard) => members.has(holder ?? '') && owners[shard] !== holder);
  assert.equal(moved.length, mustMove);
}
