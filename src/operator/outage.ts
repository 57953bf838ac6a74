/**
 * Notices that the API server can be reached again. A key that failed meanwhile waits for up to five minutes by then, and the cluster
 * is right again no sooner: so those keys are reconciled at once. Decides from the calls that are made anyway: leases are renewed and
 * watches are resumed all the time.
 */
import { isUnanswered } from '../kubernetes/api-error.ts';
import type { ApiCall } from '../kubernetes/client/api-types.ts';

/** In a row, without any answer between them: a single one is an accident of one connection. */
const CALLS_OF_AN_OUTAGE = 3;

export class Outage {
  #unanswered = 0;
  #ended: () => void = () => {};

  /** Calls `ended` once at the end of every outage from now on. */
  follow(ended: () => void): void {
    this.#ended = ended;
  }

  observe({ status }: Pick<ApiCall, 'status'>): void {
    if (isUnanswered(status)) {
      this.#unanswered += 1;
      return;
    }
    const isEnd = this.#unanswered >= CALLS_OF_AN_OUTAGE;
    this.#unanswered = 0;
    if (isEnd) this.#ended();
  }
}
