/** Keeps the status of grants: who uses them. At most once a second for each, and only what differs is written. */
import { isDeepStrictEqual } from 'node:util';
import type { DelegationGrantResource, DelegationGrantStatus } from '../../api/delegation-grant.ts';
import { isReadableGrant, type UnreadableGrant } from '../../api/read-grant.ts';
import { DELEGATION_GRANTS } from '../../api/resource-types.ts';
import { formatObjectKey, type ObjectKey, parseObjectKey } from '../../issued-secret/names.ts';
import { isApiError, isMissing } from '../../kubernetes/api-error.ts';
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import type { Clock } from '../../kubernetes/clock.ts';
import type { Logger } from '../../kubernetes/log.ts';
import type { WorkQueue } from '../../kubernetes/queue/work-queue.ts';
import type { Outcome } from '../../kubernetes/queue/workers.ts';
import type { Access } from '../core/access.ts';
import { type CertificateState, PENDING } from '../core/certificate-state.ts';
import { GRANT_CONDITION_TYPES, grantStatus } from '../core/grant-status.ts';
import { ownPart } from '../core/own-part.ts';
import { NotServedError } from '../owned-client.ts';
import { STATUS_INTERVAL_MS } from '../reporting/status-writer.ts';

const RETRY_MS = 30_000;

export interface GrantControllerOptions {
  readonly client: Pick<ApiClient, 'apply'>;
  readonly grantOf: (grant: ObjectKey) => DelegationGrantResource | UnreadableGrant | undefined;
  /** As it was read, whoever may use it. */
  readonly certificateOf: (secret: ObjectKey) => CertificateState;
  readonly queue: WorkQueue;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Use {
  readonly grantKey: string;
  readonly pods: number;
}

export class GrantController {
  readonly #options: GrantControllerOptions;
  /** By resource. */
  readonly #uses = new Map<string, Use>();
  /** Grant to the resources that use it. */
  readonly #users = new Map<string, Set<string>>();

  constructor(options: GrantControllerOptions) {
    this.#options = options;
  }

  /** A resource uses a grant, or another one, or none any more. @param pods that have a credential */
  used(resourceKey: string, access: Access, pods: number): void {
    const before = this.#uses.get(resourceKey);
    const grant = access.kind === 'granted' ? access.terms.grant : undefined;
    const grantKey = grant === undefined ? undefined : formatObjectKey(grant.metadata);
    if (before !== undefined && before.grantKey !== grantKey) this.#leave(resourceKey, before.grantKey);
    if (grantKey === undefined) return;
    this.#uses.set(resourceKey, { grantKey, pods });
    const users = this.#users.get(grantKey) ?? new Set();
    this.#users.set(grantKey, users.add(resourceKey));
    this.changed(grantKey);
  }

  /** The grant, or what its status shows, may have changed. */
  changed(grantKey: string): void {
    this.#options.queue.addAfter(grantKey, STATUS_INTERVAL_MS);
  }

  async reconcile(grantKey: string, signal: AbortSignal): Promise<Outcome> {
    const { client, clock, grantOf, log } = this.#options;
    const grant = grantOf(parseObjectKey(grantKey));
    if (grant === undefined) return { kind: 'done' };
    const { generation, name, namespace, uid } = grant.metadata;
    const previous = ownPart(grant.status, GRANT_CONDITION_TYPES);
    const status = grantStatus({
      generation,
      previous,
      problem: isReadableGrant(grant) ? undefined : grant.problem,
      users: this.#usersOf(grantKey),
      certificate: this.#certificateOf(grantKey, grant),
      now: Math.floor(clock.now() / 1000),
    });
    if (isDeepStrictEqual(plain(previous), plain(status))) return { kind: 'done' };
    try {
      const applied = { metadata: { name, namespace, uid }, status };
      await client.apply(DELEGATION_GRANTS, applied, {
        signal,
        subresource: 'status',
        force: true,
        metadataOnly: true,
      });
    } catch (error) {
      // Gone, or for another replica to write.
      const isDone = isMissing(error) || isApiError(error, 'Conflict') || error instanceof NotServedError;
      if (isDone) return { kind: 'done' };
      return { kind: 'retry', error, maxDelayMs: RETRY_MS };
    }
    log.debug({ namespace, grant: name }, 'wrote the status of a grant');
    return { kind: 'done' };
  }

  #leave(resourceKey: string, grantKey: string): void {
    this.#uses.delete(resourceKey);
    const users = this.#users.get(grantKey);
    users?.delete(resourceKey);
    if (users?.size === 0) this.#users.delete(grantKey);
    this.changed(grantKey);
  }

  #usersOf(grantKey: string): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const resourceKey of this.#users.get(grantKey) ?? []) {
      const { namespace } = parseObjectKey(resourceKey);
      counts.set(namespace, (counts.get(namespace) ?? 0) + (this.#uses.get(resourceKey)?.pods ?? 0));
    }
    return counts;
  }

  #certificateOf(grantKey: string, grant: DelegationGrantResource | UnreadableGrant): CertificateState {
    if (!isReadableGrant(grant) || !this.#users.has(grantKey)) return PENDING;
    return this.#options.certificateOf({ namespace: grant.metadata.namespace, name: grant.spec.certificateRef.name });
  }
}

function plain(status: DelegationGrantStatus): unknown {
  return JSON.parse(JSON.stringify(status));
}
