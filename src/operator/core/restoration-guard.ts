/**
 * Restoring a Secret that somebody keeps changing is a fight that nobody wins: the first few restorations are at once, later
 * ones wait longer and longer. Peace for a while, and the count begins anew.
 */
const FREE = 3;
const BASE_MS = 1_000;
const PEACE_MS = 600_000;
/** Entries at peace are dropped when there are more than this. */
const CLEAN_ABOVE = 1_000;

interface Fight {
  readonly count: number;
  readonly lastMs: number;
}

export class RestorationGuard {
  readonly #fights = new Map<string, Fight>();

  /**
   * When this key may be restored, in milliseconds; now or earlier means at once. Restorations are at most `longestMs` apart,
   * however long the fight: a credential that waited longer might expire.
   */
  allowedAt(key: string, nowMs: number, longestMs: number): number {
    const fight = this.#fights.get(key);
    if (fight === undefined || nowMs - fight.lastMs > PEACE_MS || fight.count < FREE) return nowMs;
    // The clock was set back: what it said then is no measure any more.
    if (nowMs < fight.lastMs) return nowMs;
    return fight.lastMs + Math.min(longestMs, BASE_MS * 2 ** (fight.count - FREE));
  }

  restored(key: string, nowMs: number): void {
    const fight = this.#fights.get(key);
    const goesOn = fight !== undefined && nowMs - fight.lastMs <= PEACE_MS;
    this.#fights.set(key, { count: goesOn ? fight.count + 1 : 1, lastMs: nowMs });
    if (this.#fights.size > CLEAN_ABOVE) this.#clean(nowMs);
  }

  get size(): number {
    return this.#fights.size;
  }

  #clean(nowMs: number): void {
    for (const [key, { lastMs }] of this.#fights) if (nowMs - lastMs > PEACE_MS) this.#fights.delete(key);
  }
}
