/** Counts the pods of one resource. One pass over its pods, at most once a second. */
import type { DelegatedCredentialResource } from '../api/delegated-credential.ts';
import type { CredentialFacts, IssuedSecret } from '../issued-secret/issued-secret.ts';
import { formatPodKey } from '../issued-secret/names.ts';
import type { Caches } from './caches.ts';
import { type CertificateState, latestExpiry } from './core/certificate-state.ts';
import type { Membership } from './core/membership.ts';
import { missedInjection } from './core/missed-injection.ts';
import { nextRenewal, requestedRenewal } from './core/plan.ts';
import type { PodTally } from './core/status.ts';
import type { PodFailures } from './pod-failure.ts';

export interface TallyInput {
  readonly caches: Caches;
  readonly membership: Membership;
  readonly failures: PodFailures;
  readonly resource: DelegatedCredentialResource;
  readonly certificate: CertificateState;
  /** Seconds since the epoch. */
  readonly now: number;
}

const FAILURES_KEPT = 3;

export function tallyPods({
  caches,
  certificate,
  failures: podFailures,
  membership,
  now,
  resource,
}: TallyInput): PodTally {
  const { metadata } = resource;
  const { name, namespace } = metadata;
  const failures: { pod: string; message: string }[] = [];
  let [selected, issued, failed, notInjected] = [0, 0, 0, 0];
  let earliestExpiry = Number.POSITIVE_INFINITY;
  let earliestDeadline = Number.POSITIVE_INFINITY;
  let earliestRenewal = Number.POSITIVE_INFINITY;
  // Nothing is re-issued while the certificate is unusable.
  const certificateEnd = certificate.kind === 'usable' ? latestExpiry(certificate.certificate) : undefined;
  for (const podName of membership.podsOf(namespace, name)) {
    const pod = caches.pods.get(namespace, podName);
    if (pod === undefined || pod.terminating) continue;
    selected += 1;
    if (missedInjection(pod, name)) notInjected += 1;
    const key = formatPodKey({ namespace, resourceName: name, pod: podName });
    // A pod whose renewal fails still serves what it holds, and even an expired credential: just then its expiry must show.
    const held = heldFacts(caches.secrets.byIndex(namespace, 'podKey', key), pod.uid);
    if (held !== undefined) {
      earliestExpiry = Math.min(earliestExpiry, held.expiresAt);
      earliestDeadline = Math.min(earliestDeadline, (held.renewAt + held.expiresAt) / 2);
    }
    const failure = podFailures.failureOf(key);
    if (failure !== undefined) {
      failed += 1;
      if (failures.length < FAILURES_KEPT) failures.push({ pod: podName, message: failure.message });
    }
    if (held === undefined || !isCurrent(held, certificate, now)) continue;
    if (failure === undefined) issued += 1;
    const renewal =
      certificateEnd === undefined ? undefined : nextRenewal(held, pod.uid, resource.spec, certificateEnd);
    const requested = certificateEnd === undefined ? undefined : requestedRenewal(held, metadata.renewRequestedAt);
    const never = Number.POSITIVE_INFINITY;
    earliestRenewal = Math.min(earliestRenewal, renewal ?? never, requested ?? never);
  }
  return {
    selected,
    issued,
    failed,
    failures,
    notInjected,
    earliestExpiry: finite(earliestExpiry),
    renewalDeadline: finite(earliestDeadline),
    nextRenewal: finite(earliestRenewal),
  };
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
function isCurrent(facts: CredentialFacts, certificate: CertificateState, now: number): boolean {
  if (facts.expiresAt <= now) return false;
  if (certificate.kind !== 'usable') return true;
  const { chainSha256, sha256 } = certificate.certificate;
  return facts.certificateSha256 === sha256 && facts.chainSha256 === chainSha256;
}

function finite(value: number): number | undefined {
  return Number.isFinite(value) ? value : undefined;
}
