/**
 * Backs off when another client keeps reverting our writes, by editing or by deleting: the first few restorations are immediate,
 * later ones wait twice as long each. After ten quiet minutes the count starts again. Every call costs the same however many keys
 * there are.
 */
import { backoffMs } from '../../kubernetes/backoff.ts';

const FREE = 3;
const BASE_MS = 1_000;
const QUIET_MS = 600_000;

interface Entry {
  /** Of the object, or of its owner: another one of the same name starts at nothing. */
  readonly uid: string;
  readonly count: number;
  readonly lastMs: number;
}

export class RestorationGuard {
  /** Two generations, each of one quiet time: the older is dropped whole, so that nobody looks for what is old in it. */
  #young = new Map<string, Entry>();
  #old = new Map<string, Entry>();
  #youngSinceMs = Number.NEGATIVE_INFINITY;

  /** Whether something of this key was lost or restored within the last minutes. */
  knows(key: string, uid: string): boolean {
    return this.#entry(key)?.uid === uid;
  }

  /** What was written is gone: restoring it counts from now on. */
  lost(key: string, uid: string, nowMs: number): void {
    this.#set(key, { uid, count: this.#count(key, uid, nowMs), lastMs: nowMs });
  }

  restored(key: string, uid: string, nowMs: number): void {
    this.#set(key, { uid, count: this.#count(key, uid, nowMs) + 1, lastMs: nowMs });
  }

  /**
   * When this key may be restored, in milliseconds; now or earlier means at once. Restorations are at most `longestMs` apart,
   * however long this goes on: a credential that waited longer might expire.
   */
  allowedAt(key: string, uid: string, nowMs: number, longestMs: number): number {
    const entry = this.#entry(key);
    const count = this.#count(key, uid, nowMs);
    if (entry === undefined || count < FREE) return nowMs;
    // Without jitter: what one client reverts does not come back together with what another does.
    return entry.lastMs + backoffMs(count - FREE + 1, { baseMs: BASE_MS, maxMs: longestMs, random: () => 0 });
  }

  /** Keys that are remembered. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  #entry(key: string): Entry | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  /** Zero after a quiet time, and where the clock was set back: the remembered time means nothing then. */
  #count(key: string, uid: string, nowMs: number): number {
    const entry = this.#entry(key);
    if (entry?.uid !== uid || nowMs - entry.lastMs > QUIET_MS || nowMs < entry.lastMs) return 0;
    return entry.count;
  }

  #set(key: string, entry: Entry): void {
    const age = entry.lastMs - this.#youngSinceMs;
    if (age > QUIET_MS || age < 0) {
      this.#old = age > 2 * QUIET_MS ? new Map() : this.#young;
      this.#young = new Map();
      this.#youngSinceMs = entry.lastMs;
    }
    this.#old.delete(key);
    this.#young.set(key, entry);
  }
}
