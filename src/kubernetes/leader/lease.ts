/** Lease records, and who leads by them. Pure. */

import { formatRfc3339Micro } from '../../text/rfc3339.ts';
import type { KubernetesObject } from '../objects.ts';

export interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

export type Lease = KubernetesObject<{ readonly spec?: LeaseSpec }>;

/** A lease as it was seen to change last. */
export interface Observation {
  readonly lease: Lease;
  /** On the local monotonic clock: other machines' clocks do not count. */
  readonly seenAt: number;
}

/** The observation after seeing this lease: the time moves only when the lease did. */
export function observe(before: Observation | undefined, lease: Lease, monotonic: number): Observation {
  const same = before !== undefined && sameRecord(before.lease, lease);
  return { lease, seenAt: same ? before.seenAt : monotonic };
}

function sameRecord(a: Lease, b: Lease): boolean {
  return a.metadata.uid === b.metadata.uid && JSON.stringify(a.spec) === JSON.stringify(b.spec);
}

/** Whether another candidate holds it, and was seen to renew it within its own duration (client-go: isLeaseValid). */
export function isHeldByOther({ lease, seenAt }: Observation, identity: string, monotonic: number): boolean {
  const { holderIdentity = '', leaseDurationSeconds = 0 } = lease.spec ?? {};
  if (holderIdentity === '' || holderIdentity === identity) return false;
  return seenAt + leaseDurationSeconds * 1000 > monotonic;
}

/** Whether this is the answer to a claim that was stored. Whoever leads by any other may not be alone. */
export function isClaimedBy({ metadata, spec }: Partial<Lease>, identity: string): boolean {
  return spec?.holderIdentity === identity && typeof metadata?.resourceVersion === 'string';
}

export interface Claim {
  readonly identity: string;
  readonly leaseDurationMs: number;
  /** Wall clock, for people to read. */
  readonly now: number;
}

/** The spec that takes the lease or renews it. */
export function claimedSpec(before: LeaseSpec | undefined, { identity, leaseDurationMs, now }: Claim): LeaseSpec {
  const renewal = before?.holderIdentity === identity;
  return {
    ...before,
    holderIdentity: identity,
    leaseDurationSeconds: Math.max(1, Math.ceil(leaseDurationMs / 1000)),
    acquireTime: renewal && before.acquireTime !== undefined ? before.acquireTime : formatRfc3339Micro(now),
    renewTime: formatRfc3339Micro(now),
    leaseTransitions: (before?.leaseTransitions ?? 0) + (renewal || before === undefined ? 0 : 1),
  };
}

/** The spec of a released lease: any candidate may take it at once. */
export function releasedSpec(before: LeaseSpec | undefined, now: number): LeaseSpec {
  return {
    ...before,
    holderIdentity: '',
    leaseDurationSeconds: 1,
    acquireTime: formatRfc3339Micro(now),
    renewTime: formatRfc3339Micro(now),
  };
}
