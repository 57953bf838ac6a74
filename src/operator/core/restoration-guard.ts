/**
 * Backs off when another client keeps reverting our writes: the first few restorations of a Secret are immediate, later ones wait
 * twice as long each. After ten minutes without one the count starts again.
 */
const FREE = 3;
const BASE_MS = 1_000;
const QUIET_MS = 600_000;
/** Quiet entries are dropped when there are more than this. */
const CLEAN_ABOVE = 1_000;

interface Restorations {
  readonly count: number;
  readonly lastMs: number;
}

export class RestorationGuard {
  readonly #restored = new Map<string, Restorations>();

  /**
   * When this key may be restored, in milliseconds; now or earlier means at once. Restorations are at most `longestMs` apart,
   * however long this goes on: a credential that waited longer might expire.
   */
  allowedAt(key: string, nowMs: number, longestMs: number): number {
    const before = this.#restored.get(key);
    if (before === undefined || nowMs - before.lastMs > QUIET_MS || before.count < FREE) return nowMs;
    // The clock was set back: the remembered time means nothing now.
    if (nowMs < before.lastMs) return nowMs;
    return before.lastMs + Math.min(longestMs, BASE_MS * 2 ** (before.count - FREE));
  }

  restored(key: string, nowMs: number): void {
    const before = this.#restored.get(key);
    const continues = before !== undefined && nowMs - before.lastMs <= QUIET_MS;
    this.#restored.set(key, { count: continues ? before.count + 1 : 1, lastMs: nowMs });
    if (this.#restored.size > CLEAN_ABOVE) this.#clean(nowMs);
  }

  get size(): number {
    return this.#restored.size;
  }

  #clean(nowMs: number): void {
    for (const [key, { lastMs }] of this.#restored) if (nowMs - lastMs > QUIET_MS) this.#restored.delete(key);
  }
}
