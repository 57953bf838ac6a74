/**
 * The steps that one (resource, pod) needs: a pure function of what was observed and the time. No I/O, no clock.
 *
 * The reason of a step is the same word in the Event, the metric and the log.
 */
import type { DelegatedCredentialSpec } from '../../api/delegated-credential.ts';
import { MANAGED_BY_LABEL, OWN_PREFIX } from '../../api/keys.ts';
import { CLOCK_SKEW_SECONDS } from '../../credential/lifetime.ts';
import {
  type CredentialFacts,
  type ExtraMetadata,
  type IssuedSecret,
  LAST_APPLIED,
} from '../../issued-secret/issued-secret.ts';
import { sameEntries } from './pod.ts';
import { renewalTime } from './schedule.ts';

/** Why a credential is issued, in the order of the policies. */
export const ISSUE_REASONS = [
  'Missing',
  'Modified',
  'CertificateChanged',
  'SpecChanged',
  'LifetimeExceeded',
  'RenewRequested',
  'RenewalDue',
] as const;
export type IssueReason = (typeof ISSUE_REASONS)[number];

/** Why a Secret is deleted. */
export const DELETE_REASONS = [
  'ResourceGone',
  'PodGone',
  'NotSelected',
  'PodReplaced',
  'Renamed',
  'GrantWithdrawn',
] as const;
export type DeleteReason = (typeof DELETE_REASONS)[number];

/** Why a selected pod cannot be served. */
export const FAILURE_REASONS = ['SecretNameInvalid', 'SecretNameTaken'] as const;
export type FailureReason = (typeof FAILURE_REASONS)[number];

interface ObservedPod {
  readonly uid: string;
  readonly terminating: boolean;
  /** Selected by the resource. */
  readonly selected: boolean;
  /** Not scheduled until this resource's gate is removed. */
  readonly gated: boolean;
}

/** All times in seconds since the epoch. */
export interface Observed {
  readonly now: number;
  /** Undefined: the resource is gone. */
  readonly spec: DelegatedCredentialSpec | undefined;
  /** Credentials older than this are to be re-issued: see `requestedRenewal`. */
  readonly renewRequestedAt?: number | undefined;
  /** Undefined: the pod is gone, or has ended. */
  readonly pod: ObservedPod | undefined;
  /** No grant permits the use of the certificate: never true while that is not known. */
  readonly withdrawn?: boolean;
  /** What the grant says of Secrets that outlive it. */
  readonly onWithdraw?: 'Keep' | 'Delete' | undefined;
  /** The name of the pod's Secret; undefined where its annotation is no valid name. */
  readonly secretName: string | undefined;
  /** The uid of a Secret that somebody else may have written under dcred's name: see `SuspectWrites`. */
  readonly suspect?: string | undefined;
  /** Every Secret issued for this (resource, pod), by any name. */
  readonly secrets: readonly IssuedSecret[];
  /** A Secret of that name which was issued for another (resource, pod). */
  readonly nameHolder: IssuedSecret | undefined;
  /** The certificate, where it can be used now. No credential of it expires after `latestExpiry`. */
  readonly certificate:
    | { readonly sha256: string; readonly chainSha256: string; readonly latestExpiry: number }
    | undefined;
}

export type Step =
  | { readonly kind: 'issue'; readonly reason: IssueReason; readonly name: string; readonly replaces?: IssuedSecret }
  /** Whether the Secret holds what its annotations say: if not, it is issued again. */
  | { readonly kind: 'verify'; readonly secret: IssuedSecret }
  /** A new chain under the same leaf: `tls.crt` and what is made from it; key and credential stay. */
  | { readonly kind: 'rechain'; readonly secret: IssuedSecret }
  /** The Secret exists: let the pod be scheduled. */
  | { readonly kind: 'ungate' }
  /** Labels and annotations only: the credential stays. */
  | { readonly kind: 'annotate'; readonly secret: IssuedSecret; readonly renewAt: number }
  | { readonly kind: 'delete'; readonly reason: DeleteReason; readonly secret: IssuedSecret };

export interface Plan {
  /** What the pod needs to be served, in this order: a failure stops the rest. */
  readonly steps: readonly Step[];
  /** Each by itself, after `steps`, whatever becomes of the others. */
  readonly cleanUp: readonly Step[];
  /** Reconcile again then, in seconds since the epoch. */
  readonly wakeAt?: number;
  /** The pod cannot be served, for this reason. */
  readonly failure?: FailureReason;
}

const NO_STEPS: readonly Step[] = Object.freeze([]);

export function plan(observed: Observed): Plan {
  const { spec, pod, secrets, secretName, nameHolder, certificate, now } = observed;
  if (spec?.suspend === true) return { steps: suspended(observed), cleanUp: NO_STEPS };
  if (spec === undefined) return { steps: NO_STEPS, cleanUp: deletions(secrets, 'ResourceGone') };
  if (pod === undefined) return { steps: NO_STEPS, cleanUp: deletions(secrets, 'PodGone') };
  if (!pod.selected) return { steps: NO_STEPS, cleanUp: deletions(secrets, 'NotSelected') };

  // A StatefulSet re-creates a pod under its name: what the predecessor had is void.
  const replaced = secrets.filter((secret) => secret.podUid !== pod.uid);
  const own = secrets.filter((secret) => secret.podUid === pod.uid);

  if (observed.withdrawn === true && own.some(({ deleteOnWithdraw }) => deleteOnWithdraw)) {
    const withdrawn = own.filter(({ deleteOnWithdraw }) => deleteOnWithdraw);
    const cleanUp = [...deletions(replaced, 'PodReplaced'), ...deletions(withdrawn, 'GrantWithdrawn')];
    return { steps: NO_STEPS, cleanUp };
  }

  if (secretName === undefined) {
    return { steps: NO_STEPS, cleanUp: deletions(replaced, 'PodReplaced'), failure: 'SecretNameInvalid' };
  }
  if (nameHolder !== undefined) {
    return { steps: NO_STEPS, cleanUp: deletions(replaced, 'PodReplaced'), failure: 'SecretNameTaken' };
  }

  const current = own.find((secret) => secret.name === secretName);
  const renamed = own.filter((secret) => secret.name !== secretName);
  const leftovers = [...deletions(replaced, 'PodReplaced'), ...deletions(renamed, 'Renamed')];
  // Without a certificate nothing can be issued, and what exists is better than nothing.
  if (certificate === undefined) {
    const cleanUp = deletions(replaced, 'PodReplaced');
    return { steps: isGood(current, undefined, now) ? lift(pod) : NO_STEPS, cleanUp };
  }
  if (current === undefined) {
    // A terminating pod keeps what it has and gets nothing new.
    if (pod.terminating) return { steps: NO_STEPS, cleanUp: deletions(replaced, 'PodReplaced') };
    // A predecessor's Secret of that name is written over: a finalizer may keep it from going, and the pod need not wait.
    const predecessor = replaced.find((secret) => secret.name === secretName);
    const replaces = predecessor === undefined ? {} : { replaces: predecessor };
    const issue: Step = { kind: 'issue', reason: 'Missing', name: secretName, ...replaces };
    return { steps: [issue, ...lift(pod)], cleanUp: leftovers.filter(({ secret }) => secret !== predecessor) };
  }

  const verdict = check(current, spec, certificate, observed);
  if (verdict.reason !== undefined) {
    const issue: Step = { kind: 'issue', reason: verdict.reason, name: secretName, replaces: current };
    return { steps: [issue, ...lift(pod)], cleanUp: leftovers };
  }
  const { renewAt } = verdict;
  const wake = renewAt === undefined ? {} : { wakeAt: renewAt };
  const lifted = isGood(current, certificate, now) ? lift(pod) : NO_STEPS;
  // Labels and annotations go with the same write.
  if (current.facts?.chainSha256 !== certificate.chainSha256) {
    return { steps: [...lifted, { kind: 'rechain', secret: current }], cleanUp: leftovers, ...wake };
  }
  const verify: readonly Step[] = observed.suspect === current.uid ? [{ kind: 'verify', secret: current }] : NO_STEPS;
  const steps = [...verify, ...lifted];
  if (!metadataDiffers(current, spec, renewAt, observed.onWithdraw)) return { steps, cleanUp: leftovers, ...wake };
  const annotate: Step = { kind: 'annotate', secret: current, renewAt: renewAt ?? current.facts?.renewAt ?? 0 };
  return { steps, cleanUp: [annotate, ...leftovers], ...wake };
}

/** Nothing is issued or deleted; but a pod whose Secret is good need not wait for a person. */
function suspended({ certificate, now, pod, secretName, secrets }: Observed): readonly Step[] {
  if (pod === undefined) return NO_STEPS;
  const current = secrets.find(({ name, podUid }) => name === secretName && podUid === pod.uid);
  return isGood(current, certificate, now) ? lift(pod) : NO_STEPS;
}

/** Whether a server that starts with this Secret now has a credential that clients accept, as far as can be known. */
function isGood(secret: IssuedSecret | undefined, certificate: Observed['certificate'], now: number): boolean {
  if (secret?.facts === undefined || !secret.intact || secret.facts.expiresAt <= now) return false;
  return certificate === undefined || secret.facts.certificateSha256 === certificate.sha256;
}

/** A gated pod waits for nothing else. */
function lift({ gated, terminating }: ObservedPod): readonly Step[] {
  return gated && !terminating ? [{ kind: 'ungate' }] : NO_STEPS;
}

type Deletion = Extract<Step, { kind: 'delete' }>;

function deletions(secrets: readonly IssuedSecret[], reason: DeleteReason): readonly Deletion[] {
  return secrets.map((secret) => ({ kind: 'delete', reason, secret }));
}

interface Verdict {
  /** Undefined: the credential is good. */
  readonly reason?: IssueReason;
  /** When a good credential is re-issued; undefined where that would gain nothing. */
  readonly renewAt?: number;
}

/** The ladder of policies; the first that holds gives the reason. */
function check(
  { facts, intact, podUid }: IssuedSecret,
  spec: DelegatedCredentialSpec,
  certificate: NonNullable<Observed['certificate']>,
  { now, renewRequestedAt }: Pick<Observed, 'now' | 'renewRequestedAt'>,
): Verdict {
  if (!intact || facts === undefined) return { reason: 'Modified' };
  if (facts.certificateSha256 !== certificate.sha256) return { reason: 'CertificateChanged' };
  if (facts.usage !== spec.usage || facts.keyAlgorithm !== spec.keyAlgorithm) return { reason: 'SpecChanged' };
  if (facts.expiresAt - now > spec.lifetimeSeconds + clockSlack(spec.lifetimeSeconds)) {
    return { reason: 'LifetimeExceeded' };
  }
  const requestedAt = requestedRenewal(facts, renewRequestedAt);
  if (requestedAt !== undefined && now >= requestedAt) return { reason: 'RenewRequested' };
  const renewAt = nextRenewal(facts, podUid, spec, certificate.latestExpiry);
  if (renewAt === undefined) return {};
  return now >= renewAt ? { reason: 'RenewalDue' } : { renewAt };
}

/**
 * When a request to re-issue takes effect (seconds since the epoch). Times are whole seconds, so it counts from the next whole
 * one: what is issued from then on is never older than it, and one request re-issues a credential once, however often it is
 * reconciled and whatever the requester's clock says. A request from a clock that is ahead waits until this clock reaches it: the
 * resource waits, and enqueues its pods then (`ResourceController`).
 */
export function requestMoment(renewRequestedAt: number): number {
  return Math.ceil(renewRequestedAt);
}

/** When a credential is re-issued on request; undefined where it is newer than the request. */
export function requestedRenewal(
  { issuedAt }: Pick<CredentialFacts, 'issuedAt'>,
  renewRequestedAt: number | undefined,
): number | undefined {
  if (renewRequestedAt === undefined) return undefined;
  const moment = requestMoment(renewRequestedAt);
  return issuedAt < moment ? moment : undefined;
}

/**
 * When a good credential is re-issued (seconds since the epoch). Undefined where the certificate limits its life: a new one
 * would expire at the same moment.
 */
export function nextRenewal(
  facts: CredentialFacts,
  podUid: string,
  spec: DelegatedCredentialSpec,
  latestExpiry: number,
): number | undefined {
  if (facts.expiresAt >= latestExpiry) return undefined;
  return renewalTime({ ...facts, ...spec, podUid });
}

/**
 * A longer life than configured means that the lifetime was shortened, or that the clock was set back. Two operators' clocks may
 * differ a little, which is neither. With the longest lifetime this stays within seven days (RFC 9345 section 4.1.3).
 */
function clockSlack(lifetimeSeconds: number): number {
  return Math.min(CLOCK_SKEW_SECONDS, Math.max(30, lifetimeSeconds * 0.05));
}

function metadataDiffers(
  { deleteOnWithdraw, facts, foreign, template }: IssuedSecret,
  spec: DelegatedCredentialSpec,
  renewAt: number | undefined,
  onWithdraw: Observed['onWithdraw'],
): boolean {
  if ((deleteOnWithdraw === true) !== (onWithdraw === 'Delete')) return true;
  if (renewAt !== undefined && renewAt !== facts?.renewAt) return true;
  const wanted = wantedMetadata(spec);
  return (
    entriesDiffer(template.labels, foreign.labels, wanted.labels) ||
    entriesDiffer(template.annotations, foreign.annotations, wanted.annotations)
  );
}

type Entries = Readonly<Record<string, string>>;

/** An entry that another client put there with the wanted value stays theirs: writing it again changes nothing. */
function entriesDiffer(ours: Entries, theirs: Entries, wanted: Entries): boolean {
  return !sameEntries({ ...ours, ...pick(theirs, wanted) }, wanted);
}

function pick(entries: Entries, keys: Entries): Entries {
  return Object.fromEntries(Object.entries(entries).filter(([key]) => Object.hasOwn(keys, key)));
}

/**
 * What `secretTemplate` asks for, less what it may not: the CRD refuses dcred's own keys, but an older one may have let them pass, and a
 * label of dcred's that is written over loses the Secret. kubectl's copy of an object is never kept on a Secret (`issued-secret.ts`).
 */
export function wantedMetadata({ secretTemplate }: DelegatedCredentialSpec): ExtraMetadata {
  return { labels: permitted(secretTemplate?.labels), annotations: permitted(secretTemplate?.annotations) };
}

function permitted(entries: Entries = {}): Entries {
  const refused = (key: string) => key.startsWith(OWN_PREFIX) || key === MANAGED_BY_LABEL || key === LAST_APPLIED;
  if (!Object.keys(entries).some(refused)) return entries;
  return Object.fromEntries(Object.entries(entries).filter(([key]) => !refused(key)));
}
