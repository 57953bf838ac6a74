/**
 * The only writes of Secrets, and the end of a pod's wait for one. Each step is one request, or a look and one request; a crash
 * between any two leaves nothing half.
 */

import type { DelegatedCredentialResource } from '../api/delegated-credential.ts';
import { SECRET_ANNOTATIONS } from '../api/keys.ts';
import { CertificateError } from '../credential/errors.ts';
import { type IssuedSecret, readIssuedSecret } from '../issued-secret/issued-secret.ts';
import type { PodKey } from '../issued-secret/names.ts';
import type { SecretManifest } from '../issued-secret/secret-manifest.ts';
import { type ApiError, isApiError } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { PODS, type ResourceType, SECRETS } from '../kubernetes/resource-type.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import { DELEGATED_CREDENTIALS } from './caches.ts';
import type { CertificateState } from './core/certificate-state.ts';
import { type DeleteReason, type FailureReason, type Step, wantedMetadata } from './core/plan.ts';
import type { Pod } from './core/pod.ts';
import { type GenerateKey, makeSecret, UnverifiedCredentialError } from './issuer.ts';
import type { Reporter } from './reporter.ts';
import { liftGate } from './scheduling-gate.ts';

/** Planned on old knowledge; `resourceVersion`: what the caches must have seen before it is worth planning again. */
export class StaleCacheError extends Error {
  readonly code = 'STALE_CACHE';
  override readonly name = 'StaleCacheError';
  readonly resourceVersion: string | undefined;

  constructor(message: string, resourceVersion?: string, options?: ErrorOptions) {
    super(message, options);
    this.resourceVersion = resourceVersion;
  }
}

export type PodFailureReason = FailureReason | 'SecretRefused' | 'IssueFailed' | 'GateNotLifted';

/** This pod cannot be served, for a reason that a person can mend. */
export class PodFailure extends Error {
  override readonly name = 'PodFailure';
  readonly code: PodFailureReason;

  constructor(code: PodFailureReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export interface Subject {
  readonly key: PodKey;
  readonly resource: DelegatedCredentialResource | undefined;
  readonly pod: Pod | undefined;
  readonly certificate: CertificateState | undefined;
}

/** The versions that were written, where there was a write. */
export interface Applied {
  /** Of the Secret. */
  readonly resourceVersion?: string | undefined;
  readonly podResourceVersion?: string | undefined;
}

export interface ApplierOptions {
  readonly client: ApiClient;
  readonly generateKey: GenerateKey;
  readonly reporter: Reporter;
  readonly clock: Clock;
}

type IssueStep = Extract<Step, { kind: 'issue' }>;
type AnnotateStep = Extract<Step, { kind: 'annotate' }>;

export class Applier {
  readonly #options: ApplierOptions;

  constructor(options: ApplierOptions) {
    this.#options = options;
  }

  /** Throws StaleCacheError, PodFailure, ApiError, and what making a credential throws. */
  async apply(step: Step, subject: Subject, signal: AbortSignal): Promise<Applied> {
    switch (step.kind) {
      case 'issue':
        return await this.#issue(step, subject, signal);
      case 'delete':
        return await this.#delete(step.secret, step.reason, subject, signal);
      case 'annotate':
        return await this.#annotate(step, subject, signal);
      case 'ungate':
        return await this.#ungate(subject, signal);
    }
  }

  async #issue(step: IssueStep, { certificate, key, pod, resource }: Subject, signal: AbortSignal): Promise<Applied> {
    if (certificate?.kind !== 'usable' || pod === undefined || resource === undefined) {
      throw new TypeError('planned to issue without a certificate, a pod or a resource');
    }
    const { clock, generateKey, reporter } = this.#options;
    const started = clock.monotonic();
    const request = {
      namespace: key.namespace,
      name: step.name,
      resourceName: key.resourceName,
      pod,
      spec: resource.spec,
      certificate: certificate.certificate,
      signer: certificate.signer,
      replaces: step.replaces,
      now: Math.floor(clock.now() / 1000),
    };
    const manifest = await makeSecret(request, generateKey, signal).catch((error: unknown) => {
      throw signal.aborted ? error : notMade(error);
    });
    const written =
      step.replaces === undefined
        ? await this.#create(manifest, pod, key.resourceName, signal)
        : await this.#replace(manifest, step.replaces, signal);
    reporter.issued(resource, pod, step.reason, (clock.monotonic() - started) / 1000);
    return { resourceVersion: written.metadata.resourceVersion };
  }

  async #create(manifest: SecretManifest, pod: Pod, resource: string, signal: AbortSignal): Promise<KubernetesObject> {
    try {
      return await this.#options.client.create(SECRETS, manifest, { signal, metadataOnly: true });
    } catch (error) {
      if (isApiError(error, 'AlreadyExists')) throw await this.#explainExisting(manifest, pod, resource, signal);
      throw refusal(error);
    }
  }

  /** The name is taken: by a write of ours that the cache has yet to show, or by a Secret that is not ours to touch. */
  async #explainExisting(manifest: SecretManifest, pod: Pod, resource: string, signal: AbortSignal): Promise<Error> {
    const { name = '', namespace = '' } = manifest.metadata;
    const existing = await this.#options.client
      .get(SECRETS, { namespace, name }, { signal, metadataOnly: true })
      .catch((error: unknown) => {
        if (isApiError(error, 'NotFound')) return undefined;
        throw error;
      });
    if (existing === undefined)
      return new StaleCacheError(`Secret "${name}" existed a moment ago and does not any more`);
    const issued = readIssuedSecret(existing);
    if (issued?.resourceName === resource && issued.podName === pod.name) {
      return new StaleCacheError(`Secret "${name}" is ours already`, issued.resourceVersion);
    }
    return new PodFailure(
      'SecretNameTaken',
      `Secret "${name}" exists and was not issued by dcred for this pod: rename or delete it, and the credential is issued under that name`,
    );
  }

  async #replace(manifest: SecretManifest, replaces: IssuedSecret, signal: AbortSignal): Promise<KubernetesObject> {
    try {
      return await this.#options.client.replace(SECRETS, manifest, { signal, metadataOnly: true });
    } catch (error) {
      if (isApiError(error, 'Conflict') || isApiError(error, 'NotFound')) throw stale(replaces, error);
      if (!isImmutable(error)) throw refusal(error);
      // Somebody set `immutable: true` on a Secret of ours, or gave it another type: only a new one can take its place.
      await this.#deleteExactly(replaces, signal);
      throw new StaleCacheError(`Secret "${replaces.name}" was immutable and is made anew`, undefined, {
        cause: error,
      });
    }
  }

  async #delete(secret: IssuedSecret, reason: DeleteReason, subject: Subject, signal: AbortSignal): Promise<Applied> {
    if (reason === 'ResourceGone') await this.#confirmResourceGone(subject.key, signal);
    if (reason === 'PodGone' || reason === 'PodReplaced') await this.#confirmPodGone(secret, signal);
    await this.#deleteExactly(secret, signal);
    this.#options.reporter.deleted(secret, reason);
    return {};
  }

  /** That very Secret, in that very state. One that is gone already is fine. */
  async #deleteExactly(secret: IssuedSecret, signal: AbortSignal): Promise<void> {
    const { name, namespace, resourceVersion, uid } = secret;
    try {
      await this.#options.client.delete(
        SECRETS,
        { namespace, name },
        { signal, preconditions: { uid, resourceVersion } },
      );
    } catch (error) {
      if (isApiError(error, 'NotFound')) return;
      if (isApiError(error, 'Conflict')) throw stale(secret, error);
      throw error;
    }
  }

  /**
   * The caches of Secrets and of pods are filled by two watches, and one may be ahead: a Secret of a pod that is not known yet
   * is not an orphan. So the API server is asked before anything is deleted for what the cache does not show.
   */
  async #confirmPodGone({ namespace, podName, podUid }: IssuedSecret, signal: AbortSignal): Promise<void> {
    type PodStatus = KubernetesObject<{ readonly status?: { readonly phase?: string } }>;
    const pod = await this.#find<PodStatus>(PODS, namespace, podName, signal);
    if (pod === undefined || pod.metadata.uid !== podUid) return;
    if (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') return;
    throw new StaleCacheError(`pod "${podName}" is there, and the cache does not show it yet`);
  }

  async #confirmResourceGone({ namespace, resourceName: resource }: PodKey, signal: AbortSignal): Promise<void> {
    const found = await this.#find(DELEGATED_CREDENTIALS, namespace, resource, signal);
    if (found === undefined) return;
    throw new StaleCacheError(`DelegatedCredential "${resource}" is there, and the cache does not show it yet`);
  }

  async #find<T extends KubernetesObject>(
    type: ResourceType,
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    try {
      return await this.#options.client.get<T>(type, { namespace, name }, { signal });
    } catch (error) {
      if (isApiError(error, 'NotFound')) return undefined;
      throw error;
    }
  }

  async #ungate({ key, pod }: Subject, signal: AbortSignal): Promise<Applied> {
    if (pod === undefined) throw new TypeError('planned to lift the gate of a pod without a pod');
    try {
      return { podResourceVersion: await liftGate(this.#options.client, pod, key.resourceName, signal) };
    } catch (error) {
      if (isApiError(error, 'NotFound') || isApiError(error, 'Conflict')) {
        throw new StaleCacheError(`pod "${pod.name}" has changed or is gone`, undefined, { cause: error });
      }
      if (!isApiError(error, 'Forbidden')) throw error;
      throw new PodFailure(
        'GateNotLifted',
        `the Secret is there, and the pod cannot be told: dcred may not patch pods here (chart: rbac, webhook.gatePods); ` +
          `the API server says: ${error.message.slice(0, MESSAGE_LENGTH)}`,
        { cause: error },
      );
    }
  }

  /** Labels and annotations alone. The resourceVersion in the patch makes it refuse a Secret that has changed since. */
  async #annotate({ renewAt, secret }: AnnotateStep, { resource }: Subject, signal: AbortSignal): Promise<Applied> {
    if (resource === undefined) throw new TypeError('planned to annotate without a resource');
    const { name, namespace, resourceVersion, template } = secret;
    const wanted = wantedMetadata(resource.spec);
    const patch = {
      metadata: {
        resourceVersion,
        labels: difference(template.labels, wanted.labels),
        annotations: {
          ...difference(template.annotations, wanted.annotations),
          [SECRET_ANNOTATIONS.renewAt]: formatRfc3339(renewAt),
        },
      },
    };
    try {
      const written = await this.#options.client.mergePatch(SECRETS, { namespace, name }, patch, {
        signal,
        metadataOnly: true,
      });
      return { resourceVersion: written.metadata.resourceVersion };
    } catch (error) {
      if (isApiError(error, 'Conflict') || isApiError(error, 'NotFound')) throw stale(secret, error);
      throw refusal(error);
    }
  }
}

/** A merge patch that turns one set of entries into another: null removes. */
function difference(
  present: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string>>,
): Readonly<Record<string, string | null>> {
  const removed = Object.keys(present).filter((key) => !Object.hasOwn(wanted, key));
  return { ...Object.fromEntries(removed.map((key) => [key, null])), ...wanted };
}

function stale({ name }: IssuedSecret, cause: unknown): StaleCacheError {
  return new StaleCacheError(`Secret "${name}" has changed since it was last seen`, undefined, { cause });
}

/** A certificate that has just ended is the resource's matter. What a signer throws may hold anything: only its kind is told. */
function notMade(error: unknown): unknown {
  if (error instanceof CertificateError) return error;
  const told = error instanceof UnverifiedCredentialError ? error.message : `the signer failed (${kindOf(error)})`;
  return new PodFailure('IssueFailed', `no credential could be made, and it is tried again: ${told}`, { cause: error });
}

function kindOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}

const MESSAGE_LENGTH = 300;

/** What the API server will not take (a quota, a policy, a bad template) is for a person to mend; the rest is retried. */
function refusal(error: unknown): unknown {
  if (!isApiError(error)) return error;
  const { message, reason } = error as ApiError;
  if (reason !== 'Forbidden' && reason !== 'Invalid') return error;
  return new PodFailure('SecretRefused', `the API server refuses the Secret: ${message.slice(0, MESSAGE_LENGTH)}`, {
    cause: error,
  });
}

function isImmutable(error: unknown): boolean {
  return isApiError(error, 'Invalid') && /field is immutable/.test((error as ApiError).message);
}
