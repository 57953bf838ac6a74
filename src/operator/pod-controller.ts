/**
 * One (resource, pod): observe, plan, apply.
 *
 * Everything is level-based: a key says where to look, never what happened. The caches may be behind; every write therefore
 * names the state that it was planned on (POST for a new Secret, a resourceVersion for every other), so that the API server
 * refuses what was planned on old knowledge.
 */

import type { DelegatedCredentialResource } from '../api/delegated-credential.ts';
import { secretNameAnnotation } from '../api/keys.ts';
import { selects } from '../api/pod-selector.ts';
import { isReadable } from '../api/read.ts';
import type { IssuedSecret } from '../issued-secret/issued-secret.ts';
import { defaultSecretName, formatPodKey, isSecretName, type PodKey, parsePodKey } from '../issued-secret/names.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { Outcome } from '../kubernetes/queue/workers.ts';
import { type Applied, type Applier, PodFailure, StaleCacheError } from './apply.ts';
import type { Caches } from './caches.ts';
import { type CertificateState, latestExpiry, stateAt } from './core/certificate-state.ts';
import { missedInjection, notInjected, pendingWarning } from './core/missed-injection.ts';
import { type Observed, type Plan, plan, type Step } from './core/plan.ts';
import type { Pod } from './core/pod.ts';
import { RestorationGuard } from './core/restoration-guard.ts';
import { maxRetryDelayMs } from './core/schedule.ts';
import { type KubeletNudge, needsNudge } from './kubelet-nudge.ts';
import type { Reporter } from './reporter.ts';

/** A write that the caches have not shown after this long is looked at again. */
const CACHE_TIMEOUT_MS = 5_000;

export interface PodControllerOptions {
  readonly caches: Caches;
  readonly certificateOf: (resource: DelegatedCredentialResource) => CertificateState;
  readonly applier: Applier;
  /** Undefined: kubelets find new Secrets by themselves. */
  readonly notifier: Pick<KubeletNudge, 'notify'> | undefined;
  readonly reporter: Reporter;
  readonly clock: Clock;
  /** The count of served pods of this resource may be another one now. */
  readonly onOutcome: (namespace: string, resource: string) => void;
}

interface Situation {
  readonly key: PodKey;
  readonly resource: DelegatedCredentialResource | undefined;
  readonly pod: Pod | undefined;
  readonly certificate: CertificateState | undefined;
  readonly observed: Observed;
}

export class PodController {
  readonly #options: PodControllerOptions;
  /** Our own writes that the caches have yet to show: planning before that would do them again. */
  readonly #unseen = new Map<string, Applied>();
  readonly #failures = new Map<string, PodFailure>();
  readonly #restorations = new RestorationGuard();

  constructor(options: PodControllerOptions) {
    this.#options = options;
  }

  /** Why this pod cannot be served, where that is so. */
  failureOf(key: string): PodFailure | undefined {
    return this.#failures.get(key);
  }

  /** Never throws: every failure becomes a retry. */
  async reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    const { clock, onOutcome } = this.#options;
    const { namespace, resourceName: resource } = parsePodKey(key);
    if (this.#isBehind(key, namespace)) return { kind: 'at', timeMs: clock.now() + CACHE_TIMEOUT_MS };
    const situation = this.#observe(key);
    if (situation === undefined) return { kind: 'done' };
    try {
      return await this.#carryOut(key, situation, signal);
    } finally {
      onOutcome(namespace, resource);
    }
  }

  #isBehind(key: string, namespace: string): boolean {
    const written = this.#unseen.get(key);
    if (written === undefined) return false;
    const { pods, secrets } = this.#options.caches;
    const { podResourceVersion, resourceVersion } = written;
    if (resourceVersion !== undefined && !secrets.isAtLeast(namespace, resourceVersion)) return true;
    if (podResourceVersion !== undefined && !pods.isAtLeast(namespace, podResourceVersion)) return true;
    this.#unseen.delete(key);
    return false;
  }

  /** Undefined for a resource that cannot be read: nothing is done for it, and nothing undone. */
  #observe(key: string): Situation | undefined {
    const { caches, certificateOf, clock } = this.#options;
    const podKey = parsePodKey(key);
    const { namespace, resourceName, pod: podName } = podKey;
    const resource = caches.resources.get(namespace, resourceName)?.value;
    if (resource !== undefined && !isReadable(resource)) return undefined;
    const pod = caches.pods.get(namespace, podName);
    const secrets = issuedSecrets(caches.secrets.byIndex(namespace, 'podKey', key));
    const now = Math.floor(clock.now() / 1000);
    const certificate = resource === undefined ? undefined : stateAt(certificateOf(resource), now);
    const secretName = pod === undefined ? undefined : chosenSecretName(resourceName, pod);
    return {
      key: podKey,
      resource,
      pod,
      certificate,
      observed: {
        now,
        spec: resource?.spec,
        renewRequestedAt: resource?.metadata.renewRequestedAt,
        pod: pod && {
          ...pod,
          selected: resource !== undefined && selects(resourceName, resource.spec.podSelector, pod),
          gated: pod.gated.includes(resourceName),
        },
        secretName,
        secrets,
        nameHolder: secretName === undefined ? undefined : this.#nameHolder(key, namespace, secretName),
        certificate:
          certificate?.kind === 'usable'
            ? { sha256: certificate.certificate.sha256, latestExpiry: latestExpiry(certificate.certificate) }
            : undefined,
      },
    };
  }

  /** A Secret of that name which is another (resource, pod)'s. */
  #nameHolder(key: string, namespace: string, name: string): IssuedSecret | undefined {
    const holder = this.#options.caches.secrets.get(namespace, name)?.issued;
    if (holder === undefined) return undefined;
    const holderKey = formatPodKey({ namespace, resourceName: holder.resourceName, pod: holder.podName });
    return holderKey === key ? undefined : holder;
  }

  async #carryOut(key: string, situation: Situation, signal: AbortSignal): Promise<Outcome> {
    const { applier, clock, notifier } = this.#options;
    const { pod } = situation;
    const decided = plan(situation.observed);
    const lifetimeSeconds = situation.resource?.spec.lifetimeSeconds ?? 0;
    if (decided.steps.some(isRestoration)) {
      const allowedAt = this.#restorations.allowedAt(key, clock.now(), maxRetryDelayMs(lifetimeSeconds));
      if (allowedAt > clock.now()) return { kind: 'at', timeMs: allowedAt };
    }
    try {
      for (const step of decided.steps) {
        this.#note(key, await applier.apply(step, situation, signal));
        if (isRestoration(step)) this.#restorations.restored(key, clock.now());
        if (step.kind === 'issue' && step.reason === 'Missing') this.#noticeMissedInjection(situation);
        if (pod !== undefined && needsNudge(step, pod)) await notifier?.notify(pod, signal);
      }
      return this.#settle(key, situation, decided);
    } catch (error) {
      if (error instanceof StaleCacheError) {
        const { resourceVersion } = error;
        this.#note(key, { resourceVersion });
        return { kind: 'at', timeMs: clock.now() + (resourceVersion === undefined ? 1000 : CACHE_TIMEOUT_MS) };
      }
      if (error instanceof PodFailure) this.#fail(key, situation, error);
      return { kind: 'retry', error, ...retryBound(situation) };
    }
  }

  #note(key: string, { podResourceVersion, resourceVersion }: Applied): void {
    const { podResourceVersion: pod, resourceVersion: secret } = this.#unseen.get(key) ?? {};
    const unseen = { podResourceVersion: podResourceVersion ?? pod, resourceVersion: resourceVersion ?? secret };
    if (unseen.podResourceVersion === undefined && unseen.resourceVersion === undefined) return;
    this.#unseen.set(key, unseen);
  }

  #settle(key: string, situation: Situation, decided: Plan): Outcome {
    if (decided.failure !== undefined) {
      const failure = describeFailure(decided.failure, situation);
      this.#fail(key, situation, failure);
      return { kind: 'retry', error: failure, ...retryBound(situation) };
    }
    this.#failures.delete(key);
    this.#noticeWaiting(situation);
    if (decided.wakeAt === undefined) return { kind: 'done' };
    return { kind: 'at', timeMs: decided.wakeAt * 1000 };
  }

  /** Told once, when the pod gets its first credential. */
  #noticeMissedInjection({ key: { resourceName: resource }, pod }: Situation): void {
    if (pod === undefined || !missedInjection(pod, resource)) return;
    this.#options.reporter.podWarned(pod, resource, notInjected(pod, resource));
  }

  #noticeWaiting({ certificate, key: { resourceName: name }, observed, pod, resource }: Situation): void {
    if (pod === undefined) return;
    const notice = pendingWarning({
      name,
      pod,
      resource: resource && {
        selectsPod: observed.pod?.selected === true,
        suspended: resource.spec.suspend,
      },
      secrets: observed.secrets,
      refusal: certificate?.kind === 'refused' ? certificate.message : undefined,
    });
    if (notice !== undefined) this.#options.reporter.podWarned(pod, name, notice);
  }

  #fail(key: string, { pod, resource }: Situation, failure: PodFailure): void {
    this.#failures.set(key, failure);
    if (pod !== undefined && resource !== undefined) this.#options.reporter.podFailed(pod, resource, failure);
  }
}

function isRestoration(step: Step): boolean {
  return step.kind === 'issue' && step.reason === 'Modified';
}

function issuedSecrets(cached: Iterable<{ readonly issued: IssuedSecret | undefined }>): readonly IssuedSecret[] {
  return [...cached].flatMap(({ issued }) => (issued === undefined ? [] : [issued]));
}

/** Undefined where the pod's annotation holds no valid name. */
function chosenSecretName(resource: string, pod: Pod): string | undefined {
  const annotated = Object.hasOwn(pod.secretNames, resource) ? pod.secretNames[resource] : undefined;
  if (annotated === undefined) return defaultSecretName(resource, pod.name);
  return isSecretName(annotated) ? annotated : undefined;
}

function describeFailure(reason: NonNullable<Plan['failure']>, { key, observed, pod }: Situation): PodFailure {
  if (reason === 'SecretNameInvalid') {
    const annotation = secretNameAnnotation(key.resourceName);
    return new PodFailure(
      reason,
      `annotation ${annotation} holds no valid Secret name: use lower-case letters, digits, "-" and "." (at most 253), or ` +
        `remove it, and the name is "${defaultSecretName(key.resourceName, pod?.name ?? key.pod)}"`,
    );
  }
  const holder = observed.nameHolder;
  return new PodFailure(
    reason,
    `Secret "${holder?.name ?? ''}" was issued for pod "${holder?.podName ?? ''}" and DelegatedCredential ` +
      `"${holder?.resourceName ?? ''}": give this pod another name, or another Secret name in annotation ${secretNameAnnotation(key.resourceName)}`,
  );
}

function retryBound({ resource }: Situation): { maxDelayMs?: number } {
  return resource === undefined ? {} : { maxDelayMs: maxRetryDelayMs(resource.spec.lifetimeSeconds) };
}
