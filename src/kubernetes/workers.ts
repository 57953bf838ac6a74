import type { Logger } from './log.ts';
import type { WorkQueue } from './work-queue.ts';

export type Outcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'at'; readonly timeMs: number }
  | { readonly kind: 'retry'; readonly error: unknown; readonly maxDelayMs?: number };

export interface ReconcileObservation {
  readonly outcome: Outcome['kind'];
  readonly seconds: number;
}

export interface RunWorkersOptions {
  readonly queue: WorkQueue;
  readonly workers: number;
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<Outcome>;
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly observe?: (observation: ReconcileObservation) => void;
}

export function runWorkers(_options: RunWorkersOptions): Promise<void> {
  throw new Error('not yet');
}
