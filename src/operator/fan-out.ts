/**
 * Asks every pod of a resource to be looked at: pods without a Secret at once, then a wave at the workers' pace, the one whose
 * credential ends first in front. New pods, which arrive as urgent, overtake the wave.
 */

import { podKeyOf } from '../issued-secret/issued-secret.ts';
import { formatObjectKey, formatPodKey } from '../issued-secret/names.ts';
import type { WorkQueue } from '../kubernetes/queue/work-queue.ts';
import type { Caches } from './caches.ts';
import type { Membership } from './core/membership.ts';

export interface FanOut {
  readonly caches: Caches;
  readonly membership: Membership;
  readonly podQueue: WorkQueue;
  readonly namespace: string;
  /** Of the resource. */
  readonly name: string;
}

export function fanOut({ caches, membership, podQueue, namespace, name }: FanOut): void {
  const expiries = new Map<string, number>();
  const secrets = caches.secrets.byIndex(namespace, 'resource', formatObjectKey({ namespace, name }));
  for (const { issued } of secrets) {
    if (issued === undefined) continue;
    const key = podKeyOf(issued);
    const expiry = issued.facts?.expiresAt ?? 0;
    expiries.set(key, Math.min(expiry, expiries.get(key) ?? Number.POSITIVE_INFINITY));
  }
  for (const pod of membership.podsOf(namespace, name)) {
    const key = formatPodKey({ namespace, resource: name, pod });
    if (!expiries.has(key)) podQueue.add(key, 'urgent');
  }
  const wave = [...expiries].sort(([, a], [, b]) => a - b);
  for (const [key] of wave) podQueue.add(key, 'background');
}
