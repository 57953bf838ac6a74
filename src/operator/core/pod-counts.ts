/**
 * The counts of one resource's pods, kept as pods change: a change costs O(log n), a count what it shows. Flat columns, because a
 * resource may have a hundred thousand pods.
 */
import { SlotHeap } from './slot-heap.ts';

/** What one selected pod adds to the counts. Times in seconds since the epoch. */
export interface PodShare {
  readonly failed: boolean;
  readonly notInjected: boolean;
  /** Whether what it holds is good now. */
  readonly isCurrent: boolean;
  /** Of the credential that it holds, good or not; absent where there is none. */
  readonly expiresAt?: number;
  readonly deadline?: number;
  readonly renewAt?: number;
}

/** Of every resource that has none, which are most: a set of its own is 200 bytes. */
const NONE: ReadonlySet<string> = new Set();

/** Free slots are not worth moving the others before. */
const MIN_FREE = 64;

export class PodCounts {
  readonly #slots = new Map<string, number>();
  #free: number[] = [];
  /** When the credential of a pod that is served, or whose credential is out of date, expires. */
  #expiries = new SlotHeap();
  /** Those that have expired by now: of a few pods, or of none. */
  #expired = new SlotHeap();
  #deadlines = new SlotHeap();
  #renewals = new SlotHeap();
  /** By slot: 1 for a pod that counts as issued. */
  #served = new Uint8Array(0);
  #issued = 0;
  #failed = NONE;
  #notInjected = NONE;

  get selected(): number {
    return this.#slots.size;
  }

  get issued(): number {
    return this.#issued;
  }

  get failed(): ReadonlySet<string> {
    return this.#failed;
  }

  get notInjected(): number {
    return this.#notInjected.size;
  }

  /** Of all that pods hold, expired or not. */
  get earliestExpiry(): number | undefined {
    return this.#expired.lowest ?? this.#expiries.lowest;
  }

  /** Of what had not expired at the last `expire`. */
  get nextExpiry(): number | undefined {
    return this.#expiries.lowest;
  }

  get earliestDeadline(): number | undefined {
    return this.#deadlines.lowest;
  }

  get nextRenewal(): number | undefined {
    return this.#renewals.lowest;
  }

  /** @param pod its name, as one that is kept anyway: it stays here as long as the pod does */
  set(pod: string, { deadline, expiresAt, failed, isCurrent, notInjected, renewAt }: PodShare): void {
    const slot = this.#slots.get(pod) ?? this.#free.pop() ?? this.#slots.size;
    this.#slots.set(pod, slot);
    this.#expired.set(slot, undefined);
    this.#expiries.set(slot, expiresAt);
    this.#deadlines.set(slot, deadline);
    this.#renewals.set(slot, renewAt);
    this.#serve(slot, isCurrent && !failed);
    this.#failed = marked(this.#failed, pod, failed);
    this.#notInjected = marked(this.#notInjected, pod, notInjected);
  }

  delete(pod: string): void {
    const slot = this.#slots.get(pod);
    if (slot === undefined) return;
    this.#slots.delete(pod);
    this.#failed = marked(this.#failed, pod, false);
    this.#notInjected = marked(this.#notInjected, pod, false);
    for (const heap of [this.#expired, this.#expiries, this.#deadlines, this.#renewals]) heap.set(slot, undefined);
    this.#serve(slot, false);
    this.#free.push(slot);
    if (this.#free.length > Math.max(MIN_FREE, this.#slots.size * 3)) this.#compact();
  }

  /** Credentials that have expired by `now` (seconds since the epoch) serve nobody. Costs what expired since the last time. */
  expire(now: number): void {
    for (;;) {
      const slot = this.#expiries.lowestSlot;
      const expiresAt = this.#expiries.lowest;
      if (slot === undefined || expiresAt === undefined || expiresAt > now) return;
      this.#expiries.set(slot, undefined);
      this.#expired.set(slot, expiresAt);
      this.#renewals.set(slot, undefined);
      this.#serve(slot, false);
    }
  }

  #serve(slot: number, isServed: boolean): void {
    if (slot >= this.#served.length) this.#served = grown(this.#served, slot + 1);
    this.#issued += Number(isServed) - (this.#served[slot] ?? 0);
    this.#served[slot] = Number(isServed);
  }

  /** A fleet that was scaled down leaves no columns of its size behind. */
  #compact(): void {
    const slots = [...this.#slots];
    const move = (from: SlotHeap): SlotHeap => {
      const to = new SlotHeap();
      for (const [index, [, slot]] of slots.entries()) to.set(index, from.get(slot));
      return to;
    };
    this.#expired = move(this.#expired);
    this.#expiries = move(this.#expiries);
    this.#deadlines = move(this.#deadlines);
    this.#renewals = move(this.#renewals);
    this.#served = Uint8Array.from(slots, ([, slot]) => this.#served[slot] ?? 0);
    this.#free = [];
    for (const [index, [pod]] of slots.entries()) this.#slots.set(pod, index);
  }
}

function grown(bytes: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.max(length, bytes.length * 2));
  larger.set(bytes);
  return larger;
}

/** The set with, or without, the pod: the same one, changed, as long as it has any. */
function marked(set: ReadonlySet<string>, pod: string, is: boolean): ReadonlySet<string> {
  if (set.has(pod) === is) return set;
  const own = set === NONE ? new Set<string>() : (set as Set<string>);
  if (is) own.add(pod);
  else own.delete(pod);
  return own.size === 0 ? NONE : own;
}
