/**
 * One DelegatedCredential: follows its certificate and its pods, and keeps its status.
 *
 *   resource, certificate or pods change -> reconcile -> fan out (only when something that concerns every pod changed)
 *                                                     -> status (at most once a second)
 */
import { isDeepStrictEqual } from 'node:util';
import type { DelegatedCredentialResource } from '../../api/delegated-credential.ts';
import { isReadable, type UnreadableResource } from '../../api/read.ts';
import { formatObjectKey, type PodKey, parseObjectKey } from '../../issued-secret/names.ts';
import type { Clock } from '../../kubernetes/clock.ts';
import type { WorkQueue } from '../../kubernetes/queue/work-queue.ts';
import type { Outcome } from '../../kubernetes/queue/workers.ts';
import type { Caches, Resource } from '../caches.ts';
import type { Certificates } from '../certificates/certificates.ts';
import { type Access, OWN, termsKey, underTerms } from '../core/access.ts';
import { warnsAt } from '../core/certificate-conditions.ts';
import { type CertificateState, nextStateChange, stateAt } from '../core/certificate-state.ts';
import type { Membership } from '../core/membership.ts';
import { requestMoment } from '../core/plan.ts';
import { resourceStatus, unreadableStatus } from '../core/status.ts';
import type { GrantController } from '../grants/grant-controller.ts';
import type { PodFailures } from '../pod-failure.ts';
import type { OperatorMetrics } from '../reporting/metrics.ts';
import type { Reporter } from '../reporting/reporter.ts';
import { STATUS_INTERVAL_MS, StatusWriter, type StatusWriterOptions } from '../reporting/status-writer.ts';
import type { TakenNames } from '../taken-names.ts';
import { fanOut } from './fan-out.ts';
import { Tally } from './tally.ts';

/**
 * When a resource is told that it may not use a certificate, after it was first seen to want it. A missing grant is known at once, a
 * missing Secret only after it was read: both are said at the same moment, because a grant must not tell which Secrets there are.
 */
const NOT_PERMITTED_MS = 1_000;
/** A certificate is read in milliseconds; a status written before that would be wrong a moment later. */
const CERTIFICATE_TIMEOUT_MS = 5_000;

export interface ResourceControllerOptions {
  readonly client: StatusWriterOptions['client'];
  readonly caches: Caches;
  readonly membership: Membership;
  readonly certificates: Pick<Certificates, 'access' | 'follow' | 'resolve'>;
  readonly grants: Pick<GrantController, 'used'>;
  readonly failures: PodFailures;
  readonly names: Pick<TakenNames, 'releaseNamespaces'>;
  readonly podQueue: WorkQueue;
  readonly resourceQueue: WorkQueue;
  readonly reporter: Reporter;
  readonly metrics: OperatorMetrics;
  readonly clock: Clock;
  readonly isClockSkewed: () => boolean;
  /** Why the signer gives no credentials; undefined: it does, or there is none. */
  readonly signerProblem?: () => string | undefined;
}

interface FanOutInputs {
  /** Undefined: there was no spec that could be read. */
  readonly generation: number | undefined;
  readonly spec: DelegatedCredentialResource['spec'] | undefined;
  /** An annotation, which no generation counts. Undefined before it takes effect. */
  readonly renewRequestedAt: number | undefined;
  /**
   * The very reading of the certificate, while it is usable. The same certificate read again counts as another one: in between it
   * may have been missing, and a pod that was reconciled then waits to be enqueued again.
   */
  readonly certificate: CertificateState | 'unusable';
  /** Of the grant. */
  readonly terms: string;
}

const NO_INPUTS: FanOutInputs = Object.freeze({
  generation: undefined,
  spec: undefined,
  renewRequestedAt: undefined,
  certificate: 'unusable',
  terms: '',
});

function sameFanOutInputs(a: FanOutInputs, b: FanOutInputs): boolean {
  const keys = ['generation', 'renewRequestedAt', 'certificate', 'terms'] as const;
  // A generation may come twice, with another spec, where etcd was restored.
  return keys.every((key) => Object.is(a[key], b[key])) && isDeepStrictEqual(a.spec, b.spec);
}

/** What is remembered of a resource between two reconciles. What waits does so by the monotonic clock: the other may be set back. */
interface ResourceState {
  /** When it was first seen, by the monotonic clock. */
  readonly sinceMs: number;
  /** The certificate and usage that it wants, and since when, likewise. */
  wanted: string;
  wantedSinceMs: number;
  /** A resource re-created under the same name is another one. */
  readonly uid: string;
  selector: unknown;
  /** What every pod was last enqueued for; fan out when it differs. */
  fannedOut: FanOutInputs;
  /** An unreadable renew request was reported. */
  reportedRequest: boolean;
  /** When its status was last computed. */
  countedMs: number;
}

export class ResourceController {
  readonly #options: ResourceControllerOptions;
  readonly #states = new Map<string, ResourceState>();
  readonly #status: StatusWriter;
  readonly #tally: Tally;

  constructor(options: ResourceControllerOptions) {
    this.#options = options;
    this.#status = new StatusWriter(options);
    this.#tally = new Tally(options);
  }

  /** Whether nothing has to be done for this change of a resource: of what it says, only its status differs, and that is our own. */
  isEcho(previous: Resource, { name, namespace, value }: Resource): boolean {
    const before = previous.value;
    if (!isReadable(before) || !isReadable(value)) return false;
    const parts = ({ metadata: { generation, renewRequestedAt, uid }, spec }: DelegatedCredentialResource) => [
      generation,
      renewRequestedAt,
      uid,
      spec,
    ];
    if (!isDeepStrictEqual(parts(before), parts(value))) return false;
    return (
      isDeepStrictEqual(before.status, value.status) || this.#status.isOwn(formatObjectKey({ namespace, name }), value)
    );
  }

  /** Another replica serves these namespaces now: nothing of their resources is kept, followed or shown here. */
  release(isReleased: (namespace: string) => boolean): void {
    const { certificates, failures, grants, membership, metrics, names } = this.#options;
    for (const key of this.#states.keys()) {
      const { name, namespace } = parseObjectKey(key);
      if (!isReleased(namespace)) continue;
      this.#drop(key);
      certificates.follow(key, undefined);
      grants.used(key, OWN, 0);
      membership.removeResource(namespace, name);
      metrics.resourceGone(namespace, name);
    }
    failures.release(isReleased);
    names.releaseNamespaces(isReleased);
  }

  #drop(key: string): void {
    this.#states.delete(key);
    this.#status.forget(key);
    this.#tally.forget(key);
  }

  /** The pod, its Secrets or its failure may have changed. */
  podChanged(key: PodKey): void {
    this.#tally.podChanged(key);
  }

  /** The pod was reconciled: its resource's status is brought up to date, at most once a second. */
  podReconciled(podKey: PodKey): void {
    const { clock, resourceQueue } = this.#options;
    this.#tally.podChanged(podKey);
    const key = formatObjectKey({ namespace: podKey.namespace, name: podKey.resourceName });
    const state = this.#states.get(key);
    // Gone, or not reconciled yet: there is no status to keep up to date.
    if (state === undefined) return;
    const now = clock.now();
    const counted = Math.min(state.countedMs, now);
    resourceQueue.addAt(key, Math.max(now, counted + STATUS_INTERVAL_MS));
  }

  async reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    const { caches, clock } = this.#options;
    const { namespace, name } = parseObjectKey(key);
    if (!caches.isComplete(namespace)) return { kind: 'stalled' };
    const found = caches.resources.get(namespace, name)?.value;
    if (found === undefined) return this.#forget(key);
    const state = this.#stateOf(key, found);
    if (!isReadable(found)) return await this.#reportUnreadable(key, found, state, signal);

    this.#follow(key, found, state);
    this.#reportRequest(found, state);
    const access = this.#options.certificates.access(found);
    const resource = underTerms(found, access);
    const now = Math.floor(clock.now() / 1000);
    const resolved = this.#options.certificates.resolve(resource);
    const certificate = stateAt(resolved, now);
    this.#fanOutOnce(key, resource, certificate, access, state);
    const waitMs = answerTime(certificate, state) - clock.monotonic();
    if (waitMs > 0) return { kind: 'at', timeMs: clock.now() + waitMs };

    state.countedMs = clock.now();
    const tally = this.#tally.count({ resource, certificate, now });
    this.#options.grants.used(key, access, tally.issued);
    const cleanUp = this.#options.failures.cleanUpsOf(key);
    const status = resourceStatus({
      spec: resource.spec,
      granted: access.kind === 'granted',
      generation: resource.metadata.generation,
      previous: this.#status.previous(key, resource),
      certificate,
      pods: tally,
      clockSkewed: this.#options.isClockSkewed(),
      signerProblem: this.#options.signerProblem?.(),
      ...(cleanUp === undefined ? {} : { cleanUp }),
      now,
    });
    const usable = certificate.kind === 'usable' ? certificate.certificate : undefined;
    const ready = status.conditions?.some(({ type, status: holds }) => type === 'Ready' && holds === 'True') ?? false;
    this.#options.metrics.resource({ namespace, name, ready, pods: tally, certificate: usable });

    const wait = await this.#status.write(key, resource, status, signal);
    if (wait !== undefined) return wait;
    const change = nextStateChange(resolved, now);
    const warning = usable && warnsAt(usable, resource.spec.lifetimeSeconds);
    const moments = [change, warning, tally.nextExpiry].filter((moment) => moment !== undefined && moment > now);
    if (moments.length === 0) return { kind: 'done' };
    return { kind: 'at', timeMs: Math.min(...(moments as number[])) * 1000 };
  }

  #stateOf(key: string, { metadata }: DelegatedCredentialResource | UnreadableResource): ResourceState {
    const known = this.#states.get(key);
    if (known?.uid === metadata.uid) return known;
    const state: ResourceState = {
      sinceMs: this.#options.clock.monotonic(),
      uid: metadata.uid,
      wanted: '',
      wantedSinceMs: 0,
      selector: NEVER,
      fannedOut: NO_INPUTS,
      reportedRequest: false,
      countedMs: 0,
    };
    this.#states.set(key, state);
    return state;
  }

  /** The resource is gone: its Secrets are deleted, each by its own key. */
  #forget(key: string): Outcome {
    const { caches, certificates, membership, metrics, podQueue } = this.#options;
    const { namespace, name } = parseObjectKey(key);
    this.#drop(key);
    certificates.follow(key, undefined);
    this.#options.grants.used(key, OWN, 0);
    fanOut({ caches, membership, podQueue, namespace, name });
    membership.removeResource(namespace, name);
    metrics.resourceGone(namespace, name);
    return { kind: 'done' };
  }

  /** Keeps the certificate watched and the membership of pods up to date. */
  #follow(key: string, resource: DelegatedCredentialResource, state: ResourceState): void {
    const { certificates, membership } = this.#options;
    const { metadata, spec } = resource;
    const { namespace, name } = metadata;
    certificates.follow(key, resource);
    const wanted = JSON.stringify([spec.certificateRef, spec.usage]);
    if (wanted !== state.wanted) Object.assign(state, { wanted, wantedSinceMs: this.#options.clock.monotonic() });
    if (isDeepStrictEqual(state.selector, spec.podSelector)) {
      state.selector = spec.podSelector;
      return;
    }
    // Pods of the old selector are enqueued too: they may have Secrets to lose. Their keys come from those Secrets.
    membership.setResource(namespace, name, spec.podSelector);
    state.selector = spec.podSelector;
  }

  #reportRequest({ metadata }: DelegatedCredentialResource, state: ResourceState): void {
    const unreadable = Number.isNaN(metadata.renewRequestedAt);
    if (unreadable && !state.reportedRequest) this.#options.reporter.renewRequestUnreadable(metadata);
    state.reportedRequest = unreadable;
  }

  #fanOutOnce(
    key: string,
    resource: DelegatedCredentialResource,
    certificate: CertificateState,
    access: Access,
    state: ResourceState,
  ): void {
    const { caches, membership, podQueue } = this.#options;
    // It will be known soon, and the pods are enqueued once.
    if (certificate.kind === 'pending') return;
    const inputs: FanOutInputs = {
      generation: resource.metadata.generation,
      spec: resource.spec,
      renewRequestedAt: this.#dueRequest(key, resource),
      certificate: certificate.kind === 'usable' ? certificate : 'unusable',
      terms: termsKey(access),
    };
    const isSame = sameFanOutInputs(state.fannedOut, inputs);
    // Also where they are the same: the objects of an earlier version would stay in memory beside those of the cache.
    state.fannedOut = inputs;
    if (isSame) return;
    fanOut({ caches, membership, podQueue, ...parseObjectKey(key) });
  }

  /**
   * The request to re-issue, once it takes effect. Until then the resource waits for it: pods that waited, each by itself, would
   * come at once and in no order.
   */
  #dueRequest(key: string, { metadata: { renewRequestedAt = Number.NaN } }: DelegatedCredentialResource) {
    const { clock, resourceQueue } = this.#options;
    const momentMs = requestMoment(renewRequestedAt) * 1000;
    if (momentMs <= clock.now()) return renewRequestedAt;
    // Not by the outcome: a status that cannot be written must not delay it.
    if (!Number.isNaN(momentMs)) resourceQueue.addAt(key, momentMs);
    return undefined;
  }

  async #reportUnreadable(
    key: string,
    resource: UnreadableResource,
    state: ResourceState,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const now = Math.floor(this.#options.clock.now() / 1000);
    const { metadata, problem } = resource;
    state.fannedOut = NO_INPUTS;
    this.#options.metrics.unready(metadata);
    const status = unreadableStatus(problem, metadata.generation, this.#status.previous(key, resource), now);
    return (await this.#status.write(key, resource, status, signal)) ?? { kind: 'done' };
  }
}

/** When the status may say what is known, by the monotonic clock: see CERTIFICATE_TIMEOUT_MS and NOT_PERMITTED_MS. */
function answerTime(certificate: CertificateState, { sinceMs, wantedSinceMs }: ResourceState): number {
  if (certificate.kind === 'pending') return sinceMs + CERTIFICATE_TIMEOUT_MS;
  const isSecretive = certificate.kind === 'refused' && certificate.reason === 'CertificateNotPermitted';
  return isSecretive ? wantedSinceMs + NOT_PERMITTED_MS : Number.NEGATIVE_INFINITY;
}

/** Differs from every selector, undefined included. */
const NEVER = Symbol('no selector yet');
