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
    if (signal.aborted) return false;
    const admitted = this.#turn(signal);
    this.admit();
    if (!(await admitted)) return false;
    if (!signal.aborted) return true;
    // Since it was let in: the next has its place.
    this.leave();
    return false;
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

  /** The limit may be higher now. Who is let in counts from here on, so that nobody who comes later takes the place. */
  admit(): void {
    for (const letIn of this.#waiting) {
      if (this.#inside >= this.#limit()) return;
      this.#inside += 1;
      letIn();
    }
  }

  /** False when the signal aborts before. */
  #turn(signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (isIn: boolean): void => {
        this.#waiting.delete(letIn);
        signal.removeEventListener('abort', abandon);
        resolve(isIn);
      };
      const letIn = (): void => settle(true);
      const abandon = (): void => settle(false);
      this.#waiting.add(letIn);
      signal.addEventListener('abort', abandon, { once: true });
    });
  }
}
