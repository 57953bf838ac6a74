/**
 * Counts the pods of resources. Once counted, only the pods that changed are counted again: what an event costs does not depend on
 * how many pods the resource has. All of them are counted when something changed that concerns every pod: the resource itself, its
 * certificate, or a clock that was set back.
 */
import { isDeepStrictEqual } from 'node:util';
import type { DelegatedCredentialResource } from '../../api/delegated-credential.ts';
import { selects } from '../../api/pod-selector.ts';
import type { DelegationCertificate } from '../../credential/delegation-certificate.ts';
import type { CredentialFacts, IssuedSecret } from '../../issued-secret/issued-secret.ts';
import { formatObjectKey, formatPodKey, type PodKey } from '../../issued-secret/names.ts';
import type { Caches } from '../caches.ts';
import { type CertificateState, latestExpiry } from '../core/certificate-state.ts';
import type { Membership } from '../core/membership.ts';
import { missedInjection } from '../core/missed-injection.ts';
import { nextRenewal, requestedRenewal } from '../core/plan.ts';
import { PodCounts, type PodShare } from '../core/pod-counts.ts';
import type { PodTally } from '../core/status.ts';
import type { PodFailures } from '../pod-failure.ts';

export interface TallyOptions {
  readonly caches: { readonly pods: Pick<Caches['pods'], 'get'>; readonly secrets: Pick<Caches['secrets'], 'byIndex'> };
  readonly membership: Pick<Membership, 'podsOf'>;
  readonly failures: Pick<PodFailures, 'failureOf'>;
}

export interface Count extends PodTally {
  /** When the next of the credentials that are still good expires. */
  readonly nextExpiry: number | undefined;
}

export interface TallyInput {
  readonly resource: DelegatedCredentialResource;
  readonly certificate: CertificateState;
  /** Seconds since the epoch. */
  readonly now: number;
}

/** What every pod's share depends on. */
interface Basis {
  readonly metadata: DelegatedCredentialResource['metadata'];
  readonly spec: DelegatedCredentialResource['spec'];
  /** Undefined while it cannot be used: nothing is re-issued then. */
  readonly certificate: DelegationCertificate | undefined;
}

interface Counted {
  /** Of the latest version: those of earlier ones would stay in memory beside the cache's. */
  basis: Basis;
  readonly counts: PodCounts;
  readonly changed: Set<string>;
  now: number;
}

const FAILURES_KEPT = 3;
/** A resource that is not counted for long, because its spec is invalid, keeps no list of pods that came and went meanwhile. */
const MAX_CHANGED = 1_000;

export class Tally {
  readonly #options: TallyOptions;
  readonly #counted = new Map<string, Counted>();

  constructor(options: TallyOptions) {
    this.#options = options;
  }

  /** The pod, its Secrets or its failure may have changed. */
  podChanged({ namespace, pod, resourceName }: PodKey): void {
    const key = formatObjectKey({ namespace, name: resourceName });
    const counted = this.#counted.get(key);
    if (counted === undefined) return;
    counted.changed.add(pod);
    if (counted.changed.size > MAX_CHANGED + counted.counts.selected) this.#counted.delete(key);
  }

  forget(resourceKey: string): void {
    this.#counted.delete(resourceKey);
  }

  count(input: TallyInput): Count {
    const key = formatObjectKey(input.resource.metadata);
    const known = this.#counted.get(key);
    const counted = known !== undefined && canContinue(known, input) ? known : this.#begin(key, input);
    counted.basis = basisOf(input);
    for (const pod of counted.changed) this.#countPod(counted, pod, input.now);
    counted.changed.clear();
    counted.counts.expire(input.now);
    counted.now = input.now;
    return this.#result(key, counted.counts);
  }

  #begin(key: string, input: TallyInput): Counted {
    const { now } = input;
    const counted: Counted = { basis: basisOf(input), counts: new PodCounts(), changed: new Set(), now };
    const { name, namespace } = input.resource.metadata;
    for (const pod of this.#options.membership.podsOf(namespace, name)) this.#countPod(counted, pod, now);
    this.#counted.set(key, counted);
    return counted;
  }

  #countPod({ basis, counts }: Counted, podName: string, now: number): void {
    const { metadata, spec } = basis;
    const { name, namespace } = metadata;
    const pod = this.#options.caches.pods.get(namespace, podName);
    if (pod === undefined || pod.terminating || !selects(name, spec.podSelector, pod)) {
      counts.delete(podName);
      return;
    }
    const key = formatPodKey({ namespace, resourceName: name, pod: pod.name });
    const notInjected = missedInjection(pod, name);
    counts.set(pod.name, { notInjected, ...this.#credential(key, pod.uid, basis, now) });
  }

  #credential(key: string, podUid: string, basis: Basis, now: number): Omit<PodShare, 'notInjected'> {
    const { caches, failures } = this.#options;
    const { certificate, metadata, spec } = basis;
    const failed = failures.failureOf(key) !== undefined;
    // A pod whose renewal fails still serves what it holds, and even an expired credential: just then its expiry must show.
    const held = heldFacts(caches.secrets.byIndex(metadata.namespace, 'podKey', key), podUid);
    if (held === undefined) return { failed, isCurrent: false };
    const { expiresAt } = held;
    const share = { failed, expiresAt, deadline: (held.renewAt + expiresAt) / 2 };
    if (!isCurrent(held, certificate, now)) return { ...share, isCurrent: false };
    if (certificate === undefined) return { ...share, isCurrent: true };
    const renewal = nextRenewal(held, podUid, spec, latestExpiry(certificate)) ?? Number.POSITIVE_INFINITY;
    const requested = requestedRenewal(held, metadata.renewRequestedAt) ?? Number.POSITIVE_INFINITY;
    const renewAt = Math.min(renewal, requested);
    return { ...share, isCurrent: true, ...(Number.isFinite(renewAt) && { renewAt }) };
  }

  #result(resourceKey: string, counts: PodCounts): Count {
    return {
      selected: counts.selected,
      issued: counts.issued,
      failed: counts.failed.size,
      failures: this.#firstFailures(resourceKey, counts.failed),
      notInjected: counts.notInjected,
      earliestExpiry: counts.earliestExpiry,
      renewalDeadline: counts.earliestDeadline,
      nextExpiry: counts.nextExpiry,
      nextRenewal: counts.nextRenewal,
    };
  }

  #firstFailures(resourceKey: string, failed: Iterable<string>): PodTally['failures'] {
    const first: { readonly pod: string; readonly message: string }[] = [];
    for (const pod of failed) {
      if (first.length === FAILURES_KEPT) break;
      const message = this.#options.failures.failureOf(`${resourceKey}/${pod}`)?.message;
      // It was cleared a moment ago, and the pod is counted again in another moment.
      if (message !== undefined) first.push({ pod, message });
    }
    return first;
  }
}

function basisOf({ certificate, resource: { metadata, spec } }: TallyInput): Basis {
  return { metadata, spec, certificate: usable(certificate) };
}

function canContinue({ basis, now }: Counted, input: TallyInput): boolean {
  const { metadata, spec } = input.resource;
  return (
    now <= input.now &&
    basis.metadata.uid === metadata.uid &&
    Object.is(basis.metadata.renewRequestedAt, metadata.renewRequestedAt) &&
    basis.certificate === usable(input.certificate) &&
    isDeepStrictEqual(basis.spec, spec)
  );
}

function usable(state: CertificateState): DelegationCertificate | undefined {
  return state.kind === 'usable' ? state.certificate : undefined;
}

/** The facts of the Secret that this pod mounts, also where they are out of date; the longest-lived, should there be two. */
function heldFacts(
  secrets: Iterable<{ readonly issued: IssuedSecret | undefined }>,
  podUid: string,
): CredentialFacts | undefined {
  let held: CredentialFacts | undefined;
  for (const { issued } of secrets) {
    if (issued?.facts === undefined || !issued.intact || issued.podUid !== podUid) continue;
    if (held === undefined || issued.facts.expiresAt > held.expiresAt) held = issued.facts;
  }
  return held;
}

/** Not expired; and of this leaf, and published with this chain, as far as they are known. */
function isCurrent(facts: CredentialFacts, certificate: DelegationCertificate | undefined, now: number): boolean {
  if (facts.expiresAt <= now) return false;
  if (certificate === undefined) return true;
  return facts.certificateSha256 === certificate.sha256 && facts.chainSha256 === certificate.chainSha256;
}
