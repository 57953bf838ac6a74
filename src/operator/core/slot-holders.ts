/**
 * The pods of one resource that have a credential, or are about to: their number, and which of them are the first by uid. A change
 * costs next to nothing, whatever the number.
 */
import { RankedTexts } from './ranked-texts.ts';

/** A write that no cache has shown after this long is not waited for: see `UnseenWrites`. */
const GIVE_UP_MS = 60_000;

interface Taken {
  readonly uid: string;
  readonly sinceMs: number;
}

interface Due {
  readonly pod: string;
  readonly atMs: number;
}

export class SlotHolders {
  /** Pods of which the cache shows a Secret, with their uid; undefined: the Secret is of a pod that is gone. */
  readonly #shown = new Map<string, string | undefined>();
  /** Pods whose Secret is being written. */
  readonly #taken = new Map<string, Taken>();
  /** When each of them is to be given up, the earliest first. */
  readonly #due = new Set<Due>();
  /** Of both. */
  readonly #uids = new Map<string, string>();
  readonly #ranks = new RankedTexts();

  get size(): number {
    return this.#uids.size;
  }

  get isEmpty(): boolean {
    return this.#shown.size === 0 && this.#taken.size === 0;
  }

  /** Whether the cache shows a Secret of the pod, or of one that had its name. */
  isShown(pod: string): boolean {
    return this.#shown.has(pod);
  }

  /** A pod that has a slot, or whose predecessor of the same name has, keeps it if fewer than `maxPods` others come before it by uid. */
  mayTake(pod: string, uid: string, maxPods: number): boolean {
    const held = this.#uids.get(pod);
    if (held === undefined) return this.size < maxPods;
    return this.size <= maxPods || this.#ranks.rankOf(uid) - (held < uid ? 1 : 0) < maxPods;
  }

  /** What the cache shows of the pod's Secrets: none; one of a pod that is gone; one of the pod with that uid. */
  show(pod: string, shown: 'nothing' | { readonly uid: string | undefined }): void {
    if (shown === 'nothing') this.#shown.delete(pod);
    else this.#shown.set(pod, shown.uid);
    if (this.#shown.get(pod) !== undefined) this.#taken.delete(pod);
    this.#file(pod);
  }

  /** Returns what undoes it. A pod whose Secret the cache shows has its slot already. */
  take(pod: string, uid: string, nowMs: number): (nowMs: number) => void {
    if (this.#shown.get(pod) !== undefined) return () => {};
    const before = this.#taken.get(pod);
    const taken = { uid, sinceMs: nowMs };
    this.#taken.set(pod, taken);
    this.#due.add({ pod, atMs: nowMs + GIVE_UP_MS });
    this.#file(pod);
    return (undoneMs) => {
      if (this.#taken.get(pod) !== taken) return;
      // An earlier write, of which nobody knows whether it arrived, keeps the slot for as long as it would have.
      if (before?.uid === uid && !isGivenUp(before, undoneMs)) this.#taken.set(pod, before);
      else this.#taken.delete(pod);
      this.#file(pod);
    };
  }

  /** Gives up what no cache has shown. */
  expire(nowMs: number): void {
    for (const due of this.#due) {
      if (due.atMs >= nowMs) return;
      this.#due.delete(due);
      const taken = this.#taken.get(due.pod);
      if (taken === undefined || !isGivenUp(taken, nowMs)) continue;
      this.#taken.delete(due.pod);
      this.#file(due.pod);
    }
  }

  #file(pod: string): void {
    const before = this.#uids.get(pod);
    const uid = this.#shown.get(pod) ?? this.#taken.get(pod)?.uid;
    if (uid === before) return;
    if (before !== undefined) this.#ranks.delete(before);
    if (uid === undefined) {
      this.#uids.delete(pod);
      return;
    }
    this.#uids.set(pod, uid);
    this.#ranks.add(uid);
  }
}

function isGivenUp({ sinceMs }: Taken, nowMs: number): boolean {
  return nowMs - sinceMs > GIVE_UP_MS;
}
