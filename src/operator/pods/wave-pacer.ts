/**
 * How fast credentials are re-issued that all became void at once, by a new leaf or a change of the resource. What is spent is paid
 * for afterwards: the background lane of the queue rests until the rate is met, so that its order (soonest expiry first) stays, and
 * new pods, which are urgent, never wait.
 */
import type { Clock } from '../../kubernetes/clock.ts';
import type { WorkQueue } from '../../kubernetes/queue/work-queue.ts';
import type { IssueReason } from '../core/plan.ts';

/** Others concern single pods: a pod that has none, a Secret that was changed, a renewal, of which a fleet's are spread anyway. */
const WAVES: ReadonlySet<IssueReason> = new Set<IssueReason>([
  'CertificateChanged',
  'SpecChanged',
  'LifetimeExceeded',
  'RenewRequested',
]);

export interface WavePacerOptions {
  /** Undefined: as fast as the API server answers. */
  readonly maxPerSecond: number | undefined;
  readonly queue: Pick<WorkQueue, 'restBackground'>;
  readonly clock: Pick<Clock, 'monotonic'>;
}

export class WavePacer {
  readonly #options: WavePacerOptions;
  /** When all that was issued so far is paid for. */
  #paidAt = Number.NEGATIVE_INFINITY;

  constructor(options: WavePacerOptions) {
    this.#options = options;
  }

  /** A credential was issued. */
  issued(reason: IssueReason): void {
    const { clock, maxPerSecond, queue } = this.#options;
    if (maxPerSecond === undefined || !WAVES.has(reason)) return;
    const now = clock.monotonic();
    this.#paidAt = Math.max(now, this.#paidAt) + 1000 / maxPerSecond;
    queue.restBackground(this.#paidAt - now);
  }
}
