/** The status of a resource: a pure function of what was observed. Times in seconds since the epoch. */

import {
  type DelegatedCredentialSpec,
  type DelegatedCredentialStatus,
  MAX_STATUS_DNS_NAMES,
} from '../../api/delegated-credential.ts';
import { INJECT_KEY } from '../../api/keys.ts';
import type { DelegationCertificate } from '../../credential/delegation-certificate.ts';
import { setCondition } from '../../kubernetes/conditions.ts';
import type { Condition } from '../../kubernetes/objects.ts';
import { firstItems, printable } from '../../text/printable.ts';
import { formatRfc3339 } from '../../text/rfc3339.ts';
import { expiring, nextCertificate } from './certificate-conditions.ts';
import { CERTIFICATE_REASONS, type CertificateState } from './certificate-state.ts';

/** The types of conditions that dcred writes; those of any other type belong to others. */
export const CONDITION_TYPES: ReadonlySet<string> = new Set([
  'Ready',
  'Injected',
  'ClockSynchronized',
  'CleanedUp',
  'SignerAvailable',
  'CertificateExpiring',
  'NextCertificate',
]);

/** Those of them that are True when something is wrong; the others are False then. */
export const ALARMS: ReadonlySet<string> = new Set(['CertificateExpiring']);

/** The reasons of the Ready condition. `SpecInvalid`: an object that an older CRD let pass. */
export const READY_REASONS = [
  'Issued',
  'Issuing',
  'NoPods',
  'Suspended',
  ...CERTIFICATE_REASONS,
  'PodsFailed',
  'SpecInvalid',
  'SignerUnavailable',
] as const;
export type ReadyReason = (typeof READY_REASONS)[number];

export interface PodTally {
  readonly selected: number;
  readonly issued: number;
  /** How many selected pods cannot be served, and why for the first few: pod name and message. */
  readonly failed: number;
  readonly failures: readonly { readonly pod: string; readonly message: string }[];
  /** Pods that ask by `dcred.dev/inject` and that the webhook did not inject. */
  readonly notInjected: number;
  /** Of all that the pods hold, expired ones and those of failing pods included. Seconds since the epoch, as all times here. */
  readonly earliestExpiry: number | undefined;
  /** When half of the time between renewal and expiry is over: normally it is renewed long before. */
  readonly renewalDeadline: number | undefined;
  readonly nextRenewal: number | undefined;
}

export interface StatusInput {
  /** With the lifetime that the resource may have. */
  readonly spec: DelegatedCredentialSpec;
  /** Its certificate is used by a grant. */
  readonly granted?: boolean;
  readonly generation: number;
  readonly previous: DelegatedCredentialStatus;
  readonly certificate: CertificateState;
  readonly pods: PodTally;
  /** The local clock and the API server's differ by more than a request takes. */
  readonly clockSkewed?: boolean;
  /** Why the signer gives no credentials at the moment. */
  readonly signerProblem?: string | undefined;
  /** Secrets that are no longer needed and cannot be removed: how many pods they were for, and why for the first. */
  readonly cleanUp?: { readonly refused: number; readonly message: string };
  readonly now: number;
}

interface Ready {
  readonly status: Condition['status'];
  readonly reason: ReadyReason;
  readonly message: string;
}

export function resourceStatus(input: StatusInput): DelegatedCredentialStatus {
  const { certificate, generation, now, pods, previous } = input;
  const { earliestExpiry, nextRenewal } = pods;
  // While the certificate is unusable, the pods still hold credentials of the last usable one.
  const facts = certificate.kind === 'usable' ? certificateFacts(certificate.certificate) : previous.certificate;
  return {
    observedGeneration: generation,
    conditions: withFuture(
      withProblems(withInjected(withReady(previous, readiness(input), generation, now), input), input),
      input,
    ),
    ...(facts === undefined ? {} : { certificate: facts }),
    pods: { selected: pods.selected, issued: pods.issued, failed: pods.failed },
    ...reissueOf(input),
    ...(input.granted === true && { lifetimeSeconds: input.spec.lifetimeSeconds }),
    ...(earliestExpiry === undefined ? {} : { earliestExpiryTime: formatRfc3339(earliestExpiry) }),
    ...(nextRenewal === undefined ? {} : { nextRenewalTime: formatRfc3339(nextRenewal) }),
  };
}

/** A new leaf makes every credential void: how far its wave is, from the first status that knows the leaf to the last pod. */
function reissueOf({ certificate, now, pods, previous }: StatusInput): Pick<DelegatedCredentialStatus, 'reissue'> {
  const known = previous.certificate?.sha256;
  if (certificate.kind !== 'usable') return previous.reissue === undefined ? {} : { reissue: previous.reissue };
  const begins = known !== undefined && known !== certificate.certificate.sha256;
  if (!begins && previous.reissue === undefined) return {};
  // A pod that cannot be served is reported by itself; the wave does not wait for it.
  if (pods.issued + pods.failed >= pods.selected) return {};
  const startTime = begins ? formatRfc3339(now) : previous.reissue?.startTime;
  return { reissue: { updated: pods.issued, total: pods.selected, ...(startTime === undefined ? {} : { startTime }) } };
}

/** The status of a resource whose spec cannot be read. */
export function unreadableStatus(
  problem: string,
  generation: number,
  previous: DelegatedCredentialStatus,
  now: number,
): DelegatedCredentialStatus {
  const message = `the spec is invalid (${problem}): correct it; nothing is issued or deleted until then`;
  const ready: Ready = { status: 'False', reason: 'SpecInvalid', message };
  return { ...previous, observedGeneration: generation, conditions: withReady(previous, ready, generation, now) };
}

function readiness({ certificate, pods, spec, now }: StatusInput): Ready {
  if (spec.suspend) return no('Suspended', 'spec.suspend is true: nothing is issued, re-issued or deleted');
  if (certificate.kind === 'refused') return no(certificate.reason, certificate.message);
  if (certificate.kind === 'pending') {
    return no(certificate.reason ?? 'Issuing', certificate.message ?? 'reading the certificate Secret');
  }
  const note = endNote(certificate.certificate, spec, now);
  if (pods.selected === 0) return yes('NoPods', `no pods selected: ${whatSelects(spec)}${note}`);
  if (pods.failed > 0) return no('PodsFailed', failuresMessage(pods) + note);
  if (pods.issued < pods.selected) {
    return no('Issuing', `${pods.issued} of ${pods.selected} pods hold a credential of the current certificate${note}`);
  }
  return yes(
    'Issued',
    `${count(pods.selected, 'pod holds', 'pods hold')} a credential of the current certificate${note}`,
  );
}

function yes(reason: ReadyReason, message: string): Ready {
  return { status: 'True', reason, message };
}

function no(reason: ReadyReason, message: string): Ready {
  return { status: 'False', reason, message };
}

function withReady(
  previous: DelegatedCredentialStatus,
  ready: Ready,
  observedGeneration: number,
  now: number,
): Condition[] {
  return withCondition(
    (previous.conditions ?? []) as readonly Condition[],
    { type: 'Ready', ...ready, observedGeneration },
    now,
  );
}

/** The API server takes 32,768 characters; a person reads less. */
const MAX_MESSAGE_LENGTH = 4096;

/** The one way that a condition takes into the status: what strangers wrote into its message is printable, and short. */
function withCondition(
  conditions: readonly Condition[],
  condition: Omit<Condition, 'lastTransitionTime'>,
  now: number,
): Condition[] {
  const message = printable(condition.message, MAX_MESSAGE_LENGTH);
  return [...setCondition(conditions, { ...condition, message }, now * 1000)];
}

/** For a resource that selects by injection: whether its pods were injected. Not part of Ready: their Secrets are issued. */
function withInjected(conditions: Condition[], { generation, now, pods, spec }: StatusInput): Condition[] {
  if (spec.podSelector !== undefined || pods.selected === 0)
    return conditions.filter(({ type }) => type !== 'Injected');
  const { notInjected, selected } = pods;
  const injected = { type: 'Injected', observedGeneration: generation };
  if (notInjected === 0) {
    const message = `${count(selected, 'pod was', 'pods were')} injected`;
    return withCondition(conditions, { ...injected, status: 'True', reason: 'Injected', message }, now);
  }
  const message =
    `${notInjected} of ${selected} pods were not injected and mount no credential: the webhook was not reachable, or it skips this ` +
    "namespace (kube-system and dcred's own always); re-create them once the webhook runs (kubectl rollout restart)";
  return withCondition(conditions, { ...injected, status: 'False', reason: 'PodsNotInjected', message }, now);
}

/** Conditions that are there only while something is wrong. Not part of Ready: the pods are served. */
function withProblems(conditions: Condition[], input: StatusInput): Condition[] {
  const { cleanUp, clockSkewed = false, generation, now, signerProblem } = input;
  const skew = clockSkewed
    ? {
        reason: 'ClockSkew',
        message:
          'the clocks of the operator and of the API server, or of one of several API servers, differ by more than 30 s (metric ' +
          "dcred_clock_skew_seconds): credentials' times are counted by the later one; synchronize the clocks of all nodes (NTP)",
      }
    : undefined;
  const refused =
    cleanUp === undefined
      ? undefined
      : {
          reason: 'CleanUpRefused',
          message: `Secrets of ${count(cleanUp.refused, 'pod', 'pods')} that are no longer needed remain: ${cleanUp.message}`,
        };
  const unavailable =
    signerProblem === undefined
      ? undefined
      : {
          reason: 'SignerUnavailable',
          message: `${signerProblem}: credentials stay valid until they expire, and nothing is issued or re-issued until it answers`,
        };
  const problems = [
    ['ClockSynchronized', skew],
    ['CleanedUp', refused],
    ['SignerAvailable', unavailable],
  ] as const;
  return problems.reduce((all, [type, problem]) => {
    if (problem === undefined) return all.filter((condition) => condition.type !== type);
    return withCondition(all, { type, status: 'False', observedGeneration: generation, ...problem }, now);
  }, conditions);
}

/** Of the certificate: not part of Ready, because all pods are served. */
function withFuture(conditions: Condition[], { certificate, generation, now, spec }: StatusInput): Condition[] {
  if (certificate.kind === 'pending') return conditions;
  const usable = certificate.kind === 'usable' ? certificate.certificate : undefined;
  const reports = [
    ['CertificateExpiring', usable && expiring(usable, spec.lifetimeSeconds, now)],
    ['NextCertificate', nextCertificate(certificate, spec.usage)],
  ] as const;
  return reports.reduce((all, [type, report]) => {
    if (report === undefined) return all.filter((condition) => condition.type !== type);
    return withCondition(all, { type, observedGeneration: generation, ...report }, now);
  }, conditions);
}

function certificateFacts(certificate: DelegationCertificate): NonNullable<DelegatedCredentialStatus['certificate']> {
  const { keyAlgorithm, notAfter, sha256, subject } = certificate;
  const { omitted, shown } = firstItems(certificate.dnsNames, MAX_STATUS_DNS_NAMES);
  const dnsNamesOmitted = omitted + certificate.dnsNamesOmitted;
  return {
    sha256,
    name: printable(subject || (shown[0] ?? '')),
    subject: printable(subject),
    dnsNames: shown.map((name) => printable(name)),
    ...(dnsNamesOmitted > 0 && { dnsNamesOmitted }),
    notAfter: formatRfc3339(notAfter),
    keyAlgorithm,
  };
}

/** From the last lifetime before the certificate expires, credentials get shorter; then there are none. */
function endNote(
  { notAfter }: DelegationCertificate,
  { lifetimeSeconds }: DelegatedCredentialSpec,
  now: number,
): string {
  if (notAfter - now > lifetimeSeconds) return '';
  return `; the certificate expires at ${formatRfc3339(notAfter)} and no credential can outlive it: renew the certificate`;
}

function whatSelects({ podSelector }: DelegatedCredentialSpec): string {
  if (podSelector !== undefined) return 'spec.podSelector matches no running pod in this namespace';
  return `no running pod in this namespace has the label ${INJECT_KEY}=<name of this resource>`;
}

const FAILURES_SHOWN = 3;

function failuresMessage({ failed, failures, selected }: PodTally): string {
  const shown = failures.slice(0, FAILURES_SHOWN).map(({ pod, message }) => `${pod}: ${message}`);
  const more = failed > shown.length ? `; and ${failed - shown.length} more` : '';
  return `${failed} of ${selected} pods cannot be served: ${shown.join('; ')}${more}`;
}

function count(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`;
}
