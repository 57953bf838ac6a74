/** A reconcile in a span of its own, which fails where it is to be retried. */
import type { Outcome } from '../kubernetes/queue/workers.ts';
import type { InSpan } from './tracing.ts';

type Reconcile = (key: string, signal: AbortSignal) => Promise<Outcome>;

/** @param queue its name, as in the metrics */
export function tracedReconcile(inSpan: InSpan, queue: string, reconcile: Reconcile): Reconcile {
  const failureOf = (outcome: Outcome) => (outcome.kind === 'retry' ? outcome.error : undefined);
  return (key, signal) => inSpan(`reconcile ${queue}`, { 'dcred.key': key }, () => reconcile(key, signal), failureOf);
}
