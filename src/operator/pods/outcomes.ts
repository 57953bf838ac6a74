/** One outcome of two parts of a reconcile. */
import type { Outcome } from '../../kubernetes/queue/workers.ts';

/**
 * A failure is retried, but not after the time at which the other part wants to be reconciled; of two times the earlier holds.
 * @param nowMs wall clock
 */
export function combine(a: Outcome, b: Outcome, nowMs: number): Outcome {
  if (a.kind === 'done' || a.kind === 'stalled') return b.kind === 'done' ? a : b;
  if (b.kind === 'done' || b.kind === 'stalled') return a;
  if (a.kind === 'at' && b.kind === 'at') return a.timeMs <= b.timeMs ? a : b;
  if (a.kind === 'retry' && b.kind === 'retry') return { ...a, maxDelayMs: longest(a.maxDelayMs, b.maxDelayMs) };
  const [retry, at] = a.kind === 'retry' ? [a, b] : [b, a];
  if (retry.kind !== 'retry' || at.kind !== 'at') return a;
  return { ...retry, maxDelayMs: longest(retry.maxDelayMs, Math.max(0, at.timeMs - nowMs)) };
}

/** The longest delay that both allow. */
function longest(a: number | undefined, b: number | undefined): number {
  return Math.min(a ?? Number.POSITIVE_INFINITY, b ?? Number.POSITIVE_INFINITY);
}
