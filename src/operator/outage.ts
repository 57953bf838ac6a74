/**
 * Notices that the API server serves again. A key that failed meanwhile waits for up to five minutes by then, and the cluster
 * is right again no sooner: so those keys are reconciled at once. Decides from the calls that are made anyway: leases are renewed and
 * watches are resumed all the time.
 */
import { INTERNAL_ERROR, isUnanswered } from '../kubernetes/api-error.ts';
import type { ApiCall } from '../kubernetes/client/api-types.ts';

type Call = Pick<ApiCall, 'plural' | 'status' | 'verb'>;

/** In a row, with nothing served between them: a single one is an accident of one connection. */
const CALLS_OF_AN_OUTAGE = 3;

/**
 * Neither says whether the API server serves: one that starts answers everybody with 403 until it has read the roles (ADR 72),
 * and keys that are retried by then fail once more, and wait for their whole back-off.
 */
const UNDECIDED: ReadonlySet<number> = new Set([401, 403]);

const READS: ReadonlySet<ApiCall['verb']> = new Set(['get', 'list', 'watch']);

/** Custom resources are not among them: a conversion webhook may stand before those. */
const STORED_BY_THE_SERVER: ReadonlySet<string> = new Set(['pods', 'secrets', 'namespaces']);

export class Outage {
  #failed = 0;
  #ended: () => void = () => {};

  /** Calls `ended` once at the end of every outage from now on. */
  follow(ended: () => void): void {
    this.#ended = ended;
  }

  observe(call: Call): void {
    if (isUnanswered(call.status)) {
      this.#failed += 1;
      return;
    }
    if (call.status === INTERNAL_ERROR) {
      if (isServersOwn(call)) this.#failed += 1;
      return;
    }
    if (UNDECIDED.has(call.status)) return;
    const isEnd = this.#failed >= CALLS_OF_AN_OUTAGE;
    this.#failed = 0;
    if (isEnd) this.#ended();
  }
}

/**
 * Whether nobody but the API server can have failed. Other writes pass admission webhooks, and one that fails in one namespace is no
 * outage; one that fails for our own lease is.
 */
function isServersOwn({ plural, verb }: Call): boolean {
  return plural === 'leases' || (READS.has(verb) && STORED_BY_THE_SERVER.has(plural));
}
