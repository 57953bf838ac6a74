/** Counts the bytes that clients make the process hold: of all together, and of each, so that one client keeps no other out. */
export class HeldBytes {
  readonly #maxOfAll: number;
  readonly #maxOfOne: number;
  /** By client. */
  readonly #held = new Map<string, number>();
  #heldByAll = 0;

  constructor(limits: { readonly ofAll: number; readonly ofOne: number }) {
    this.#maxOfAll = limits.ofAll;
    this.#maxOfOne = limits.ofOne;
  }

  /** False: that would be too many, and none of them is counted. */
  take(client: string, bytes: number): boolean {
    const own = (this.#held.get(client) ?? 0) + bytes;
    if (own > this.#maxOfOne || this.#heldByAll + bytes > this.#maxOfAll) return false;
    this.#held.set(client, own);
    this.#heldByAll += bytes;
    return true;
  }

  release(client: string, bytes: number): void {
    const own = (this.#held.get(client) ?? 0) - bytes;
    if (own <= 0) this.#held.delete(client);
    else this.#held.set(client, own);
    this.#heldByAll -= bytes;
  }
}
