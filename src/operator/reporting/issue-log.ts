/**
 * The log of issued credentials: a line for each, until there are many. In a wave a line a credential is a megabyte for five thousand
 * and a tenth of the operator's CPU, so what comes faster than lines are allowed is counted, and logged as one line a resource and
 * reason. At `debug` every credential has its line.
 */
import type { Clock, TimerHandle } from '../../kubernetes/clock.ts';
import { TokenBucket } from '../../kubernetes/events/token-bucket.ts';
import type { Logger } from '../../kubernetes/log.ts';
import type { IssueReason } from '../core/plan.ts';

export interface IssuedPod {
  readonly namespace: string;
  readonly resource: string;
  readonly pod: string;
  readonly reason: IssueReason;
}

/** Lines at once, and a second in the long run. */
const BURST = 50;
const PER_SECOND = 5;
const SUMMARY_MS = 5_000;

export class IssueLog {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #lines: TokenBucket;
  /** What has no line of its own, by namespace, resource and reason. */
  readonly #counts = new Map<string, { readonly fields: Omit<IssuedPod, 'pod'>; count: number }>();
  #timer: TimerHandle | undefined;

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Logger }) {
    this.#clock = clock;
    this.#log = log;
    this.#lines = new TokenBucket({ clock, burst: BURST, perSecond: PER_SECOND });
  }

  issued(issued: IssuedPod): void {
    const message = 'issued a credential';
    if (this.#lines.take() === 0) {
      this.#log.info(issued, message);
      return;
    }
    this.#log.debug(issued, message);
    const { namespace, reason, resource } = issued;
    const key = `${namespace}/${resource}/${reason}`;
    const counted = this.#counts.get(key);
    if (counted === undefined) this.#counts.set(key, { fields: { namespace, resource, reason }, count: 1 });
    else counted.count += 1;
    this.#timer ??= this.#clock.setTimeout(() => this.flush(), SUMMARY_MS);
  }

  /** Logs what is counted so far. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const { count, fields } of this.#counts.values()) this.#log.info({ ...fields, count }, 'issued credentials');
    this.#counts.clear();
  }
}
