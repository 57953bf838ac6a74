/**
 * One DelegatedCredential: which certificate it stands on, which pods it concerns, what its status says.
 *
 *   resource, certificate or pods change -> reconcile -> fan out (only when what concerns every pod has changed)
 *                                                     -> status (at most once a second)
 */
import { isDeepStrictEqual } from 'node:util';
import type { DelegatedCredentialResource, DelegatedCredentialStatus } from '../api/delegated-credential.ts';
import { isReadable, type UnreadableResource } from '../api/read.ts';
import { parseObjectKey } from '../issued-secret/names.ts';
import { isApiError } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { WorkQueue } from '../kubernetes/queue/work-queue.ts';
import type { Outcome } from '../kubernetes/queue/workers.ts';
import { type Caches, DELEGATED_CREDENTIALS } from './caches.ts';
import type { CertificateWatcher } from './certificate-watcher.ts';
import { type CertificateState, nextStateChange, refused, stateAt } from './core/certificate-state.ts';
import type { Membership } from './core/membership.ts';
import { type ReadyReason, resourceStatus, unreadableStatus } from './core/status.ts';
import { fanOut } from './fan-out.ts';
import type { OperatorMetrics } from './metrics.ts';
import type { PodController } from './pod-controller.ts';
import type { Reporter } from './reporter.ts';
import { tallyPods } from './tally.ts';

const STATUS_INTERVAL_MS = 1_000;
const STATUS_RETRY_MS = 30_000;
/** A certificate is read in milliseconds; until then there is nothing to report that would not be wrong a moment later. */
const CERTIFICATE_TIMEOUT_MS = 5_000;

export interface ResourceControllerOptions {
  readonly client: ApiClient;
  readonly caches: Caches;
  readonly membership: Membership;
  readonly certificates: CertificateWatcher;
  readonly pods: Pick<PodController, 'failureOf'>;
  readonly podQueue: WorkQueue;
  readonly resourceQueue: WorkQueue;
  readonly reporter: Reporter;
  readonly metrics: OperatorMetrics;
  readonly clock: Clock;
}

interface FanOutInputs {
  /** Undefined: there was no spec that could be read. */
  readonly generation: number | undefined;
  /** An annotation, which no generation counts. */
  readonly renewRequestedAt: number | undefined;
  /**
   * The very reading of the certificate, while it is usable. The same certificate read again is another one: in between it may
   * have been missing, and a pod that was looked at then waits for somebody to ask it again.
   */
  readonly certificate: CertificateState | 'unusable';
}

const NO_INPUTS: FanOutInputs = Object.freeze({
  generation: undefined,
  renewRequestedAt: undefined,
  certificate: 'unusable',
});

function sameFanOutInputs(a: FanOutInputs, b: FanOutInputs): boolean {
  const keys = ['generation', 'renewRequestedAt', 'certificate'] as const;
  return keys.every((key) => Object.is(a[key], b[key]));
}

/** What is remembered of a resource between two looks at it. */
interface ResourceState {
  /** When it was first seen. */
  readonly sinceMs: number;
  /** A resource made anew under the same name is another one. */
  readonly uid: string;
  selector: unknown;
  /** What concerned every pod when they were last asked to look; fan out when it differs. */
  fannedOut: FanOutInputs;
  /** The request to renew was not understood, and that was said. */
  toldOfRequest: boolean;
  /** What was last written: the cache may be behind it. */
  status: DelegatedCredentialStatus;
  statusWrittenMs: number;
  /** When its pods were last counted, which costs a pass over all of them. */
  countedMs: number;
}

export class ResourceController {
  readonly #options: ResourceControllerOptions;
  readonly #states = new Map<string, ResourceState>();

  constructor(options: ResourceControllerOptions) {
    this.#options = options;
  }

  /** Something that the status shows may have changed: look again, at most once a second. */
  touch(key: string): void {
    const { clock, resourceQueue } = this.#options;
    const state = this.#states.get(key);
    // Gone, or not looked at yet: then there is no status to keep up to date.
    if (state === undefined) return;
    const now = clock.now();
    const counted = Math.min(state.countedMs, now);
    resourceQueue.addAt(key, Math.max(now, counted + STATUS_INTERVAL_MS));
  }

  /** The certificate of a resource, as far as it may be used. */
  certificateOf({ metadata, spec }: DelegatedCredentialResource): CertificateState {
    const { name, namespace = metadata.namespace } = spec.certificateRef;
    if (namespace === metadata.namespace) return this.#options.certificates.state({ namespace, name });
    return refused(
      'CertificateNotPermitted',
      `spec.certificateRef names a Secret in namespace "${namespace}", which has not granted it to namespace ` +
        `"${metadata.namespace}": put the certificate into a Secret of this namespace and leave certificateRef.namespace out`,
    );
  }

  async reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    const { caches, clock } = this.#options;
    const { namespace, name } = parseObjectKey(key);
    const resource = caches.resources.get(namespace, name)?.value;
    if (resource === undefined) return this.#forget(key);
    const state = this.#stateOf(key, resource);
    if (!isReadable(resource)) return await this.#reportUnreadable(resource, state, signal);

    this.#follow(key, resource, state);
    this.#tellOfRequest(resource, state);
    const now = Math.floor(clock.now() / 1000);
    const certificate = stateAt(this.certificateOf(resource), now);
    this.#fanOutOnce(key, resource, certificate, state);
    const patientUntil = state.sinceMs + CERTIFICATE_TIMEOUT_MS;
    if (certificate.kind === 'pending' && clock.now() < patientUntil) return { kind: 'at', timeMs: patientUntil };

    state.countedMs = clock.now();
    const tally = tallyPods({ ...this.#options, resource, certificate, now });
    const status = resourceStatus({
      spec: resource.spec,
      generation: resource.metadata.generation,
      previous: state.status,
      certificate,
      pods: tally,
      now,
    });
    const certificateNotAfter = certificate.kind === 'usable' ? certificate.certificate.notAfter : undefined;
    const ready = status.conditions?.some(({ type, status: holds }) => type === 'Ready' && holds === 'True') ?? false;
    this.#options.metrics.resource({ namespace, name, ready, pods: tally, certificateNotAfter });

    const wait = await this.#writeStatus(resource, status, state, signal);
    if (wait !== undefined) return wait;
    const change = nextStateChange(this.certificateOf(resource), now);
    const moments = [change, tally.earliestExpiry].filter((moment) => moment !== undefined && moment > now);
    if (moments.length === 0) return { kind: 'done' };
    return { kind: 'at', timeMs: Math.min(...(moments as number[])) * 1000 };
  }

  #stateOf(key: string, { metadata, status }: DelegatedCredentialResource | UnreadableResource): ResourceState {
    const known = this.#states.get(key);
    if (known?.uid === metadata.uid) return known;
    const state: ResourceState = {
      sinceMs: this.#options.clock.now(),
      uid: metadata.uid,
      selector: NEVER,
      fannedOut: NO_INPUTS,
      toldOfRequest: false,
      status: { ...status, conditions: (status.conditions ?? []).filter(({ type }) => OWN_CONDITIONS.has(type)) },
      statusWrittenMs: 0,
      countedMs: 0,
    };
    this.#states.set(key, state);
    return state;
  }

  /** The resource is gone: its Secrets go, each by its own key. */
  #forget(key: string): Outcome {
    const { caches, certificates, membership, metrics, podQueue } = this.#options;
    const { namespace, name } = parseObjectKey(key);
    this.#states.delete(key);
    certificates.refer(key, undefined);
    fanOut({ caches, membership, podQueue, namespace, name });
    membership.removeResource(namespace, name);
    metrics.resourceGone(namespace, name);
    return { kind: 'done' };
  }

  /** Keeps the certificate watched and the pods known. */
  #follow(key: string, { metadata, spec }: DelegatedCredentialResource, state: ResourceState): void {
    const { caches, certificates, membership } = this.#options;
    const { namespace, name } = metadata;
    const referred = spec.certificateRef.namespace ?? namespace;
    // A Secret that may not be used is not read either.
    certificates.refer(key, referred === namespace ? { namespace, name: spec.certificateRef.name } : undefined);
    if (isDeepStrictEqual(state.selector, spec.podSelector)) return;
    // Pods of the old selector are asked too: they may have Secrets to lose. Their keys come from those Secrets.
    membership.setResource(namespace, name, spec.podSelector, caches.pods.byIndex(namespace, 'namespace', namespace));
    state.selector = spec.podSelector;
  }

  #tellOfRequest({ metadata }: DelegatedCredentialResource, state: ResourceState): void {
    const unreadable = Number.isNaN(metadata.renewRequestedAt);
    if (unreadable && !state.toldOfRequest) this.#options.reporter.renewRequestUnreadable(metadata);
    state.toldOfRequest = unreadable;
  }

  #fanOutOnce(
    key: string,
    resource: DelegatedCredentialResource,
    certificate: CertificateState,
    state: ResourceState,
  ): void {
    const { caches, membership, podQueue } = this.#options;
    // Soon it will be known, and the pods are asked once.
    if (certificate.kind === 'pending') return;
    const inputs: FanOutInputs = {
      generation: resource.metadata.generation,
      renewRequestedAt: resource.metadata.renewRequestedAt,
      certificate: certificate.kind === 'usable' ? certificate : 'unusable',
    };
    if (sameFanOutInputs(state.fannedOut, inputs)) return;
    state.fannedOut = inputs;
    fanOut({ caches, membership, podQueue, ...parseObjectKey(key) });
  }

  async #reportUnreadable(resource: UnreadableResource, state: ResourceState, signal: AbortSignal): Promise<Outcome> {
    const now = Math.floor(this.#options.clock.now() / 1000);
    const { metadata, problem } = resource;
    state.fannedOut = NO_INPUTS;
    this.#options.metrics.unready(metadata);
    const status = unreadableStatus(problem, metadata.generation, state.status, now);
    return (await this.#writeStatus(resource, status, state, signal)) ?? { kind: 'done' };
  }

  /** Writes what differs; an outcome when it has to wait or to be tried again. */
  async #writeStatus(
    { metadata }: Pick<DelegatedCredentialResource, 'metadata'>,
    status: DelegatedCredentialStatus,
    state: ResourceState,
    signal: AbortSignal,
  ): Promise<Outcome | undefined> {
    if (isDeepStrictEqual(plain(status), plain(state.status))) return undefined;
    const { client, clock } = this.#options;
    const { name, namespace, uid } = metadata;
    const allowedMs = state.statusWrittenMs + STATUS_INTERVAL_MS;
    if (clock.now() < allowedMs && clock.now() >= state.statusWrittenMs) return { kind: 'at', timeMs: allowedMs };
    try {
      // Server-side apply: what we no longer say goes, conditions of others stay. The uid makes the API server refuse a resource
      // that was made anew under the same name.
      const applied = { metadata: { name, namespace, uid }, status };
      const options = { signal, subresource: 'status', force: true, metadataOnly: true };
      await client.apply(DELEGATED_CREDENTIALS, applied, options);
    } catch (error) {
      if (isApiError(error, 'NotFound')) return { kind: 'done' };
      return { kind: 'retry', error, maxDelayMs: STATUS_RETRY_MS };
    }
    this.#announce(metadata, state.status, status);
    state.status = status;
    state.statusWrittenMs = clock.now();
    return undefined;
  }

  #announce(
    metadata: DelegatedCredentialResource['metadata'],
    before: DelegatedCredentialStatus,
    after: DelegatedCredentialStatus,
  ): void {
    const was = readyOf(before);
    const is = readyOf(after);
    if (is === undefined || was?.reason === is.reason) return;
    const reason = is.reason as ReadyReason;
    this.#options.reporter.readyChanged(metadata, { reason, ok: is.status === 'True', message: is.message });
  }
}

/** Whatever other types there are is somebody else's. */
const OWN_CONDITIONS: ReadonlySet<string> = new Set(['Ready', 'Injected']);

/** Differs from every selector, undefined included. */
const NEVER = Symbol('no selector yet');

function plain(status: DelegatedCredentialStatus): unknown {
  return JSON.parse(JSON.stringify(status));
}

function readyOf({ conditions }: DelegatedCredentialStatus) {
  return conditions?.find(({ type }) => type === 'Ready');
}
