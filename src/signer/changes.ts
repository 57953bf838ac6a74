/** Wakes everybody who waits for a certificate or a grant to change. What changed, each finds out by looking. */
export class Changes {
  #next = Promise.withResolvers<void>();

  /** Resolves at the next change. Take it before looking, and nothing is missed. */
  get next(): Promise<void> {
    return this.#next.promise;
  }

  notify(): void {
    const { resolve } = this.#next;
    this.#next = Promise.withResolvers();
    resolve();
  }
}
