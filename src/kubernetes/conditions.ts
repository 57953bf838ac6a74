/** Conditions, as `metav1.Condition` and its helpers have them. */

import { formatRfc3339 } from '../text/rfc3339.ts';
import type { Condition } from './objects.ts';

export type ConditionUpdate = Omit<Condition, 'lastTransitionTime'>;

/**
 * The conditions with `next` set: the very same array when it says nothing new, so that callers can compare by identity and
 * write nothing. `lastTransitionTime` moves only when the status does.
 * @param now milliseconds since the epoch
 */
export function setCondition(
  conditions: readonly Condition[],
  next: ConditionUpdate,
  now: number,
): readonly Condition[] {
  const index = conditions.findIndex((condition) => condition.type === next.type);
  const current = conditions[index];
  if (current === undefined) return [...conditions, { ...next, lastTransitionTime: formatRfc3339(now / 1000) }];
  const unchanged =
    current.status === next.status &&
    current.reason === next.reason &&
    current.message === next.message &&
    current.observedGeneration === next.observedGeneration;
  if (unchanged) return conditions;
  const lastTransitionTime = current.status === next.status ? current.lastTransitionTime : formatRfc3339(now / 1000);
  return conditions.with(index, { ...next, lastTransitionTime });
}
