/**
 * One (resource, pod): observe, plan, apply.
 *
 * Level-based: a key says where to look, never what happened. The caches may be behind; every write therefore names the state
 * that it was planned on (POST for a new Secret, a resourceVersion for every other), and the API server refuses what was planned
 * on old knowledge.
 */
import { parsePodKey } from '../issued-secret/names.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { Outcome } from '../kubernetes/queue/workers.ts';
import type { Applied, Applier } from './apply.ts';
import type { Caches } from './caches.ts';
import type { CertificateWatcher } from './certificate-watcher.ts';
import { missedInjection, notInjected, pendingWarning } from './core/missed-injection.ts';
import { type Plan, plan, type Step } from './core/plan.ts';
import { RestorationGuard } from './core/restoration-guard.ts';
import { maxRetryDelayMs } from './core/schedule.ts';
import { type KubeletNudge, needsNudge } from './kubelet-nudge.ts';
import { PodFailure, type PodFailures, StaleCacheError } from './pod-failure.ts';
import type { Reporter } from './reporter.ts';
import { describeFailure, type Situation, situationOf } from './situation.ts';

/** How long a write waits to show in the caches before its pod is reconciled again regardless. */
const CACHE_TIMEOUT_MS = 5_000;
/** Before planning again on a cache that was behind by an unknown version. */
const STALE_RETRY_MS = 1_000;

export interface PodControllerOptions {
  readonly caches: Caches;
  readonly certificates: Pick<CertificateWatcher, 'resolve'>;
  readonly applier: Pick<Applier, 'apply' | 'wholeSecrets'>;
  readonly failures: PodFailures;
  /** Undefined: kubelets find new Secrets by themselves. */
  readonly nudge: Pick<KubeletNudge, 'send'> | undefined;
  readonly reporter: Pick<Reporter, 'issued' | 'deleted' | 'podFailed' | 'podWarned'>;
  readonly clock: Clock;
  /** What the resource's status shows of its pods may have changed. */
  readonly onOutcome: (namespace: string, resourceName: string) => void;
}

/** The versions that our own writes of one pod have reached. */
interface Written {
  readonly secret?: string | undefined;
  readonly pod?: string | undefined;
}

export class PodController {
  readonly #options: PodControllerOptions;
  /** Our own writes that the caches do not show yet: planning before that would repeat them. */
  readonly #unseen = new Map<string, Written>();
  readonly #restorations = new RestorationGuard();

  constructor(options: PodControllerOptions) {
    this.#options = options;
  }

  /** Never throws: every failure becomes a retry. */
  async reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    const { clock, onOutcome } = this.#options;
    const { namespace, resourceName } = parsePodKey(key);
    if (this.#isBehind(key, namespace)) return { kind: 'at', timeMs: clock.now() + CACHE_TIMEOUT_MS };
    const situation = situationOf(key, { ...this.#options, now: Math.floor(clock.now() / 1000) });
    if (situation === undefined) return { kind: 'done' };
    try {
      return await this.#carryOut(key, situation, signal);
    } finally {
      onOutcome(namespace, resourceName);
    }
  }

  #isBehind(key: string, namespace: string): boolean {
    const written = this.#unseen.get(key);
    if (written === undefined) return false;
    const { pods, secrets } = this.#options.caches;
    if (written.secret !== undefined && !secrets.isAtLeast(namespace, written.secret)) return true;
    if (written.pod !== undefined && !pods.isAtLeast(namespace, written.pod)) return true;
    this.#unseen.delete(key);
    return false;
  }

  async #carryOut(key: string, situation: Situation, signal: AbortSignal): Promise<Outcome> {
    const { applier, clock, nudge } = this.#options;
    const { observed, pod } = situation;
    const lifetimeSeconds = situation.resource?.spec.lifetimeSeconds ?? 0;
    try {
      const decided = plan({ ...observed, secrets: await applier.wholeSecrets(observed.secrets, signal) });
      if (decided.steps.some(isRestoration)) {
        const allowedAt = this.#restorations.allowedAt(key, clock.now(), maxRetryDelayMs(lifetimeSeconds));
        if (allowedAt > clock.now()) return { kind: 'at', timeMs: allowedAt };
      }
      for (const step of decided.steps) {
        this.#report(key, situation, await applier.apply(step, situation, signal));
        if (isRestoration(step)) this.#restorations.restored(key, clock.now());
        if (pod !== undefined && needsNudge(step, pod)) await nudge?.send(pod, signal);
      }
      return this.#settle(key, situation, decided);
    } catch (error) {
      if (error instanceof StaleCacheError) {
        const { resourceVersion } = error;
        if (resourceVersion !== undefined) this.#expect(key, { secret: resourceVersion });
        return {
          kind: 'at',
          timeMs: clock.now() + (resourceVersion === undefined ? STALE_RETRY_MS : CACHE_TIMEOUT_MS),
        };
      }
      if (error instanceof PodFailure) this.#fail(key, situation, error);
      return { kind: 'retry', error, ...retryBound(situation) };
    }
  }

  /** Remembers what was written, and reports what people want to know of. */
  #report(key: string, { key: { resourceName }, pod, resource }: Situation, applied: Applied): void {
    const { reporter } = this.#options;
    switch (applied.kind) {
      case 'issued':
        this.#expect(key, { secret: applied.resourceVersion });
        if (pod === undefined || resource === undefined) return;
        reporter.issued(resource, pod, applied.reason, applied.seconds);
        // Said once, with the pod's first credential.
        if (applied.reason !== 'Missing' || !missedInjection(pod, resourceName)) return;
        reporter.podWarned(pod, resourceName, notInjected(pod, resourceName));
        return;
      case 'deleted':
        reporter.deleted(applied.secret, applied.reason);
        return;
      case 'annotated':
        this.#expect(key, { secret: applied.resourceVersion });
        return;
      case 'ungated':
        this.#expect(key, { pod: applied.podResourceVersion });
    }
  }

  #expect(key: string, written: Written): void {
    const before = this.#unseen.get(key);
    const expected = { secret: written.secret ?? before?.secret, pod: written.pod ?? before?.pod };
    if (expected.secret !== undefined || expected.pod !== undefined) this.#unseen.set(key, expected);
  }

  #settle(key: string, situation: Situation, decided: Plan): Outcome {
    const { failures } = this.#options;
    if (decided.failure !== undefined) {
      const failure = describeFailure(decided.failure, situation);
      this.#fail(key, situation, failure);
      return { kind: 'retry', error: failure, ...retryBound(situation) };
    }
    failures.clear(key);
    this.#warnPending(situation);
    if (decided.wakeAt === undefined) return { kind: 'done' };
    return { kind: 'at', timeMs: decided.wakeAt * 1000 };
  }

  #warnPending({ certificate, key: { resourceName: name }, observed, pod, resource }: Situation): void {
    if (pod === undefined) return;
    const warning = pendingWarning({
      name,
      pod,
      resource: resource && {
        selectsPod: observed.pod?.selected === true,
        suspended: resource.spec.suspend,
      },
      secrets: observed.secrets,
      refusal: certificate?.kind === 'refused' ? certificate.message : undefined,
    });
    if (warning !== undefined) this.#options.reporter.podWarned(pod, name, warning);
  }

  /** Reported once, and again when the reason changes: not with every retry. */
  #fail(key: string, { pod, resource }: Situation, failure: PodFailure): void {
    const isNews = this.#options.failures.set(key, failure);
    if (isNews && pod !== undefined && resource !== undefined) this.#options.reporter.podFailed(pod, resource, failure);
  }
}

function isRestoration(step: Step): boolean {
  return step.kind === 'issue' && step.reason === 'Modified';
}

function retryBound({ resource }: Situation): { maxDelayMs?: number } {
  return resource === undefined ? {} : { maxDelayMs: maxRetryDelayMs(resource.spec.lifetimeSeconds) };
}
