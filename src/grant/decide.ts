/**
 * Whether a namespace may have credentials of a certificate, and on which terms. Pure: no I/O, no clock. The operator and the
 * signer decide by this same function, each on the grants that it sees itself.
 *
 * Several grants may cover one request. The union permits: one of them is enough. The terms are those of one grant, the most
 * generous for this request, never the longest lifetime of one with the number of pods of another: no owner wrote that.
 */
import type { DelegationGrantResource, GrantFrom } from '../api/delegation-grant.ts';
import { matches } from '../api/pod-selector.ts';
import type { Usage } from '../credential/scheme.ts';

/** The part of a grant that the decision needs. */
export type Grant = Pick<DelegationGrantResource, 'spec'> & {
  readonly metadata: Pick<DelegationGrantResource['metadata'], 'namespace' | 'name'>;
};

/** Who wants credentials. */
interface Consumer {
  /** Another cluster, by the name that the signer knows it by; undefined: the cluster of the grants. */
  readonly cluster?: string | undefined;
  readonly namespace: string;
  /** Of the namespace. Undefined: not known, so that no grant to that very uid covers it. */
  readonly uid?: string | undefined;
  /** Of the namespace. Undefined: not known, so that no selector covers it. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

export interface GrantRequest {
  readonly certificate: { readonly namespace: string; readonly name: string };
  readonly usage: Usage;
  readonly consumer: Consumer;
  /** The lifetime that is wanted: no grant is more generous than that. */
  readonly lifetimeSeconds: number;
}

export interface Terms {
  /** The smaller one of what is wanted and what is granted. */
  readonly lifetimeSeconds: number;
  /** Of one DelegatedCredential; undefined: any number. */
  readonly maxPods: number | undefined;
  readonly onWithdraw: 'Keep' | 'Delete';
}

export interface GrantTerms<G extends Grant = Grant> extends Terms {
  /** The grant whose terms these are. */
  readonly grant: G;
}

/** The terms of the most generous grant; undefined where none covers the request. */
export function decideGrant<G extends Grant>(grants: Iterable<G>, request: GrantRequest): GrantTerms<G> | undefined {
  let best: GrantTerms<G> | undefined;
  for (const grant of grants) {
    if (!covers(grant, request)) continue;
    const terms = termsOf(grant, request);
    if (best === undefined || compareTerms(terms, best) > 0) best = terms;
  }
  return best;
}

/** The most generous terms of several, each of which permits the use alone; of equals, the first. Undefined for none. */
export function mostGenerous<T extends Terms>(all: readonly T[]): T | undefined {
  return all.reduce<T | undefined>(
    (best, terms) => (best === undefined || generosity(terms, best) > 0 ? terms : best),
    undefined,
  );
}

/**
 * Those that may be the most generous for some lifetime that is wanted, the longest first: none of the others has as long a lifetime,
 * as many pods and Secrets that are kept as well.
 */
export function undominated<T extends Terms>(all: readonly T[]): readonly T[] {
  const sorted = all.toSorted((a, b) => generosity(b, a));
  return sorted.filter((terms, position) => !sorted.slice(0, position).some((other) => isNoLess(other, terms)));
}

function isNoLess(a: Terms, b: Terms): boolean {
  return a.lifetimeSeconds >= b.lifetimeSeconds && pods(a) >= pods(b) && kept(a) >= kept(b);
}

/** Whether this grant alone permits the request. */
export function covers({ metadata, spec }: Grant, { certificate, consumer, usage }: GrantRequest): boolean {
  if (metadata.namespace !== certificate.namespace || spec.certificateRef.name !== certificate.name) return false;
  return spec.usages.includes(usage) && spec.from.some((from) => includes(from, consumer));
}

/** Whether the decision on this grant needs the namespace's uid or labels. */
export function needsNamespace({ spec }: Pick<Grant, 'spec'>): boolean {
  return spec.from.some(({ namespaceSelector, uid }) => namespaceSelector !== undefined || uid !== undefined);
}

/** A namespace of another cluster is covered by its cluster's name alone: its own name and labels are not ours to read. */
function includes(from: GrantFrom, { cluster, labels, namespace, uid }: Consumer): boolean {
  if (cluster !== undefined) return from.cluster === cluster;
  if (from.namespaceSelector !== undefined) return labels !== undefined && matches(from.namespaceSelector, labels);
  if (from.namespace === undefined || from.namespace !== namespace) return false;
  return from.uid === undefined || from.uid === uid;
}

function termsOf<G extends Grant>(grant: G, { lifetimeSeconds }: GrantRequest): GrantTerms<G> {
  const { maxLifetimeSeconds = lifetimeSeconds, maxPods, onWithdraw } = grant.spec;
  return { grant, lifetimeSeconds: Math.min(lifetimeSeconds, maxLifetimeSeconds), maxPods, onWithdraw };
}

/** Equal terms are told apart by the grants' names, so that the choice does not depend on their order. */
function compareTerms(a: GrantTerms, b: GrantTerms): number {
  return generosity(a, b) || (a.grant.metadata.name < b.grant.metadata.name ? 1 : -1);
}

/** Above 0 where `a` is more generous: a longer lifetime, then more pods, then Secrets that are kept. */
function generosity(a: Terms, b: Terms): number {
  if (a.lifetimeSeconds !== b.lifetimeSeconds) return a.lifetimeSeconds - b.lifetimeSeconds;
  if (pods(a) !== pods(b)) return pods(a) > pods(b) ? 1 : -1;
  return kept(a) - kept(b);
}

function pods({ maxPods = Number.POSITIVE_INFINITY }: Terms): number {
  return maxPods;
}

function kept({ onWithdraw }: Terms): number {
  return Number(onWithdraw === 'Keep');
}
