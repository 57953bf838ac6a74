/**
 * The controller of `dcred issuer`: an external issuer of cert-manager. A CertificateRequest is enqueued when it changes, and again when an
 * issuer does; what it needs is looked up when it is processed.
 *
 *   unapproved --(approved)--> Pending (no issuer, no CA) --(they are there)--> Issued
 *        |                        '--(a request that is never signed)--> Failed, with failureTime
 *        '--(denied)--> Denied, with failureTime
 */
import { CLUSTER_ISSUER_KIND, ISSUER_KIND } from '../api/delegation-issuer.ts';
import { API_GROUP } from '../api/keys.ts';
import { CLUSTER_DELEGATION_ISSUERS, DELEGATION_ISSUERS } from '../api/resource-types.ts';
import type { KeyOpener, RemoteKeyUri } from '../keys/key-opener.ts';
import { isApiError } from '../kubernetes/api-error.ts';
import { Reflector } from '../kubernetes/cache/reflector.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { Clock } from '../kubernetes/clock.ts';
import { setCondition } from '../kubernetes/conditions.ts';
import type { Logger } from '../kubernetes/log.ts';
import type { Condition, KubernetesObject } from '../kubernetes/objects.ts';
import { WorkQueue } from '../kubernetes/queue/work-queue.ts';
import { type Outcome, runWorkers } from '../kubernetes/queue/workers.ts';
import type { ResourceType } from '../kubernetes/resource-type.ts';
import type { Authority } from './authority.ts';
import {
  CERTIFICATE_REQUESTS,
  type CertificateRequest,
  progressOf,
  readCertificateRequest,
  statusFor,
  type Verdict,
} from './certificate-request.ts';
import { AuthorityLoader, IssuerError, type IssuerReference, readIssuer } from './issuers.ts';
import { planCertificate } from './policy.ts';
import { CsrError, readCsr } from './read-csr.ts';
import { signLeaf } from './sign-leaf.ts';

export interface IssuerControllerOptions {
  readonly client: ApiClient;
  readonly keys: KeyOpener;
  readonly caKeys: ReadonlyMap<string, RemoteKeyUri>;
  /** Of the Secrets of cluster-wide issuers. */
  readonly namespace: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

interface KnownRequest {
  readonly key: string;
  /** Undefined: for an issuer of another group. */
  readonly request: CertificateRequest | undefined;
}

interface KnownIssuer {
  readonly raw: KubernetesObject;
  readonly kind: IssuerReference['kind'];
}

const WORKERS = 4;
/** A CA's Secret is not watched: that takes permission to list Secrets. */
const CHECK_MS = 60_000;
const MAX_RETRY_MS = 60_000;

export class IssuerController {
  readonly #options: IssuerControllerOptions;
  readonly #loader: AuthorityLoader;
  readonly #queue: WorkQueue;
  readonly #requests: Reflector<KnownRequest>;
  readonly #issuers: Reflector<KnownIssuer>;
  readonly #clusterIssuers: Reflector<KnownIssuer>;

  constructor(options: IssuerControllerOptions) {
    const { clock, random } = options;
    this.#options = options;
    this.#loader = new AuthorityLoader(options);
    this.#queue = new WorkQueue({ clock, random });
    const shared = { client: options.client, clock, random, log: options.log };
    this.#requests = new Reflector({
      ...shared,
      type: CERTIFICATE_REQUESTS,
      transform: (raw) => ({ key: keyOf('request', raw), request: readCertificateRequest(raw, API_GROUP) }),
      keyOf: ({ key }) => key,
      onChange: ({ current }) => {
        if (current?.request !== undefined) this.#queue.add(current.key);
      },
    });
    const watchIssuers = (issuers: ResourceType, kind: IssuerReference['kind']) =>
      new Reflector<KnownIssuer>({
        ...shared,
        type: issuers,
        transform: (raw) => ({ raw, kind }),
        keyOf: ({ raw }) => keyOf(kind, raw),
        onChange: ({ current, previous }) => this.#issuerChanged(kind, current, previous),
      });
    this.#issuers = watchIssuers(DELEGATION_ISSUERS, ISSUER_KIND);
    this.#clusterIssuers = watchIssuers(CLUSTER_DELEGATION_ISSUERS, CLUSTER_ISSUER_KIND);
  }

  /** Until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    const reflectors = [this.#requests, this.#issuers, this.#clusterIssuers];
    const watching = Promise.all(reflectors.map((reflector) => reflector.run(signal)));
    await Promise.race([Promise.all(reflectors.map(({ synced }) => synced)), watching]);
    const reconcile = (key: string, stop: AbortSignal) => this.#reconcile(key, stop);
    await runWorkers({ queue: this.#queue, workers: WORKERS, reconcile, signal, log, clock });
    await watching;
    await this.#loader.close();
  }

  /** All have been listed once. */
  get synced(): Promise<unknown> {
    return Promise.all([this.#requests.synced, this.#issuers.synced, this.#clusterIssuers.synced]);
  }

  #issuerChanged(
    kind: IssuerReference['kind'],
    current: KnownIssuer | undefined,
    previous: KnownIssuer | undefined,
  ): void {
    if (current === undefined) return;
    const isNew = previous?.raw.metadata.generation !== current.raw.metadata.generation;
    if (isNew) this.#queue.add(keyOf(kind, current.raw));
    for (const { key, request } of this.#requests.store.values()) {
      if (request?.issuer.kind === kind && request.issuer.name === current.raw.metadata.name) this.#queue.add(key);
    }
  }

  #reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    if (key.startsWith('request ')) return this.#reconcileRequest(key, signal);
    return this.#reconcileIssuer(key, signal);
  }

  async #reconcileIssuer(key: string, signal: AbortSignal): Promise<Outcome> {
    const known = this.#issuers.store.get(key) ?? this.#clusterIssuers.store.get(key);
    if (known === undefined) return { kind: 'done' };
    const loaded = await this.#load(known, signal);
    await this.#writeIssuerStatus(known, loaded, signal);
    return { kind: 'at', timeMs: this.#options.clock.now() + CHECK_MS, lane: 'background' };
  }

  async #reconcileRequest(key: string, signal: AbortSignal): Promise<Outcome> {
    const request = this.#requests.store.get(key)?.request;
    if (request === undefined) return { kind: 'done' };
    const progress = progressOf(request);
    if (progress === 'finished' || progress === 'waiting') return { kind: 'done' };
    const verdict = progress === 'denied' ? DENIED : await this.#sign(request, signal);
    await this.#writeRequestStatus(request, verdict, signal);
    if (verdict.reason !== 'Pending') return { kind: 'done' };
    return {
      kind: 'retry',
      error: new IssuerError('SecretNotFound', verdict.message),
      maxDelayMs: MAX_RETRY_MS,
      reported: true,
    };
  }

  async #sign(request: CertificateRequest, signal: AbortSignal): Promise<Verdict> {
    const known = this.#find(request);
    if (known === undefined) {
      return { reason: 'Pending', message: `the ${request.issuer.kind} "${request.issuer.name}" does not exist` };
    }
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
      const leaf = await signLeaf({ authority, publicKey: csr.publicKey, dnsNames: csr.dnsNames, plan, signal });
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

  #find({ issuer, namespace }: CertificateRequest): KnownIssuer | undefined {
    if (issuer.kind === CLUSTER_ISSUER_KIND)
      return this.#clusterIssuers.store.get(`${CLUSTER_ISSUER_KIND} /${issuer.name}`);
    if (issuer.kind !== ISSUER_KIND) return undefined;
    return this.#issuers.store.get(`${ISSUER_KIND} ${namespace}/${issuer.name}`);
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
    const { generation = 0, name = '', namespace } = raw.metadata;
    const failure = loaded instanceof IssuerError ? loaded : undefined;
    const { conditions = [] } =
      (raw as { readonly status?: { readonly conditions?: readonly Condition[] } }).status ?? {};
    const next = setCondition(
      conditions,
      {
        type: 'Ready',
        status: failure === undefined ? 'True' : 'False',
        reason: failure?.code ?? 'Ready',
        message: failure?.message ?? 'the CA can sign',
        observedGeneration: generation,
      },
      this.#options.clock.now(),
    );
    if (next === conditions) return;
    const issuers = kind === ISSUER_KIND ? DELEGATION_ISSUERS : CLUSTER_DELEGATION_ISSUERS;
    await this.#patchStatus(
      issuers,
      { name, ...(kind === ISSUER_KIND ? { namespace } : {}) },
      { conditions: next },
      undefined,
      signal,
    );
  }

  async #writeRequestStatus(request: CertificateRequest, verdict: Verdict, signal: AbortSignal): Promise<void> {
    const status = statusFor(request.conditions, verdict, this.#seconds());
    if (status === undefined) return;
    const { name, namespace, resourceVersion } = request;
    await this.#patchStatus(CERTIFICATE_REQUESTS, { namespace, name }, status, resourceVersion, signal);
  }

  /** Over the version that was read: another writer's conditions are never lost. A conflict comes back with the change that made it. */
  async #patchStatus(
    resource: ResourceType,
    reference: { readonly namespace?: string | undefined; readonly name: string },
    status: object,
    resourceVersion: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const metadata = resourceVersion === undefined ? {} : { metadata: { resourceVersion } };
    try {
      await this.#options.client.mergePatch(
        resource,
        reference,
        { ...metadata, status },
        { subresource: 'status', signal },
      );
    } catch (error) {
      if (!isApiError(error, 'NotFound') && !isApiError(error, 'Conflict')) throw error;
    }
  }

  #seconds(): number {
    return Math.floor(this.#options.clock.now() / 1000);
  }
}

const DENIED: Verdict = { reason: 'Denied', message: 'the request was denied by an approver' };

function keyOf(kind: string, { metadata }: KubernetesObject): string {
  return `${kind} ${metadata.namespace ?? ''}/${metadata.name ?? ''}`;
}
