/** How many pods are reconciled at a time: the configured number at most, and less while the API server is busy with others. */
import type { ApiCall } from '../kubernetes/client/api-types.ts';
import type { Clock } from '../kubernetes/clock.ts';
import { AdaptiveLimit } from '../kubernetes/queue/adaptive-limit.ts';
import { Gate } from '../kubernetes/queue/gate.ts';
import type { WorkQueue } from '../kubernetes/queue/work-queue.ts';

const TOO_MANY_REQUESTS = 429;

export class WritePace {
  readonly gate: Gate;
  readonly #limit: AdaptiveLimit;
  readonly #clock: Pick<Clock, 'monotonic'>;
  #queue: Pick<WorkQueue, 'taken'> | undefined;

  /** @param max workers */
  constructor(max: number, clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
    this.#limit = new AdaptiveLimit({ max });
    this.gate = new Gate(() => this.#limit.limit);
  }

  get limit(): number {
    return this.#limit.limit;
  }

  /** The queue whose keys cause the writes: what is taken from it is in flight. */
  follow(queue: Pick<WorkQueue, 'taken'>): void {
    this.#queue = queue;
  }

  /** Writes of Secrets are what a wave consists of. One without an answer says nothing of how busy the server is. */
  observe({ plural, seconds, status, verb }: ApiCall): void {
    if (plural !== 'secrets' || (verb !== 'create' && verb !== 'update') || status === 0) return;
    const answer = {
      atMs: this.#clock.monotonic(),
      tookMs: seconds * 1000,
      refused: status === TOO_MANY_REQUESTS,
      inFlight: this.#queue?.taken ?? 0,
    };
    if (this.#limit.answered(answer)) this.gate.admit();
  }
}
