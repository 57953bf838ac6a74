/**
 * Publishes scheduled audits: the condition `Serving` on each resource, and an Event on each pod whose state changed. The condition has
 * a field manager of its own: the operator neither writes nor removes it.
 */
import { type DelegatedCredentialResource, KIND } from '../api/delegated-credential.ts';
import { API_GROUP, API_VERSION } from '../api/keys.ts';
import type { UnreadableResource } from '../api/read.ts';
import { DELEGATED_CREDENTIALS } from '../api/resource-types.ts';
import { isApiError, isMissing } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import { setCondition } from '../kubernetes/conditions.ts';
import type { EventRecorder } from '../kubernetes/events/event-recorder.ts';
import type { Logger } from '../kubernetes/log.ts';
import type { Condition } from '../kubernetes/objects.ts';
import type { AuditEntry, AuditResult } from './result.ts';
import { podNotice, SERVING, servingCondition } from './serving-condition.ts';
import type { AuditState } from './verdict.ts';

export interface PublisherOptions {
  /** Its field manager is the condition's owner. */
  readonly client: Pick<ApiClient, 'apply'>;
  readonly events: Pick<EventRecorder, 'record'>;
  readonly log: Logger;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

type Resource = DelegatedCredentialResource | UnreadableResource;

export class Publisher {
  readonly #options: PublisherOptions;
  /** By the pod's uid and the resource: what the audit before found. */
  #states: ReadonlyMap<string, AuditState> = new Map();

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /** `resources`: all that were read, those that were not audited included. A refused write is logged, and tried at the next audit. */
  async publish(result: AuditResult, resources: readonly Resource[], signal: AbortSignal): Promise<void> {
    this.#notify(result.entries);
    const entriesOf = Map.groupBy(result.entries, ({ subject }) => subject.resource);
    for (const summary of result.resources) {
      const next = servingCondition(summary, entriesOf.get(summary.resource) ?? []);
      const before = conditionsOf(summary.resource);
      const after = setCondition(before, next, this.#options.now());
      if (after !== before)
        await this.#write(
          summary.resource,
          after.filter(({ type }) => type === SERVING),
          signal,
        );
    }
    const audited = new Set<Resource>(result.resources.map(({ resource }) => resource));
    for (const resource of resources) {
      // It was audited once, and is no more: what that audit said would stay for ever.
      if (!audited.has(resource) && conditionsOf(resource).length > 0) await this.#write(resource, [], signal);
    }
  }

  #notify(entries: readonly AuditEntry[]): void {
    const states = new Map<string, AuditState>();
    for (const entry of entries) {
      const { pod, resource } = entry.subject;
      const key = `${pod.uid}/${resource.metadata.name}`;
      states.set(key, entry.verdict.state);
      const notice = podNotice(entry, this.#states.get(key));
      if (notice === undefined) continue;
      const regarding = { apiVersion: 'v1', kind: 'Pod', namespace: pod.namespace, name: pod.name, uid: pod.uid };
      const { name, namespace, uid } = resource.metadata;
      const related = { apiVersion: `${API_GROUP}/${API_VERSION}`, kind: KIND, namespace, name, uid };
      this.#options.events.record({ ...notice, regarding, related, action: 'Audit' });
    }
    this.#states = states;
  }

  async #write({ metadata }: Resource, conditions: readonly Condition[], signal: AbortSignal): Promise<void> {
    const { client, log } = this.#options;
    const { name, namespace, uid } = metadata;
    const options = { signal, subresource: 'status', metadataOnly: true, force: true };
    try {
      await client.apply(DELEGATED_CREDENTIALS, withStatus({ name, namespace, uid }, conditions), options);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      // Gone, or re-created under its name.
      if (isMissing(error) || isApiError(error, 'Conflict')) return;
      log.warn({ namespace, resource: name, err: error }, 'failed to write the condition Serving');
    }
  }
}

function withStatus(metadata: object, conditions: readonly Condition[]) {
  return { metadata, status: { conditions } };
}

function conditionsOf({ status }: Resource): readonly Condition[] {
  return ((status.conditions ?? []) as readonly Condition[]).filter(({ type }) => type === SERVING);
}
