/**
 * Carries out one step of a plan: the only writes of Secrets, and the lifting of scheduling gates. A step is one write, after
 * reads where the caches could be behind (see `Confirmation`); a crash between any two writes leaves nothing half-written.
 */
import { isDeepStrictEqual } from 'node:util';
import type { DelegatedCredentialResource } from '../../api/delegated-credential.ts';
import { SECRET_ANNOTATIONS } from '../../api/keys.ts';
import { type IssuedSecret, readIssuedSecret } from '../../issued-secret/issued-secret.ts';
import type { PodKey } from '../../issued-secret/names.ts';
import type { SecretManifest } from '../../issued-secret/secret-manifest.ts';
import { isApiError, isMissing } from '../../kubernetes/api-error.ts';
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import type { Clock } from '../../kubernetes/clock.ts';
import type { KubernetesObject } from '../../kubernetes/objects.ts';
import type { Gate } from '../../kubernetes/queue/gate.ts';
import { SECRETS } from '../../kubernetes/resource-type.ts';
import { formatRfc3339 } from '../../text/rfc3339.ts';
import { type InSpan, untraced } from '../../tracing/tracing.ts';
import type { GrantProof } from '../certificates/certificates.ts';
import { type Access, OWN } from '../core/access.ts';
import type { CertificateState } from '../core/certificate-state.ts';
import { type DeleteReason, type IssueReason, type Step, wantedMetadata } from '../core/plan.ts';
import type { Pod } from '../core/pod.ts';
import { PodFailure, StaleCacheError } from '../pod-failure.ts';
import { mayPass, refusal, shortMessage } from '../refusal.ts';
import { Confirmation } from './confirmation.ts';
import { heldByFinalizer, isImmutable, notReplaceable } from './immutable-secret.ts';
import { issueFailure } from './issue-failure.ts';
import { type GenerateKey, makeSecret, rebuildSecret, type SecretRequest } from './issuer.ts';
import { removeRestored } from './restored-secret.ts';
import { liftGate } from './scheduling-gate.ts';
import { wholeSecrets } from './whole-secrets.ts';

export interface Subject {
  readonly key: PodKey;
  readonly resource: DelegatedCredentialResource | undefined;
  readonly pod: Pod | undefined;
  readonly certificate: CertificateState | undefined;
  /** Whether the resource may use it, as it was planned on. Omitted: no grant is needed. */
  readonly access?: Access;
  /** The pod had a Secret that is gone: the API server confirms the pod before it gets another. */
  readonly recreates?: boolean;
}

/** What a step did. The versions are what the caches must show before the same pod is planned again. */
export type Applied =
  | {
      readonly kind: 'issued';
      readonly reason: IssueReason;
      /** From making the key to the Secret being written. */
      readonly seconds: number;
      readonly resourceVersion: string | undefined;
    }
  | { readonly kind: 'verified'; readonly secret: IssuedSecret }
  | { readonly kind: 'rechained'; readonly resourceVersion: string | undefined }
  | { readonly kind: 'deleted'; readonly reason: DeleteReason; readonly secret: IssuedSecret }
  | { readonly kind: 'annotated'; readonly resourceVersion: string | undefined }
  | { readonly kind: 'ungated'; readonly podResourceVersion: string | undefined };

export interface ApplierOptions {
  readonly client: Pick<
    ApiClient,
    'create' | 'delete' | 'get' | 'list' | 'mergePatch' | 'replace' | 'strategicMergePatch'
  >;
  readonly generateKey: GenerateKey;
  readonly clock: Clock;
  readonly grants: GrantProof;
  /** What is published passes it. Undefined: at once. */
  readonly writes?: Pick<Gate, 'during'> | undefined;
  readonly inSpan?: InSpan | undefined;
}

type StepOf<K extends Step['kind']> = Extract<Step, { kind: K }>;

export class Applier {
  readonly #options: ApplierOptions;
  readonly #confirmation: Confirmation;
  readonly #inSpan: InSpan;

  constructor(options: ApplierOptions) {
    this.#options = options;
    this.#inSpan = options.inSpan ?? untraced;
    this.#confirmation = new Confirmation(options.client, options.grants);
  }

  /** What the cache keeps in part, complete: see `wholeSecrets`. */
  async wholeSecrets(secrets: readonly IssuedSecret[], signal: AbortSignal): Promise<readonly IssuedSecret[]> {
    return await wholeSecrets(secrets, this.#options.client, signal);
  }

  /**
   * @throws StaleCacheError where the plan was made on old knowledge
   * @throws PodFailure where the API server or the signer refuses
   * @throws ApiError, CertificateError
   */
  async apply(step: Step, subject: Subject, signal: AbortSignal): Promise<Applied> {
    switch (step.kind) {
      case 'issue':
        return await this.#issue(step, subject, signal);
      case 'verify':
        return await this.#verify(step, subject, signal);
      case 'rechain':
        return await this.#rechain(step, subject, signal);
      case 'delete':
        return await this.#delete(step, subject, signal);
      case 'annotate':
        return await this.#annotate(step, subject, signal);
      case 'ungate':
        return await this.#ungate(subject, signal);
    }
  }

  async #issue(step: StepOf<'issue'>, subject: Subject, signal: AbortSignal): Promise<Applied> {
    const request = this.#request(step.name, subject);
    const { keyAlgorithm, usage } = request.spec;
    const attributes = { 'dcred.reason': step.reason, 'dcred.key_algorithm': keyAlgorithm, 'dcred.usage': usage };
    return await this.#inSpan('issue credential', attributes, () => this.#publish(step, request, subject, signal));
  }

  async #publish(
    step: StepOf<'issue'>,
    request: Omit<SecretRequest, 'replaces'> & { readonly pod: Pod },
    subject: Subject,
    signal: AbortSignal,
  ): Promise<Applied> {
    const { clock, generateKey } = this.#options;
    const { pod } = request;
    const { replaces } = step;
    if (subject.recreates === true || (replaces !== undefined && replaces.podUid !== pod.uid)) {
      await this.#confirmation.podIsThere(pod, signal);
    }
    const started = clock.monotonic();
    const manifest = await makeSecret({ ...request, replaces }, generateKey, signal, this.#inSpan).catch(
      (error: unknown) => {
        throw signal.aborted ? error : issueFailure(error);
      },
    );
    const written = await this.#written(subject, signal, () =>
      replaces === undefined ? this.#create(manifest, subject.key, signal) : this.#replace(manifest, replaces, signal),
    );
    return {
      kind: 'issued',
      reason: step.reason,
      seconds: (clock.monotonic() - started) / 1000,
      resourceVersion: written.metadata.resourceVersion,
    };
  }

  /**
   * Key and credential come from the Secret itself: nothing else holds the key. What does not verify is re-issued instead.
   */
  async #rechain({ secret }: StepOf<'rechain'>, subject: Subject, signal: AbortSignal): Promise<Applied> {
    const { name } = secret;
    const request = { ...this.#request(name, subject), replaces: secret };
    const manifest = rebuildSecret(request, (await this.#read(secret, signal)).data ?? {});
    if (manifest === undefined) {
      return await this.#issue({ kind: 'issue', reason: 'Modified', name, replaces: secret }, subject, signal);
    }
    const written = await this.#written(subject, signal, () => this.#replace(manifest, secret, signal));
    return { kind: 'rechained', resourceVersion: written.metadata.resourceVersion };
  }

  /** Everything that is published, but for the chain, which has a step of its own, is compared with what should be. */
  async #verify({ secret }: StepOf<'verify'>, subject: Subject, signal: AbortSignal): Promise<Applied> {
    const { name } = secret;
    const request = { ...this.#request(name, subject), replaces: secret };
    const { data = {}, type } = await this.#read(secret, signal);
    const manifest = rebuildSecret(request, data);
    const isRight =
      manifest !== undefined &&
      type === manifest.type &&
      (isDeepStrictEqual(data, manifest.data) || secret.facts?.chainSha256 !== request.certificate.chainSha256);
    if (isRight) return { kind: 'verified', secret };
    return await this.#issue({ kind: 'issue', reason: 'Modified', name, replaces: secret }, subject, signal);
  }

  /** The Secret whole, in the version that was planned on. */
  async #read(secret: IssuedSecret, signal: AbortSignal): Promise<Partial<SecretManifest>> {
    const { name, namespace, resourceVersion } = secret;
    const found = await this.#options.client
      .get<SecretManifest>(SECRETS, { namespace, name }, { signal })
      .catch((error: unknown) => {
        throw isMissing(error) ? stale(secret, error) : refusal(error, 'ReadRefused', 'to show the Secret');
      });
    if (found.metadata.resourceVersion !== resourceVersion) throw stale(secret, undefined);
    return found;
  }

  /** The grant is confirmed right before, so that what is withdrawn while a credential is made, or waits, is not published. */
  async #written<T>({ access = OWN, resource }: Subject, signal: AbortSignal, write: () => Promise<T>): Promise<T> {
    const { grants, writes } = this.#options;
    const confirmed = async () => {
      if (access.kind === 'granted' && resource !== undefined) await grants.holds(access, resource, signal);
      return await write();
    };
    return await (writes === undefined ? confirmed() : writes.during(confirmed, signal));
  }

  #request(name: string, { access = OWN, certificate, key, pod, resource }: Subject) {
    if (certificate?.kind !== 'usable' || pod === undefined || resource === undefined) {
      throw new TypeError('planned to issue without a certificate, a pod or a resource');
    }
    return {
      namespace: key.namespace,
      name,
      resourceName: key.resourceName,
      pod,
      spec: resource.spec,
      onWithdraw: access.kind === 'granted' ? access.terms.onWithdraw : undefined,
      certificate: certificate.certificate,
      signer: certificate.signer,
      lifetimeCap: certificate.lifetimeCap?.(),
      now: Math.floor(this.#options.clock.now() / 1000),
    };
  }

  async #create(manifest: SecretManifest, key: PodKey, signal: AbortSignal): Promise<KubernetesObject> {
    try {
      return await this.#options.client.create(SECRETS, manifest, { signal, metadataOnly: true });
    } catch (error) {
      if (!isApiError(error, 'AlreadyExists')) throw refusal(error, 'SecretRefused', 'the Secret');
      throw await this.#explainExisting(manifest, key, signal);
    }
  }

  /** The name is taken: by our own write, which the cache does not show yet, or by a Secret that dcred does not own. */
  async #explainExisting(manifest: SecretManifest, key: PodKey, signal: AbortSignal): Promise<Error> {
    const { name = '', namespace = '' } = manifest.metadata;
    const existing = await this.#options.client
      .get(SECRETS, { namespace, name }, { signal, metadataOnly: true })
      .catch((error: unknown) => {
        if (isMissing(error)) return undefined;
        throw error;
      });
    if (existing === undefined) return new StaleCacheError(`Secret "${name}" was deleted a moment ago`);
    const issued = readIssuedSecret(existing);
    if (issued?.resourceName === key.resourceName && issued.podName === key.pod) {
      return new StaleCacheError(`Secret "${name}" was issued already`, issued.resourceVersion);
    }
    if (issued === undefined && (await removeRestored(existing, this.#options.client, signal))) {
      return new StaleCacheError(`Secret "${name}" was restored without its pod: deleted, to be created again`);
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
      if (isApiError(error, 'Conflict') || isMissing(error)) throw stale(replaces, error);
      if (!isImmutable(error)) throw refusal(error, 'SecretRefused', 'the Secret');
      // Another client set `immutable: true`, or re-created it with another type: only a new Secret can take its place.
      if (replaces.finalizers !== undefined) throw heldByFinalizer(replaces, error);
      await this.#deleteExactly(replaces, signal).catch((refused: unknown) => {
        throw refused instanceof PodFailure ? notReplaceable(replaces, refused) : refused;
      });
      throw new StaleCacheError(`Secret "${replaces.name}" is immutable: deleted, to be created again`, undefined, {
        cause: error,
      });
    }
  }

  async #delete({ reason, secret }: StepOf<'delete'>, { key }: Subject, signal: AbortSignal): Promise<Applied> {
    await this.#confirmation.isUnwanted(secret, reason, key, signal);
    await this.#deleteExactly(secret, signal);
    return { kind: 'deleted', reason, secret };
  }

  /** Deletes this Secret only in the state that was planned on. One that is gone already is fine. */
  async #deleteExactly(secret: IssuedSecret, signal: AbortSignal): Promise<void> {
    const { name, namespace, resourceVersion, uid } = secret;
    try {
      await this.#options.client.delete(
        SECRETS,
        { namespace, name },
        { signal, preconditions: { uid, resourceVersion } },
      );
    } catch (error) {
      if (isMissing(error)) return;
      if (isApiError(error, 'Conflict')) throw stale(secret, error);
      throw refusal(error, 'SecretRefused', `to delete Secret "${name}"`);
    }
  }

  async #ungate({ key, pod }: Subject, signal: AbortSignal): Promise<Applied> {
    if (pod === undefined) throw new TypeError('planned to lift the gate of a pod without a pod');
    try {
      const podResourceVersion = await liftGate(this.#options.client, pod, key.resourceName, signal);
      return { kind: 'ungated', podResourceVersion };
    } catch (error) {
      if (isMissing(error) || isApiError(error, 'Conflict')) {
        throw new StaleCacheError(`pod "${pod.name}" has changed or is gone`, undefined, { cause: error });
      }
      if (!isApiError(error, 'Forbidden')) throw refusal(error, 'GateNotLifted', 'to remove the scheduling gate');
      throw new PodFailure(
        'GateNotLifted',
        'the Secret exists, but the scheduling gate cannot be removed: dcred has no permission to patch pods here (chart values ' +
          `rbac and webhook.gatePods); the API server says: ${shortMessage(error)}`,
        { cause: error, transient: mayPass(error) },
      );
    }
  }

  /** Labels and annotations only. With the resourceVersion in the patch, the API server refuses it for a Secret that has changed. */
  async #annotate(
    { renewAt, secret }: StepOf<'annotate'>,
    { access = OWN, resource }: Subject,
    signal: AbortSignal,
  ): Promise<Applied> {
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
          [SECRET_ANNOTATIONS.onWithdraw]:
            access.kind === 'granted' && access.terms.onWithdraw === 'Delete' ? 'Delete' : null,
        },
      },
    };
    try {
      const written = await this.#options.client.mergePatch(SECRETS, { namespace, name }, patch, {
        signal,
        metadataOnly: true,
      });
      return { kind: 'annotated', resourceVersion: written.metadata.resourceVersion };
    } catch (error) {
      if (isApiError(error, 'Conflict') || isMissing(error)) throw stale(secret, error);
      throw refusal(error, 'SecretRefused', 'the labels and annotations of the Secret');
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
