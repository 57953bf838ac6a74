/** A semaphore whose limit may change at any time. First come, first served. */
export class Gate {
  readonly #limit: () => number;
  readonly #waiting = new Set<() => void>();
  #inside = 0;

  constructor(limit: () => number) {
    this.#limit = limit;
  }

  /** How many are inside. */
  get inside(): number {
    return this.#inside;
  }

  /** Resolves when there is room, and then counts as inside; or when the signal aborts: false, and nothing is counted. */
  async enter(signal: AbortSignal): Promise<boolean> {
    if (!signal.aborted && this.#inside >= this.#limit()) await this.#room(signal);
    if (signal.aborted) return false;
    this.#inside += 1;
    return true;
  }

  /** Does the work inside, once there is room. Throws the signal's reason, or what the work throws. */
  async during<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (!(await this.enter(signal))) throw signal.reason;
    try {
      return await work();
    } finally {
      this.leave();
    }
  }

  leave(): void {
    this.#inside -= 1;
    this.admit();
  }

  /** The limit may be higher now. */
  admit(): void {
    let room = this.#limit() - this.#inside;
    for (const wake of this.#waiting) {
      if (room <= 0) return;
      room -= 1;
      wake();
    }
  }

  async #room(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.#inside >= this.#limit()) {
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        this.#waiting.add(wake);
        signal.addEventListener('abort', wake, { once: true });
      });
    }
  }
}
