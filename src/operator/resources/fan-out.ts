/**
 * Enqueues every pod of a resource: pods without a Secret as urgent, the others as a background wave at the workers' pace, soonest
 * expiry first. New pods, which arrive as urgent, overtake the wave.
 */

import { podKeyOf } from '../../issued-secret/issued-secret.ts';
import { formatObjectKey, formatPodKey } from '../../issued-secret/names.ts';
import type { WorkQueue } from '../../kubernetes/queue/work-queue.ts';
import type { Caches } from '../caches.ts';
import type { Membership } from '../core/membership.ts';

export interface FanOut {
  readonly caches: Caches;
  readonly membership: Pick<Membership, 'podsOf'>;
  readonly podQueue: WorkQueue;
  readonly namespace: string;
  /** Name of the resource. */
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
    const key = formatPodKey({ namespace, resourceName: name, pod });
    if (!expiries.has(key)) podQueue.add(key, 'urgent');
  }
  for (const [key, expiresAt] of expiries) podQueue.add(key, 'background', expiresAt * 1000);
}
