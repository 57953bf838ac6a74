/**
 * A Secret whose pod is no longer selected, has another Secret name, or has lost its grant, waits a moment before it is deleted.
 * One `kubectl apply` that changes a selector and relabels the pods is many writes, and `kubectl replace --force` deletes a grant
 * and creates it again: in between, pods that keep their credential look as if they had lost it. The time is of the first look, so a change back and forth starts again.
 */
import type { DeleteReason } from './plan.ts';

const DELAY_MS = 10_000;
const DELAYED: ReadonlySet<DeleteReason> = new Set<DeleteReason>(['NotSelected', 'Renamed', 'GrantWithdrawn']);

interface Deletion {
  readonly reason: DeleteReason;
  readonly secret: { readonly uid: string };
}

export class DeletionDelay {
  /** Key to the Secrets that wait, by uid, since when. */
  readonly #waiting = new Map<string, ReadonlyMap<string, number>>();

  /**
   * Call it with all deletions that a key's plan has now: what is no longer among them is forgotten.
   * @returns when each may take place, in milliseconds, by the uid of its Secret; now or earlier means at once
   */
  allowedAt(key: string, deletions: readonly Deletion[], nowMs: number): ReadonlyMap<string, number> {
    const before = this.#waiting.get(key);
    const delayed = deletions.filter(({ reason }) => DELAYED.has(reason));
    const since = new Map(
      // After the clock was set back, the wait starts again.
      delayed.map(({ secret }) => [secret.uid, Math.min(nowMs, before?.get(secret.uid) ?? nowMs)]),
    );
    if (since.size === 0) this.#waiting.delete(key);
    else this.#waiting.set(key, since);
    return new Map([...since].map(([uid, ms]) => [uid, ms + DELAY_MS]));
  }

  /** Keys with Secrets that wait. */
  get size(): number {
    return this.#waiting.size;
  }
}
