/** Reports what happened as an Event, a metric and a log line, with the same reason in each. Identifiers only, no content. */
import { type DelegatedCredentialResource, KIND } from '../../api/delegated-credential.ts';
import { API_GROUP, API_VERSION, RENEW_REQUESTED_AT } from '../../api/keys.ts';
import type { IssuedSecret } from '../../issued-secret/issued-secret.ts';
import type { PodKey } from '../../issued-secret/names.ts';
import type { Clock } from '../../kubernetes/clock.ts';
import type { EventInput, EventSubject } from '../../kubernetes/events/event-recorder.ts';
import type { Logger } from '../../kubernetes/log.ts';
import type { PodWarning, PodWarningReason } from '../core/missed-injection.ts';
import type { DeleteReason, IssueReason } from '../core/plan.ts';
import type { Pod } from '../core/pod.ts';
import type { ReadyReason } from '../core/status.ts';
import type { PodFailure, PodFailureReason } from '../pod-failure.ts';
import { IssueLog } from './issue-log.ts';
import type { OperatorMetrics } from './metrics.ts';

/** Of Events on a resource, beside the reasons of what was issued and of the Ready condition. */
export const RESOURCE_EVENT_REASONS = [
  'CertificateExpiring',
  'ChainChanged',
  'CleanUpRefused',
  'ReissueFinished',
  'ReissueStarted',
  'RenewRequestUnreadable',
] as const;

/** A reason that is in none of these lists has no section in docs/troubleshooting.md. */
type EventReason =
  | IssueReason
  | PodFailureReason
  | PodWarningReason
  | ReadyReason
  | (typeof RESOURCE_EVENT_REASONS)[number];

export interface ReporterOptions {
  readonly events: { record(event: EventInput & { readonly reason: EventReason }): void };
  readonly metrics: OperatorMetrics;
  readonly log: Logger;
  readonly clock: Clock;
}

type Metadata = DelegatedCredentialResource['metadata'];

export class Reporter {
  readonly #options: ReporterOptions;
  readonly #issueLog: IssueLog;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#issueLog = new IssueLog(options);
  }

  issued({ metadata }: DelegatedCredentialResource, pod: Pod, reason: IssueReason, seconds: number): void {
    const { events, metrics } = this.#options;
    metrics.issued(reason, seconds);
    this.#issueLog.issued({ namespace: pod.namespace, resource: metadata.name, pod: pod.name, reason });
    // Two Events for the whole wave: see `reissue`.
    if (reason === 'CertificateChanged') return;
    events.record({
      regarding: resourceSubject(metadata),
      type: 'Normal',
      reason,
      action: 'Issue',
      note: ISSUE_NOTES[reason],
    });
  }

  /** Logs what is still counted. */
  flush(): void {
    this.#issueLog.flush();
  }

  deleted({ name, namespace, podName, resourceName: resource }: IssuedSecret, reason: DeleteReason): void {
    this.#options.metrics.deleted(reason);
    this.#options.log.info({ namespace, resource, pod: podName, secret: name, reason }, 'deleted a Secret');
  }

  chainPublished({ metadata }: DelegatedCredentialResource, pod: Pod): void {
    const { events, log, metrics } = this.#options;
    const reason = 'ChainChanged';
    metrics.chainPublished();
    log.info({ namespace: pod.namespace, resource: metadata.name, pod: pod.name, reason }, 'published a new chain');
    const note = 'published a new certificate chain: the leaf, the key and the credential are the same';
    events.record({ regarding: resourceSubject(metadata), type: 'Normal', reason, action: 'Issue', note });
  }

  /** A Secret that is no longer needed stays, or its labels do. `resource` is undefined where the resource is gone. */
  cleanUpFailed(
    resource: DelegatedCredentialResource | undefined,
    { namespace, pod, resourceName }: PodKey,
    { message }: PodFailure,
  ): void {
    const { events, log, metrics } = this.#options;
    const reason = 'CleanUpRefused';
    metrics.cleanUpFailed();
    log.warn({ namespace, resource: resourceName, pod, reason, detail: message }, 'failed to clean up');
    if (resource === undefined) return;
    const regarding = resourceSubject(resource.metadata);
    events.record({ regarding, type: 'Warning', reason, action: 'CleanUp', note: `pod "${pod}": ${message}` });
  }

  /** Every attempt counts; what is not news is not said again. */
  podFailed(pod: Pod, { metadata }: DelegatedCredentialResource, failure: PodFailure, isNews: boolean): void {
    const { events, log, metrics } = this.#options;
    metrics.failed(failure.code);
    if (!isNews) return;
    log.warn(
      {
        namespace: pod.namespace,
        resource: metadata.name,
        pod: pod.name,
        reason: failure.code,
        detail: failure.message,
      },
      'pod cannot be served',
    );
    events.record({
      regarding: podSubject(pod),
      related: resourceSubject(metadata),
      type: 'Warning',
      reason: failure.code,
      action: 'Issue',
      note: `DelegatedCredential "${metadata.name}": ${failure.message}`,
    });
  }

  /** `dcred.dev/renew-requested-at` is not a time. */
  renewRequestUnreadable(metadata: Metadata): void {
    const { events, log } = this.#options;
    const reason = 'RenewRequestUnreadable';
    const note = `annotation ${RENEW_REQUESTED_AT} is not a time: write RFC 3339 such as 2026-11-22T22:00:00Z, or use "dcred renew"`;
    log.warn(
      { namespace: metadata.namespace, resource: metadata.name, reason },
      'ignoring an unreadable renew request',
    );
    events.record({ regarding: resourceSubject(metadata), type: 'Warning', reason, action: 'Reconcile', note });
  }

  /** Something about a pod that its owner has to fix, though nothing failed. */
  podWarned(pod: Pod, resourceName: string, { note, reason }: PodWarning): void {
    const { events, log, metrics } = this.#options;
    metrics.podWarned(reason);
    log.warn(
      { namespace: pod.namespace, resource: resourceName, pod: pod.name, reason },
      'pod cannot use its credential',
    );
    const subject = { ...resourceReference, namespace: pod.namespace, name: resourceName };
    // There may be no resource of that name, and none is meant where the pod's own metadata is wrong.
    const related = resourceName === '' ? undefined : subject;
    events.record({ regarding: podSubject(pod), related, type: 'Warning', reason, action: 'Inject', note });
  }

  /** A new leaf: all credentials are re-issued from it, or have been. */
  reissue(metadata: Metadata, reason: 'ReissueStarted' | 'ReissueFinished', pods: number): void {
    const { events, log } = this.#options;
    const { name, namespace } = metadata;
    const started = reason === 'ReissueStarted';
    log.info({ namespace, resource: name, reason, pods }, started ? 're-issue started' : 're-issue finished');
    const note = started
      ? `the certificate has changed: the credentials of ${pods} pods are re-issued, soonest expiry first`
      : `the credentials of ${pods} pods are re-issued from the new certificate, except of pods that cannot be served`;
    events.record({ regarding: resourceSubject(metadata), type: 'Normal', reason, action: 'Issue', note });
  }

  certificateExpiring(metadata: Metadata, message: string): void {
    const { events, log } = this.#options;
    const reason = 'CertificateExpiring';
    log.warn({ namespace: metadata.namespace, resource: metadata.name, reason }, 'the certificate expires soon');
    events.record({
      regarding: resourceSubject(metadata),
      type: 'Warning',
      reason,
      action: 'Reconcile',
      note: message,
    });
  }

  /** The Ready condition has a new reason. */
  readyChanged(
    metadata: Metadata,
    ready: { readonly reason: ReadyReason; readonly ok: boolean; readonly message: string },
  ): void {
    const { events, log } = this.#options;
    const { name, namespace } = metadata;
    log.info({ namespace, resource: name, reason: ready.reason, detail: ready.message }, 'Ready condition changed');
    if (ready.ok || !NOTEWORTHY.has(ready.reason)) return;
    events.record({
      regarding: resourceSubject(metadata),
      type: 'Warning',
      reason: ready.reason,
      action: 'Reconcile',
      note: ready.message,
    });
  }
}

/** One text for each reason, so that a fleet's Events become one Event with a count. The log names the pods. */
const ISSUE_NOTES: Readonly<Record<IssueReason, string>> = {
  Missing: 'issued a credential to a pod that had none',
  Modified: 're-issued a credential: another client changed its Secret',
  CertificateChanged: 're-issued a credential: the certificate changed',
  SpecChanged: 're-issued a credential: spec.usage or spec.keyAlgorithm changed',
  LifetimeExceeded: 're-issued a credential: the old one would live longer than spec.lifetimeSeconds',
  RenewRequested: `re-issued a credential: ${RENEW_REQUESTED_AT} requested it`,
  RenewalDue: 're-issued a credential: its renewal was due',
};

/** Reasons that a person has to act on; Issuing passes and Suspended is intended. */
const NOTEWORTHY: ReadonlySet<ReadyReason> = new Set([
  'CertificateNotFound',
  'CertificateNotPermitted',
  'CertificateInvalid',
  'CertificateCannotDelegate',
  'CertificateKeyUnsupported',
  'SpecInvalid',
  'SignerUnavailable',
  'PodsFailed',
]);

const resourceReference = { apiVersion: `${API_GROUP}/${API_VERSION}`, kind: KIND } as const;

function resourceSubject({ name, namespace, uid }: Metadata): EventSubject {
  return { ...resourceReference, namespace, name, uid };
}

function podSubject({ name, namespace, uid }: Pod): EventSubject {
  return { apiVersion: 'v1', kind: 'Pod', namespace, name, uid };
}
