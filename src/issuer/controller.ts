/**
 * The controller of `dcred issuer`: an external issuer of cert-manager. A CertificateRequest is enqueued when it changes, and again when an
 * issuer does; what it needs is looked up when it is processed.
 *
 *   unapproved --(approved)--> Pending (no issuer, no CA) --(they are there)--> Issued
 *        |                        '--(a request that is never signed)--> Failed, with failureTime
 *        '--(denied)--> Denied, with failureTime
 */
import { CLUSTER_ISSUER_KIND, ISSUER_KIND } from '../api/delegation-issuer.ts';
import { CLUSTER_DELEGATION_ISSUERS, DELEGATION_ISSUERS } from '../api/resource-types.ts';
import type { KeyOpener, RemoteKeyUri } from '../keys/key-opener.ts';
import { isApiError, isMissing } from '../kubernetes/api-error.ts';
import type { Change, ReflectorEvent } from '../kubernetes/cache/reflector.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { Clock } from '../kubernetes/clock.ts';
import { setCondition } from '../kubernetes/conditions.ts';
import { aborted } from '../kubernetes/deadline.ts';
import type { LeaderElector } from '../kubernetes/leader/leader-election.ts';
import type { Logger } from '../kubernetes/log.ts';
import type { Condition } from '../kubernetes/objects.ts';
import { WorkQueue } from '../kubernetes/queue/work-queue.ts';
import { type Outcome, runWorkers } from '../kubernetes/queue/workers.ts';
import { printable } from '../text/printable.ts';
import { tracedReconcile } from '../tracing/reconcile.ts';
import { type InSpan, untraced } from '../tracing/tracing.ts';
import type { Authority } from './authority.ts';
import { IssuerCaches, type KnownIssuer, WATCHED } from './caches.ts';
import {
  CERTIFICATE_REQUESTS,
  type CertificateRequest,
  type RequestOutcome,
  stageOf,
  statusFor,
} from './certificate-request.ts';
import { AuthorityLoader, IssuerError, type IssuerReference, readIssuer } from './issuers.ts';
import type { IssuerLabels, IssuerMetrics } from './metrics.ts';
import { planCertificate } from './policy.ts';
import { CsrError, readCsr } from './read-csr.ts';
import { signLeaf } from './sign-leaf.ts';

export interface IssuerControllerOptions {
  readonly client: ApiClient;
  readonly keys: KeyOpener;
  readonly caKeys: ReadonlyMap<string, RemoteKeyUri>;
  /** Of the Secrets of cluster-wide issuers. */
  readonly namespace: string;
  /** Undefined: without leader election, as the only replica. */
  readonly elector: LeaderElector | undefined;
  /** By which metrics show who leads, where there is no lease too. */
  readonly leaseName: string;
  readonly metrics: IssuerMetrics;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly inSpan?: InSpan | undefined;
}

const QUEUE = 'issuer';
const READY = 'Ready';
const WORKERS = 4;
/** A CA's Secret is not watched: that takes permission to list Secrets. */
const CHECK_MS = 60_000;
const MAX_RETRY_MS = 60_000;
/** How long work in progress may take to finish at shutdown. */
const DRAIN_MS = 5_000;

export class IssuerController {
  readonly #options: IssuerControllerOptions;
  readonly #loader: AuthorityLoader;
  readonly #queue: WorkQueue;
  readonly #caches: IssuerCaches;
  /** Before it leads, this process enqueues nothing: no worker takes keys. */
  #leading = false;

  constructor(options: IssuerControllerOptions) {
    const { client, clock, leaseName, log, metrics, random } = options;
    this.#options = options;
    this.#loader = new AuthorityLoader(options);
    this.#queue = new WorkQueue({ clock, random, observe: (event) => metrics.engine.queueEvent(QUEUE, event) });
    metrics.engine.watchQueue(QUEUE, this.#queue);
    metrics.engine.leading(leaseName, false);
    for (const { plural } of WATCHED) metrics.engine.expectWatch(plural);
    this.#caches = new IssuerCaches({
      engine: (kind) => ({
        client,
        clock,
        random,
        log: log.child({ watch: kind }),
        observe: (event: ReflectorEvent) => metrics.engine.watchEvent(kind, event),
      }),
      onRequest: (key) => this.#enqueue(key),
      onIssuer: (change) => this.#issuerChanged(change),
    });
  }

  /** Until the signal. `lost`: the lease was lost, and the process must exit. */
  async run(signal: AbortSignal): Promise<'released' | 'lost'> {
    const { elector } = this.#options;
    const watching = new AbortController();
    const watches = this.#caches.run(watching.signal);
    try {
      if (elector !== undefined) return await elector.run({ signal, lead: (leading) => this.#lead(leading) });
      await this.#lead(signal);
      return 'released';
    } finally {
      watching.abort();
      await watches;
      await this.#loader.close();
    }
  }

  /** Resolves when all have been listed once. */
  async settled(): Promise<void> {
    await this.#caches.settled();
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const { clock, inSpan = untraced, leaseName, log, metrics } = this.#options;
    await Promise.race([this.#caches.settled(), aborted(signal)]);
    if (signal.aborted) return;
    log.info({}, 'leading');
    metrics.engine.leading(leaseName, true);
    this.#leading = true;
    for (const key of this.#caches.keys()) this.#enqueue(key);
    // Once the signal aborts, no key is taken any more; keys that were taken may finish.
    const working = new AbortController();
    const reconcile = tracedReconcile(inSpan, QUEUE, (key) => this.#reconcile(key, working.signal));
    const ended = runWorkers({ queue: this.#queue, workers: WORKERS, reconcile, signal, log, clock });
    await aborted(signal);
    const timer = clock.setTimeout(() => working.abort(), DRAIN_MS);
    await ended;
    timer.cancel();
    working.abort();
    this.#queue.shutDown();
    metrics.engine.leading(leaseName, false);
  }

  #enqueue(key: string): void {
    if (this.#leading) this.#queue.add(key);
  }

  #issuerChanged({ current, previous }: Change<KnownIssuer>): void {
    if (current === undefined) {
      if (previous !== undefined) this.#options.metrics.issuerGone(labelsOf(previous));
      return;
    }
    const isNew = previous?.raw.metadata.generation !== current.raw.metadata.generation;
    if (isNew) this.#enqueue(current.key);
    for (const key of this.#caches.requestsOf(current)) this.#enqueue(key);
  }

  #reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    if (key.startsWith('request ')) return this.#reconcileRequest(key, signal);
    return this.#reconcileIssuer(key, signal);
  }

  async #reconcileIssuer(key: string, signal: AbortSignal): Promise<Outcome> {
    const known = this.#caches.issuer(key);
    if (known === undefined) return { kind: 'done' };
    const loaded = await this.#load(known, signal);
    // Deleted meanwhile: its series were removed, and would never be again.
    if (this.#caches.issuer(key) === undefined) return { kind: 'done' };
    const notAfter = loaded instanceof IssuerError ? undefined : loaded.authority.certificate.notAfter;
    this.#options.metrics.authority(labelsOf(known), notAfter);
    await this.#writeIssuerStatus(known, loaded, signal);
    return { kind: 'at', timeMs: this.#options.clock.now() + CHECK_MS, lane: 'background' };
  }

  async #reconcileRequest(key: string, signal: AbortSignal): Promise<Outcome> {
    const request = this.#caches.request(key);
    if (request === undefined) return { kind: 'done' };
    const progress = stageOf(request);
    if (progress === 'finished' || progress === 'waiting') return { kind: 'done' };
    const verdict = progress === 'denied' ? DENIED : await this.#sign(request, signal);
    this.#options.metrics.decided(verdict.reason);
    await this.#writeRequestStatus(request, verdict, signal);
    if (verdict.reason !== 'Pending') return { kind: 'done' };
    return {
      kind: 'retry',
      error: new IssuerError('SecretNotFound', verdict.message),
      maxDelayMs: MAX_RETRY_MS,
      reported: true,
    };
  }

  async #sign(request: CertificateRequest, signal: AbortSignal): Promise<RequestOutcome> {
    const known = this.#caches.issuerOf(request);
    if (known === undefined) return { reason: 'Pending', message: missingIssuer(request.issuer) };
    const loaded = await this.#load(known, signal);
    if (loaded instanceof IssuerError)
      return { reason: 'Pending', message: `the issuer cannot sign: ${loaded.message}` };
    try {
      const { authority, reference } = loaded;
      const csr = readCsr(request.csrPem);
      const { notAfter, notBefore } = authority.certificate;
      const plan = planCertificate({
        dnsNames: csr.dnsNames,
        request: request.terms,
        issuer: reference.spec,
        authority: { notBefore, notAfter },
        now: this.#seconds(),
      });
      const { inSpan = untraced } = this.#options;
      const leafRequest = { authority, publicKey: csr.publicKey, dnsNames: csr.dnsNames, plan, signal };
      const leaf = await inSpan('sign certificate', {}, () => signLeaf(leafRequest));
      this.#options.log.info({ namespace: request.namespace, request: request.name }, 'certificate signed');
      return {
        reason: 'Issued',
        message: 'signed, with DelegationUsage',
        certificatePem: leaf + authority.chainPem,
        caPem: authority.rootPem,
      };
    } catch (error) {
      if (error instanceof CsrError) return { reason: 'Failed', message: error.message };
      throw error;
    }
  }

  async #load(
    { kind, raw }: KnownIssuer,
    signal: AbortSignal,
  ): Promise<{ readonly authority: Authority; readonly reference: IssuerReference } | IssuerError> {
    try {
      const reference = readIssuer(raw, kind, this.#options.namespace);
      return { reference, authority: await this.#loader.load(reference, this.#seconds(), signal) };
    } catch (error) {
      if (error instanceof IssuerError) return error;
      throw error;
    }
  }

  async #writeIssuerStatus({ kind, raw }: KnownIssuer, loaded: unknown, signal: AbortSignal): Promise<void> {
    const { generation = 0, name = '', namespace, uid = '' } = raw.metadata;
    const failure = loaded instanceof IssuerError ? loaded : undefined;
    const { conditions = [] } =
      (raw as { readonly status?: { readonly conditions?: readonly Condition[] } }).status ?? {};
    // Whoever applies a condition owns it: that of another client would be taken back to the version that the cache shows.
    const own = conditions.filter(({ type }) => type === READY);
    const next = setCondition(
      own,
      {
        type: READY,
        status: failure === undefined ? 'True' : 'False',
        reason: failure?.code ?? 'Ready',
        message: failure?.message ?? 'the CA can sign',
        observedGeneration: generation,
      },
      this.#options.clock.now(),
    );
    if (next === own) return;
    const applied = {
      metadata: { name, uid, ...(kind === ISSUER_KIND ? { namespace } : {}) },
      status: { conditions: next },
    };
    const options = { subresource: 'status', force: true, metadataOnly: true, signal } as const;
    await unlessGone(
      this.#options.client.apply(
        kind === ISSUER_KIND ? DELEGATION_ISSUERS : CLUSTER_DELEGATION_ISSUERS,
        applied,
        options,
      ),
    );
  }

  async #writeRequestStatus(request: CertificateRequest, verdict: RequestOutcome, signal: AbortSignal): Promise<void> {
    const status = statusFor(request.conditions, verdict, this.#seconds());
    if (status === undefined) return;
    const { name, namespace, resourceVersion } = request;
    // Over the version that was read: cert-manager's own conditions are never lost. A conflict comes back with the change that made it.
    const patch = { ...(resourceVersion === undefined ? {} : { metadata: { resourceVersion } }), status };
    const options = { subresource: 'status', signal } as const;
    await unlessGone(this.#options.client.mergePatch(CERTIFICATE_REQUESTS, { namespace, name }, patch, options));
  }

  #seconds(): number {
    return Math.floor(this.#options.clock.now() / 1000);
  }
}

async function unlessGone(writing: Promise<unknown>): Promise<void> {
  try {
    await writing;
  } catch (error) {
    if (!isMissing(error) && !isApiError(error, 'Conflict')) throw error;
  }
}

/** Of a kind that this version does not know, too: a newer one may, so the request waits. */
export function missingIssuer({ kind, name }: CertificateRequest['issuer']): string {
  if (kind === ISSUER_KIND || kind === CLUSTER_ISSUER_KIND) return `the ${kind} "${printable(name)}" does not exist`;
  return `issuerRef.kind is "${printable(kind, 63)}": expected ${ISSUER_KIND} or ${CLUSTER_ISSUER_KIND}`;
}

const DENIED: RequestOutcome = { reason: 'Denied', message: 'the request was denied by an approver' };

function labelsOf({ kind, raw }: KnownIssuer): IssuerLabels {
  const { name = '', namespace = '' } = raw.metadata;
  return { kind, namespace, name };
}
