/**
 * How many pods are reconciled at a time: the configured number at most, and less while the API server is busy with others.
 *
 * Where a signer signs, the limit is for those that are being written, and others are signed meanwhile: a pod that waits for its signature
 * writes nothing. Not many more, because what is signed ahead is decided ahead, and a pod that comes later waits behind it.
 */
import type { ApiCall } from '../../kubernetes/client/api-types.ts';
import type { Clock } from '../../kubernetes/clock.ts';
import { AdaptiveLimit } from '../../kubernetes/queue/adaptive-limit.ts';
import { Gate } from '../../kubernetes/queue/gate.ts';
import type { WorkQueue } from '../../kubernetes/queue/work-queue.ts';

const TOO_MANY_REQUESTS = 429;
/** For each that is written, so many are signed, and a few more while hardly any is. */
const AHEAD = 2;
const AHEAD_AT_LEAST = 8;

export interface WritePaceOptions {
  /** Writes at a time. */
  readonly max: number;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** A signer signs. */
  readonly signsAhead: boolean;
}

/** How many workers a pace with so many writes at a time keeps busy. */
export function workersFor(max: number, signsAhead: boolean): number {
  return signsAhead ? (1 + AHEAD) * max + AHEAD_AT_LEAST : max;
}

export class WritePace {
  /** Before a worker takes a pod. */
  readonly gate: Gate;
  /** Before a pod's Secret is written; undefined: whoever is inside of `gate` may. */
  readonly writes: Gate | undefined;
  readonly #limit: AdaptiveLimit;
  readonly #clock: Pick<Clock, 'monotonic'>;
  #queue: Pick<WorkQueue, 'taken'> | undefined;

  constructor({ clock, max, signsAhead }: WritePaceOptions) {
    this.#clock = clock;
    this.#limit = new AdaptiveLimit({ max });
    this.gate = new Gate(() => workersFor(this.limit, signsAhead));
    this.writes = signsAhead ? new Gate(() => this.limit) : undefined;
  }

  get limit(): number {
    return this.#limit.limit;
  }

  /** The queue whose keys cause the writes: what is taken from it is in flight, or its writes are. */
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
      inFlight: this.writes?.inside ?? this.#queue?.taken ?? 0,
    };
    if (!this.#limit.answered(answer)) return;
    this.gate.admit();
    this.writes?.admit();
  }
}
