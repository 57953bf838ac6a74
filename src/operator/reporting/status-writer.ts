/**
 * Keeps the status of resources as it should be, whoever else writes it. Level-based: what should be is compared with what the
 * API server has, so that a foreign or a late write is corrected; only while the cache is behind our own last write does that
 * write stand for it.
 */
import { isDeepStrictEqual } from 'node:util';
import type { DelegatedCredentialResource, DelegatedCredentialStatus } from '../../api/delegated-credential.ts';
import { DELEGATED_CREDENTIALS } from '../../api/resource-types.ts';
import { isMissing } from '../../kubernetes/api-error.ts';
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import type { Clock } from '../../kubernetes/clock.ts';
import type { Outcome } from '../../kubernetes/queue/workers.ts';
import type { Caches } from '../caches.ts';
import { ownPart } from '../core/own-part.ts';
import { RestorationGuard } from '../core/restoration-guard.ts';
import { CONDITION_TYPES as OWN_CONDITIONS, type ReadyReason } from '../core/status.ts';
import type { Reporter } from './reporter.ts';

export const STATUS_INTERVAL_MS = 1_000;
const STATUS_RETRY_MS = 30_000;
/** The longest between two corrections of a status that another client keeps changing. */
const CORRECTION_MS = 300_000;
/** A write that the cache has not shown after this long is not waited for: etcd may have been restored from before it. */
const UNSEEN_MS = 60_000;

type Target = Pick<DelegatedCredentialResource, 'metadata' | 'status'>;

interface Written {
  readonly uid: string;
  readonly status: DelegatedCredentialStatus;
  readonly resourceVersion: string | undefined;
  readonly atMs: number;
}

export interface StatusWriterOptions {
  readonly client: Pick<ApiClient, 'apply' | 'mergePatch'>;
  readonly caches: { readonly resources: Pick<Caches['resources'], 'isAtLeast'> };
  readonly reporter: Pick<Reporter, 'certificateExpiring' | 'readyChanged' | 'reissue'>;
  readonly clock: Clock;
}

export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #written = new Map<string, Written>();
  /** Being written: the watch may show it before the answer comes. */
  readonly #writing = new Map<string, DelegatedCredentialStatus>();
  readonly #corrections = new RestorationGuard();

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /** What the next status is computed from: conditions keep their times as long as this process knows them. */
  previous(key: string, { metadata, status }: Target): DelegatedCredentialStatus {
    return this.#last(key, metadata.uid)?.status ?? ownPart(status, OWN_CONDITIONS);
  }

  /** Whether it has the status that we wrote last, or are writing. */
  isOwn(key: string, { metadata, status }: Target): boolean {
    const own = [this.#writing.get(key), this.#last(key, metadata.uid)?.status];
    return own.some((one) => one !== undefined && same(ownPart(status, OWN_CONDITIONS), one));
  }

  forget(key: string): void {
    this.#written.delete(key);
  }

  /** Writes a status that differs; returns an outcome when it has to wait or failed. */
  async write(
    key: string,
    resource: Target,
    status: DelegatedCredentialStatus,
    signal: AbortSignal,
  ): Promise<Outcome | undefined> {
    const { metadata } = resource;
    const last = this.#last(key, metadata.uid);
    const isBehind = last !== undefined && this.#isBehind(last, metadata.namespace);
    const found = isBehind ? last.status : ownPart(resource.status, OWN_CONDITIONS);
    if (same(found, status)) return undefined;
    const isCorrection = last !== undefined && same(last.status, status);
    const allowedMs = this.#allowedAt(key, last, isCorrection);
    if (this.#options.clock.now() < allowedMs) return { kind: 'at', timeMs: allowedMs };
    this.#writing.set(key, status);
    try {
      const resourceVersion = await this.#apply(resource, status, isCorrection && !isBehind, signal);
      this.#written.set(key, { uid: metadata.uid, status, resourceVersion, atMs: this.#options.clock.now() });
    } catch (error) {
      if (isMissing(error)) return { kind: 'done' };
      return { kind: 'retry', error, maxDelayMs: STATUS_RETRY_MS };
    } finally {
      this.#writing.delete(key);
    }
    if (isCorrection) this.#corrections.restored(key, metadata.uid, this.#options.clock.now());
    this.#announce(metadata, last?.status ?? ownPart(resource.status, OWN_CONDITIONS), status);
    return undefined;
  }

  #last(key: string, uid: string): Written | undefined {
    const last = this.#written.get(key);
    return last?.uid === uid ? last : undefined;
  }

  #isBehind({ atMs, resourceVersion }: Written, namespace: string): boolean {
    const { caches, clock } = this.#options;
    const age = clock.now() - atMs;
    if (resourceVersion === undefined || age < 0 || age > UNSEEN_MS) return false;
    return !caches.resources.isAtLeast(namespace, resourceVersion);
  }

  /** At most once a second; another client that keeps changing it is corrected less and less often. */
  #allowedAt(key: string, last: Written | undefined, isCorrection: boolean): number {
    const now = this.#options.clock.now();
    // A clock that was set back does not put it off.
    if (last === undefined || now < last.atMs) return now;
    const paced = last.atMs + STATUS_INTERVAL_MS;
    if (!isCorrection) return paced;
    return Math.max(paced, this.#corrections.allowedAt(key, last.uid, now, CORRECTION_MS));
  }

  /**
   * Server-side apply: what we no longer apply is removed, conditions of others stay. With the uid, the API server refuses it for a
   * resource that was re-created under the same name. What another client added and we never set, no apply removes.
   */
  async #apply(
    { metadata, status: found }: Target,
    status: DelegatedCredentialStatus,
    removeStrays: boolean,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { client } = this.#options;
    const { name, namespace, resourceVersion, uid } = metadata;
    const options = { signal, subresource: 'status', metadataOnly: true };
    const strays = removeStrays ? straysOf(found, status) : undefined;
    if (strays !== undefined) {
      const patch = { metadata: { uid, resourceVersion }, status: strays };
      await client.mergePatch(DELEGATED_CREDENTIALS, { namespace, name }, patch, options);
    }
    const applied = { metadata: { name, namespace, uid }, status };
    const written = await client.apply(DELEGATED_CREDENTIALS, applied, { ...options, force: true });
    return written?.metadata.resourceVersion;
  }

  #announce(
    metadata: DelegatedCredentialResource['metadata'],
    before: DelegatedCredentialStatus,
    after: DelegatedCredentialStatus,
  ): void {
    const { reporter } = this.#options;
    const total = after.pods?.selected ?? 0;
    const isNewLeaf = before.certificate !== undefined && before.certificate.sha256 !== after.certificate?.sha256;
    if (isNewLeaf && total > 0) reporter.reissue(metadata, 'ReissueStarted', total);
    const wasUnderWay = before.reissue !== undefined || (isNewLeaf && total > 0);
    if (wasUnderWay && after.reissue === undefined) reporter.reissue(metadata, 'ReissueFinished', total);
    const warning = conditionOf(after, 'CertificateExpiring');
    if (warning !== undefined && conditionOf(before, 'CertificateExpiring') === undefined) {
      reporter.certificateExpiring(metadata, warning.message);
    }
    const was = conditionOf(before, 'Ready');
    const is = conditionOf(after, 'Ready');
    if (is === undefined || was?.reason === is.reason) return;
    const reason = is.reason as ReadyReason;
    reporter.readyChanged(metadata, { reason, ok: is.status === 'True', message: is.message });
  }
}

/** A merge patch that removes what is in our part and should not be; undefined where there is nothing. */
function straysOf(found: DelegatedCredentialStatus, wanted: DelegatedCredentialStatus): object | undefined {
  const fields = Object.keys(found).filter((field) => field !== 'conditions' && !Object.hasOwn(wanted, field));
  const wantedTypes = new Set(wanted.conditions?.map(({ type }) => type));
  const conditions = found.conditions ?? [];
  const kept = conditions.filter(({ type }) => wantedTypes.has(type) || !OWN_CONDITIONS.has(type));
  if (fields.length === 0 && kept.length === conditions.length) return undefined;
  return {
    ...Object.fromEntries(fields.map((field) => [field, null])),
    ...(kept.length === conditions.length ? {} : { conditions: kept }),
  };
}

/** Whatever the order of the conditions: other clients' stand between. */
function same(a: DelegatedCredentialStatus, b: DelegatedCredentialStatus): boolean {
  return isDeepStrictEqual(plain(a), plain(b));
}

function plain({ conditions = [], ...status }: DelegatedCredentialStatus): unknown {
  const sorted = [...conditions].sort((a, b) => a.type.localeCompare(b.type));
  return JSON.parse(JSON.stringify({ ...status, conditions: sorted }));
}

function conditionOf({ conditions }: DelegatedCredentialStatus, wanted: string) {
  return conditions?.find(({ type }) => type === wanted);
}
