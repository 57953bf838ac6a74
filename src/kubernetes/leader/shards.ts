/** Which shard a name belongs to, and which member of a group takes which shard. Pure. */

/** A Lease each, written every 1.5 s. */
export const MAX_SHARDS = 64;

/**
 * Rendezvous hashing: with one shard more, a name stays where it is or moves to the new one. The same in every process and version.
 * @param shards how many there are, at least one
 * @returns 0 to shards - 1
 */
export function shardOf(name: string, shards: number): number {
  let best = 0;
  let highest = -1;
  for (let shard = 0; shard < shards; shard += 1) {
    const score = weight(`${shard}/${name}`);
    if (score > highest) [best, highest] = [shard, score];
  }
  return best;
}

/** With the number of shards in them: replicas that were started with another number do not take these Leases for theirs. */
export function shardLeaseNames(name: string, shards: number): readonly string[] {
  return Array.from({ length: shards }, (_, shard) => `${name}-${shard}-of-${shards}`);
}

export interface AssignmentInput {
  /** Of each shard: who holds it now, alive or not. */
  readonly holders: readonly (string | undefined)[];
  /** Who is alive, in any order, each once. */
  readonly members: readonly string[];
}

/**
 * Who should hold each shard: members have equally many, or one more than others. Who holds a shard keeps it as long as that is so:
 * no shard moves that need not. Whoever computes this from the same input gets the same; undefined where nobody is alive.
 */
export function assignShards({ holders, members }: AssignmentInput): readonly (string | undefined)[] {
  const loads = new Map([...members].sort().map((member) => [member, [] as number[]]));
  if (loads.size === 0) return holders.map(() => undefined);
  for (const [shard, holder] of holders.entries()) loads.get(holder ?? '')?.push(shard);
  const quotas = quotasOf(loads, holders.length);
  const owners: (string | undefined)[] = holders.map(() => undefined);
  for (const [member, shards] of loads) {
    const kept = shards
      .sort((a, b) => weight(`${member}/${b}`) - weight(`${member}/${a}`))
      .slice(0, quotas.get(member));
    for (const shard of kept) owners[shard] = member;
    loads.set(member, kept);
  }
  for (const [shard, owner] of owners.entries()) {
    if (owner !== undefined) continue;
    const free = [...loads].filter(([member, kept]) => kept.length < (quotas.get(member) ?? 0));
    const [chosen] = free.sort(([a], [b]) => weight(`${b}/${shard}`) - weight(`${a}/${shard}`) || (a < b ? -1 : 1));
    owners[shard] = chosen?.[0];
    chosen?.[1].push(shard);
  }
  return owners;
}

/** One more for the remainder: for those who hold most now, so that least moves. */
function quotasOf(loads: ReadonlyMap<string, readonly number[]>, shards: number): ReadonlyMap<string, number> {
  const share = Math.floor(shards / loads.size);
  const more = shards % loads.size;
  const byLoad = [...loads].sort(([a, held], [b, other]) => other.length - held.length || (a < b ? -1 : 1));
  return new Map(byLoad.map(([member], index) => [member, share + (index < more ? 1 : 0)]));
}

/** FNV-1a, then MurmurHash3's finalizer, which spreads names that differ in their last character. 32 bits, unsigned. */
function weight(text: string): number {
  let hash = 0x811c_9dc5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x0100_0193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
