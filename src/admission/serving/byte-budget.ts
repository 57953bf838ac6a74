/**
 * One limit for the bytes that all requests in flight hold, bodies and responses together. When it is exceeded, whoever holds most
 * is cut off: a pod of ordinary size is answered while others send bodies of megabytes.
 */
export interface Share {
  /** Sets how many bytes it holds. May cut off a share, this one too. */
  hold(bytes: number): void;
  release(): void;
}

interface Holder {
  bytes: number;
  readonly cutOff: () => void;
}

export class ByteBudget {
  readonly #maxBytes: number;
  readonly #holders = new Set<Holder>();
  #total = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get total(): number {
    return this.#total;
  }

  /** @param cutOff called at most once, when this share holds most and the limit is exceeded; it must let go of the bytes */
  open(cutOff: () => void): Share {
    const holder: Holder = { bytes: 0, cutOff };
    this.#holders.add(holder);
    return {
      hold: (bytes) => {
        if (!this.#holders.has(holder)) return;
        this.#total += bytes - holder.bytes;
        holder.bytes = bytes;
        while (this.#total > this.#maxBytes) this.#cutOffLargest();
      },
      release: () => this.#remove(holder),
    };
  }

  #cutOffLargest(): void {
    let largest: Holder | undefined;
    for (const holder of this.#holders) if (largest === undefined || holder.bytes > largest.bytes) largest = holder;
    if (largest === undefined) return;
    this.#remove(largest);
    largest.cutOff();
  }

  #remove(holder: Holder): void {
    if (this.#holders.delete(holder)) this.#total -= holder.bytes;
  }
}
