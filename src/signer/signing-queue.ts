/**
 * Turns at a key that may be slow (an HSM, a KMS): a bounded number at a time, soonest expiry first, each with a deadline. What
 * has waited past it is not started: its caller has given up.
 */

export interface SigningQueueOptions {
  readonly concurrency: number;
  /** More than so many waiting are refused. */
  readonly maxWaiting: number;
}

/** Too many wait already: answered with 429. */
export class OverloadedError extends Error {
  override readonly name = 'OverloadedError';
  readonly code = 'SignerOverloaded';
}

interface Waiting {
  readonly expiresAt: number;
  readonly start: () => void;
}

export class SigningQueue {
  readonly #options: SigningQueueOptions;
  /** Latest expiry first, so that the next one is taken from the end. */
  readonly #waiting: Waiting[] = [];
  #running = 0;

  constructor(options: SigningQueueOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Whether so many more would still be taken. */
  hasRoomFor(count: number): boolean {
    return this.#waiting.length + count <= this.#options.maxWaiting;
  }

  /** Runs `work` in its turn. Rejects with OverloadedError, the signal's reason, or what `work` rejects with. */
  async run<T>(expiresAt: number, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    if (!this.hasRoomFor(1)) throw new OverloadedError(`${this.#waiting.length} signatures are waiting already`);
    await this.#turn(expiresAt, signal);
    try {
      signal.throwIfAborted();
      return await work();
    } finally {
      this.#running -= 1;
      this.#startNext();
    }
  }

  #turn(expiresAt: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#running < this.#options.concurrency) {
      this.#running += 1;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(entry), 1);
        reject(signal.reason as Error);
      };
      const entry: Waiting = {
        expiresAt,
        start: () => {
          signal.removeEventListener('abort', leave);
          this.#running += 1;
          resolve();
        },
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.splice(this.#positionOf(expiresAt), 0, entry);
    });
  }

  #startNext(): void {
    if (this.#running < this.#options.concurrency) this.#waiting.pop()?.start();
  }

  /** In front of all that expire no later, so that equals are taken in the order in which they came. */
  #positionOf(expiresAt: number): number {
    let [low, high] = [0, this.#waiting.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#waiting[middle]?.expiresAt ?? 0) > expiresAt) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
