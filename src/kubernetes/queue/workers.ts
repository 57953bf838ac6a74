/** Workers that take keys from a queue and turn what became of each into what happens next. */

import { type Clock, systemClock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { Lane, WorkQueue } from './work-queue.ts';

/**
 * `done`: nothing to do until something changes. `at`: look again at that time of the wall clock. `retry`: it failed; look again
 * after a while that grows. A reconcile that throws is a `retry`.
 */
export type Outcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'at'; readonly timeMs: number; readonly lane?: Lane }
  | { readonly kind: 'retry'; readonly error: unknown; readonly maxDelayMs?: number };

export interface ReconcileObservation {
  readonly outcome: Outcome['kind'];
  readonly seconds: number;
}

export interface RunWorkersOptions {
  readonly queue: WorkQueue;
  /** How many keys are worked on at once. */
  readonly workers: number;
  /** The same key is never worked on twice at once. */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<Outcome>;
  /** Passed on to reconcile; once aborted, no further key is taken. To let them finish what is queued, shut the queue down. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly observe?: (observation: ReconcileObservation) => void;
}

/** Ends when the queue is shut down and empty, or the signal aborts, and every worker has finished its key. Never rejects. */
export async function runWorkers(options: RunWorkersOptions): Promise<void> {
  await Promise.all(Array.from({ length: options.workers }, () => work(options)));
}

async function work(options: RunWorkersOptions): Promise<void> {
  const { queue, signal, clock = systemClock, observe } = options;
  for (let key = await queue.take(signal); key !== undefined; key = await queue.take(signal)) {
    const started = clock.monotonic();
    const outcome = await reconciled(options, key);
    settle(options, key, outcome);
    queue.done(key);
    observe?.({ outcome: outcome.kind, seconds: (clock.monotonic() - started) / 1000 });
  }
}

async function reconciled({ reconcile, signal }: RunWorkersOptions, key: string): Promise<Outcome> {
  try {
    return await reconcile(key, signal);
  } catch (error) {
    return { kind: 'retry', error };
  }
}

function settle({ queue, signal, log }: RunWorkersOptions, key: string, outcome: Outcome): void {
  switch (outcome.kind) {
    case 'done':
      queue.forget(key);
      return;
    case 'at':
      queue.forget(key);
      queue.addAt(key, outcome.timeMs, outcome.lane);
      return;
    case 'retry': {
      // What was cut short by the end of the process did not fail.
      if (signal.aborted) return;
      const { error, maxDelayMs } = outcome;
      const ms = queue.retry(key, maxDelayMs === undefined ? {} : { maxDelayMs });
      const fields = { key, err: error, failures: queue.failures(key), retryInMs: Math.round(ms) };
      log.warn(fields, 'reconcile failed');
    }
  }
}
