/** Workers: take a key, reconcile it, and turn the outcome into calls of the queue. */

import { isUnavailable, retryAfterMs } from '../api-error.ts';
import { type Clock, systemClock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { Gate } from './gate.ts';
import type { Lane, WorkQueue } from './work-queue.ts';

/**
 * What a reconcile returns:
 * - `done`: nothing to do until something changes.
 * - `at`: reconcile again at that time of the wall clock, or earlier when something changes.
 * - `retry`: it failed in a way that may pass; reconcile again after a delay that grows, and not before the server's Retry-After.
 * - `stalled`: it failed in a way that only a person can fix (invalid input); not retried until the key is enqueued again, which
 *   the change that fixes it does. Reported by whoever returns it, once for each change of the reason.
 *
 * A reconcile that throws is a `retry`.
 */
export type Outcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'stalled' }
  | { readonly kind: 'at'; readonly timeMs: number; readonly lane?: Lane }
  | {
      readonly kind: 'retry';
      readonly error: unknown;
      readonly maxDelayMs?: number;
      /** Whoever returns it has logged it, once for each change of its reason. */
      readonly reported?: boolean;
    };

export interface ReconcileObservation {
  readonly outcome: Outcome['kind'];
  readonly seconds: number;
}

export interface RunWorkersOptions {
  readonly queue: WorkQueue;
  /** How many keys are processed at once. */
  readonly workers: number;
  /** Never called twice at once for one key. */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<Outcome>;
  /** Passed on to reconcile; once aborted, no further key is taken. To let them finish what is queued, shut the queue down. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly observe?: (observation: ReconcileObservation) => void;
  /** A worker passes it before it takes a key: so no more keys are processed at once than it lets in. Default: `workers`. */
  readonly gate?: Gate | undefined;
}

/** Ends when the queue is shut down and empty, or the signal aborts, and every worker has finished its key. Never rejects. */
export async function runWorkers(options: RunWorkersOptions): Promise<void> {
  await Promise.all(Array.from({ length: options.workers }, () => work(options)));
}

async function work(options: RunWorkersOptions): Promise<void> {
  const { gate, signal } = options;
  while (gate === undefined || (await gate.enter(signal))) {
    try {
      if (!(await processNext(options))) return;
    } finally {
      gate?.leave();
    }
  }
}

/** False when there is no key any more. */
async function processNext(options: RunWorkersOptions): Promise<boolean> {
  const { queue, signal, clock = systemClock, observe } = options;
  const key = await queue.take(signal);
  if (key === undefined) return false;
  const started = clock.monotonic();
  const outcome = await reconciled(options, key);
  settle(options, key, outcome);
  queue.done(key);
  observe?.({ outcome: outcome.kind, seconds: (clock.monotonic() - started) / 1000 });
  return true;
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
    case 'stalled':
      queue.forget(key);
      return;
    case 'at':
      queue.forget(key);
      queue.addAt(key, outcome.timeMs, outcome.lane);
      return;
    case 'retry': {
      // Cut short by the end of the process, which is no failure.
      if (signal.aborted) return;
      const { error, maxDelayMs, reported = false } = outcome;
      const minDelayMs = retryAfterMs(error);
      const unavailable = minDelayMs !== undefined || isUnavailable(error);
      const ms = queue.retry(key, { maxDelayMs, minDelayMs, unavailable });
      if (reported) return;
      const fields = { key, err: error, failures: queue.failures(key), retryInMs: Math.round(ms) };
      log.warn(fields, 'reconcile failed, retrying');
    }
  }
}
