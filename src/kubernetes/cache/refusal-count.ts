/** Whether what a reflector is refused is meant: an API server that starts refuses everybody for a moment. Pure. See docs/adr/0072. */
import type { ReflectorEvent } from './reflector.ts';

/**
 * Refusals in a row that count for what has been listed: an API server that starts refuses everybody until it has read the
 * roles and the CRDs, which takes a second or two. A reflector needs three seconds for so many.
 */
const REFUSED_IN_A_ROW = 4;

export class RefusalCount {
  readonly #reasons: ReadonlySet<string>;
  #inARow = 0;

  /** @param reasons of a failure that count as refusals */
  constructor(reasons: ReadonlySet<string>) {
    this.#reasons = reasons;
  }

  /** To be called with every event. @returns the reason of a refusal that is meant; undefined for all else */
  refusal({ kind, reason }: ReflectorEvent, { hasSynced }: { readonly hasSynced: boolean }): string | undefined {
    // After a refusal a watch goes on where it was: nothing is listed again.
    if (kind === 'list' || kind === 'watch') this.#inARow = 0;
    if (kind !== 'failure') return undefined;
    if (reason === undefined || !this.#reasons.has(reason)) {
      // Whatever it is, it is no refusal: an API server that goes away and starts again refuses once each time.
      this.#inARow = 0;
      return undefined;
    }
    this.#inARow += 1;
    return hasSynced && this.#inARow < REFUSED_IN_A_ROW ? undefined : reason;
  }
}
