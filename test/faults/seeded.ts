/** Repeatable randomness: every choice of the suite comes from a seed, which is printed. */
import { randomInt } from 'node:crypto';

/** From the environment, or a new one. */
export function chooseSeed(fixed?: number): number {
  const given = process.env['DCRED_FAULTS_SEED'];
  if (given !== undefined) return Number(given);
  return fixed ?? randomInt(2 ** 31);
}

/** mulberry32: small, and good enough to choose test cases. In [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` of them, in the order of the list. */
export function sample<T>(all: readonly T[], count: number, random: () => number): readonly T[] {
  const marked = all.map((item, index) => ({ item, index, rank: random() }));
  const chosen = marked.sort((a, b) => a.rank - b.rank).slice(0, count);
  return chosen.sort((a, b) => a.index - b.index).map(({ item }) => item);
}

/** Whether the whole suite is wanted (`make faults`), and not the share of it that CI has time for. */
export const RUN_ALL = process.env['DCRED_FAULTS'] === 'all';
