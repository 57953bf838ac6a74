/** Counts the pods of one resource. One pass over its pods, at most once a second. */
import type { DelegatedCredentialResource } from '../api/delegated-credential.ts';
import type { DelegationCertificate } from '../credential/delegation-certificate.ts';
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
  let earliestRenewal = Number.POSITIVE_INFINITY;
  // Nothing is re-issued while the certificate is unusable.
  const certificateEnd = certificate.kind === 'usable' ? latestExpiry(certificate.certificate) : undefined;
  for (const podName of membership.podsOf(namespace, name)) {
    const pod = caches.pods.get(namespace, podName);
    if (pod === undefined || pod.terminating) continue;
    selected += 1;
    if (missedInjection(pod, name)) notInjected += 1;
    const key = formatPodKey({ namespace, resourceName: name, pod: podName });
    const failure = podFailures.failureOf(key);
    if (failure !== undefined) {
      failed += 1;
      if (failures.length < FAILURES_KEPT) failures.push({ pod: podName, message: failure.message });
      continue;
    }
    const facts = validFacts(caches.secrets.byIndex(namespace, 'podKey', key), pod.uid, certificate, now);
    if (facts === undefined) continue;
    issued += 1;
    earliestExpiry = Math.min(earliestExpiry, facts.expiresAt);
    const renewal =
      certificateEnd === undefined ? undefined : nextRenewal(facts, pod.uid, resource.spec, certificateEnd);
    const requested = certificateEnd === undefined ? undefined : requestedRenewal(facts, metadata.renewRequestedAt);
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
    nextRenewal: finite(earliestRenewal),
  };
}

/** The facts of the Secret that serves this pod now: issued from the current certificate, as far as that is known, and not expired. */
function validFacts(
  secrets: Iterable<{ readonly issued: IssuedSecret | undefined }>,
  podUid: string,
  certificate: CertificateState,
  now: number,
): IssuedSecret['facts'] {
  for (const { issued } of secrets) {
    if (issued === undefined || !issued.intact || issued.podUid !== podUid) continue;
    const { facts } = issued;
    if (facts === undefined || facts.expiresAt <= now) continue;
    if (certificate.kind === 'usable' && !isCurrent(facts, certificate.certificate)) continue;
    return facts;
  }
  return undefined;
}

/** Of this leaf, and published with this chain. */
function isCurrent(facts: CredentialFacts, certificate: DelegationCertificate): boolean {
  return facts.certificateSha256 === certificate.sha256 && facts.chainSha256 === certificate.chainSha256;
}

function finite(value: number): number | undefined {
  return Number.isFinite(value) ? value : undefined;
}
