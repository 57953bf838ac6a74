/** Counts how often in a row each pod was refused: a refusal that may pass by itself is a failure only once it lasts. */
import type { PodFailure } from '../pod-failure.ts';

/** With the back-off of retries, three seconds at least. */
const TRANSIENT_TRIES = 3;

export class RefusalTries {
  readonly #tries = new Map<string, number>();

  /** Counts one more, and returns whether it is a failure by now. */
  isFailure(podKey: string, { transient }: PodFailure): boolean {
    const tries = (this.#tries.get(podKey) ?? 0) + 1;
    this.#tries.set(podKey, tries);
    return !transient || tries >= TRANSIENT_TRIES;
  }

  clear(podKey: string): void {
    this.#tries.delete(podKey);
  }
}
