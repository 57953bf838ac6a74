/**
 * One (resource, pod): observe, plan, apply.
 *
 * Level-based: a key says where to look, never what happened. The caches may be behind; every write therefore names the state
 * that it was planned on (POST for a new Secret, a resourceVersion for every other), and the API server refuses what was planned
 * on old knowledge.
 *
 *   behind our own writes? wait -> plan -> steps, in order -> clean-up, each by itself -> outcome
 *                                           (restorations: not more often than the guard allows)
 */
import { type IssuedSecret, podKeyOf } from '../../issued-secret/issued-secret.ts';
import { formatObjectKey, type PodKey, parsePodKey } from '../../issued-secret/names.ts';
import type { Clock } from '../../kubernetes/clock.ts';
import type { Outcome } from '../../kubernetes/queue/workers.ts';
import type { Caches } from '../caches.ts';
import type { Certificates } from '../certificates/certificates.ts';
import { DeletionDelay } from '../core/deletion-delay.ts';
import { missedInjection, notInjected, pendingWarning } from '../core/missed-injection.ts';
import { type Plan, plan, type Step } from '../core/plan.ts';
import type { Pod } from '../core/pod.ts';
import { RestorationGuard } from '../core/restoration-guard.ts';
import { maxRetryDelayMs } from '../core/schedule.ts';
import { PodFailure, type PodFailures, StaleCacheError } from '../pod-failure.ts';
import { mayHaveBeenWritten } from '../refusal.ts';
import type { Reporter } from '../reporting/reporter.ts';
import type { TakenNames } from '../taken-names.ts';
import type { Applied, Applier } from './apply.ts';
import { type KubeletNudge, needsNudge } from './kubelet-nudge.ts';
import { combine } from './outcomes.ts';
import { PodSlots } from './pod-slots.ts';
import { RefusalTries } from './refusal-tries.ts';
import { describeFailure, type Situation, situationOf } from './situation.ts';
import { SuspectWrites } from './suspect-writes.ts';
import { UnseenWrites } from './unseen-writes.ts';
import type { WavePacer } from './wave-pacer.ts';

/** How long a write waits to show in the caches before its pod is reconciled again regardless. */
const CACHE_TIMEOUT_MS = 5_000;

export interface PodControllerOptions {
  readonly caches: Caches;
  readonly certificates: Pick<Certificates, 'access' | 'resolve'>;
  readonly applier: Pick<Applier, 'apply' | 'wholeSecrets'>;
  readonly failures: PodFailures;
  readonly names: Pick<TakenNames, 'release' | 'wait'>;
  /** Notified of every credential that was issued. */
  readonly pacer: Pick<WavePacer, 'issued'>;
  /** Enqueues a pod that may be served now. */
  readonly enqueue: (podKey: string) => void;
  /** Undefined: kubelets find new Secrets by themselves. */
  readonly nudge: Pick<KubeletNudge, 'send'> | undefined;
  readonly reporter: Pick<
    Reporter,
    'cleanUpFailed' | 'deleted' | 'issued' | 'podFailed' | 'podWarned' | 'chainPublished'
  >;
  readonly clock: Clock;
  /** The namespace of the release, where the webhook injects nothing. */
  readonly ownNamespace: string;
  /** What the resource's status shows of its pods may have changed. */
  readonly onOutcome: (key: PodKey) => void;
}

export class PodController {
  readonly #options: PodControllerOptions;
  readonly #unseen: UnseenWrites;
  readonly #restorations = new RestorationGuard();
  /** Labels and annotations of the template that another client keeps reverting. */
  readonly #annotations = new RestorationGuard();
  readonly #deletions = new DeletionDelay();
  readonly #suspects = new SuspectWrites();
  readonly #slots: PodSlots;
  readonly #tries = new RefusalTries();
  readonly #cleanUpTries = new RefusalTries();

  constructor(options: PodControllerOptions) {
    this.#options = options;
    this.#unseen = new UnseenWrites(options.caches, options.clock);
    this.#slots = new PodSlots({ ...options, onFree: options.enqueue });
  }

  /** Of every namespace, also of those that another replica serves for now. */
  podChanged(pod: Pick<Pod, 'name' | 'namespace'>): void {
    this.#slots.podChanged(pod);
  }

  /** Likewise. */
  secretChanged(...states: readonly (IssuedSecret | undefined)[]): void {
    for (const secret of states) if (secret !== undefined) this.#slots.secretChanged(secret);
  }

  /** The cache shows a Secret, new or changed. */
  secretSeen(current: IssuedSecret, previous: IssuedSecret | undefined): void {
    this.#suspects.seen(current, previous, this.#unseen.versionOf(podKeyOf(current)));
  }

  /** The cache shows that a Secret is gone. Its pod, if it still needs one, is confirmed before it gets another. */
  secretGone(secret: IssuedSecret): void {
    const { caches, clock } = this.#options;
    this.#suspects.gone(secret.uid);
    const pod = caches.pods.get(secret.namespace, secret.podName);
    if (pod?.uid === secret.podUid) this.#restorations.lost(podKeyOf(secret), secret.podUid, clock.now());
  }

  /** Never throws: every failure becomes a retry. */
  async reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    const { caches, clock, onOutcome } = this.#options;
    const podKey = parsePodKey(key);
    const { namespace } = podKey;
    // Half of a namespace is no ground for a decision; once it is complete, all of it is enqueued.
    if (!caches.isComplete(namespace)) return { kind: 'stalled' };
    const unseen = this.#unseen.check(key, namespace);
    if (unseen === 'behind') return { kind: 'at', timeMs: clock.now() + CACHE_TIMEOUT_MS };
    const situation = situationOf(key, { ...this.#options, now: Math.floor(clock.now() / 1000) });
    if (situation === undefined) return this.#undecided(key, podKey);
    const { observed, pod } = situation;
    // Written and deleted again before any cache showed it.
    if (unseen === 'seen' && observed.secrets.length === 0 && pod !== undefined) {
      this.#restorations.lost(key, pod.uid, clock.now());
    }
    try {
      return await this.#carryOut(key, situation, signal);
    } finally {
      onOutcome(podKey);
    }
  }

  /** Of a resource that cannot be read. Once it can, what there is of its pods is enqueued, and nothing else. */
  #undecided(key: string, { namespace, pod }: PodKey): Outcome {
    const { caches, failures, names } = this.#options;
    const [secret] = caches.secrets.byIndex(namespace, 'podKey', key);
    if (secret === undefined && caches.pods.get(namespace, pod) === undefined) {
      failures.clear(key);
      failures.clearCleanUp(key);
      names.release(key);
      this.#tries.clear(key);
      this.#cleanUpTries.clear(key);
    }
    return { kind: 'done' };
  }

  async #carryOut(key: string, situation: Situation, signal: AbortSignal): Promise<Outcome> {
    const { applier, clock } = this.#options;
    const { observed } = situation;
    let decided: Plan;
    let giveBack: (() => void) | undefined;
    try {
      const suspect = observed.secrets.find((secret) => this.#suspects.has(secret))?.uid;
      decided = plan({ ...observed, suspect, secrets: await applier.wholeSecrets(observed.secrets, signal) });
      if (decided.steps.some((step) => this.#isRestoration(step, key, situation))) {
        const uid = situation.pod?.uid ?? '';
        const allowedAt = this.#restorations.allowedAt(key, uid, clock.now(), longestWaitMs(situation));
        if (allowedAt > clock.now()) return { kind: 'at', timeMs: allowedAt };
      }
      giveBack = this.#takeSlot(key, situation, decided);
      for (const step of decided.steps) {
        await this.#take(step, key, situation, signal);
        // What follows may fail: the Secret is there.
        if (step.kind === 'issue') giveBack = undefined;
      }
    } catch (error) {
      if (!mayHaveBeenWritten(error)) giveBack?.();
      return this.#failed(key, situation, error);
    }
    const outcome = this.#settle(key, situation, decided);
    return combine(outcome, await this.#cleanUp(key, situation, decided, signal), clock.now());
  }

  #takeSlot(key: string, { access, pod }: Situation, { steps }: Plan): (() => void) | undefined {
    const maxPods = access.kind === 'granted' ? access.terms.maxPods : undefined;
    if (maxPods === undefined || pod === undefined || !steps.some(({ kind }) => kind === 'issue')) return undefined;
    return this.#slots.take(key, pod.uid, maxPods);
  }

  async #take(step: Step, key: string, situation: Situation, signal: AbortSignal): Promise<void> {
    const { applier, clock, nudge } = this.#options;
    const { pod } = situation;
    const restores = this.#isRestoration(step, key, situation);
    const recreates = restores && step.kind === 'issue' && step.replaces === undefined;
    const applied = await applier.apply(step, { ...situation, recreates }, signal);
    this.#report(key, situation, applied);
    this.#clear(step, applied);
    if (pod === undefined || applied.kind === 'verified') return;
    if (restores) this.#restorations.restored(key, pod.uid, clock.now());
    if (recreates || needsNudge(step, pod)) await nudge?.send(pod, signal);
  }

  /** A write that repeats an earlier one of our own, because another client undid it. */
  #isRestoration(step: Step, key: string, { pod }: Situation): boolean {
    if (step.kind === 'verify') return true;
    if (step.kind !== 'issue' || pod === undefined) return false;
    return step.reason === 'Modified' || (step.reason === 'Missing' && this.#restorations.knows(key, pod.uid));
  }

  /** What is left of earlier states. None of it keeps a pod from being served, and none waits for another. */
  async #cleanUp(key: string, situation: Situation, { cleanUp }: Plan, signal: AbortSignal): Promise<Outcome> {
    const { applier, clock, failures } = this.#options;
    const deletions = cleanUp.filter((step) => step.kind === 'delete');
    const deletableAt = this.#deletions.allowedAt(key, deletions, clock.now());
    let outcome: Outcome = { kind: 'done' };
    let refused: PodFailure | undefined;
    for (const step of cleanUp) {
      const allowedAt = this.#cleanUpAllowedAt(step, key, situation, deletableAt);
      if (allowedAt > clock.now()) {
        outcome = combine(outcome, { kind: 'at', timeMs: allowedAt }, clock.now());
        continue;
      }
      try {
        const applied = await applier.apply(step, situation, signal);
        this.#report(key, situation, applied);
        this.#clear(step, applied);
        if (step.kind === 'annotate') this.#annotations.restored(key, step.secret.uid, clock.now());
      } catch (error) {
        if (error instanceof PodFailure) refused = error;
        outcome = combine(outcome, this.#retry(key, situation, error), clock.now());
      }
    }
    if (refused === undefined) {
      this.#cleanUpTries.clear(key);
      failures.clearCleanUp(key);
    } else if (this.#cleanUpTries.isFailure(key, refused)) this.#cleanUpFailed(key, situation, refused);
    return outcome;
  }

  /** What we have written or verified is not suspect, whichever came first: the answer or the event. */
  #clear(step: Step, applied: Applied): void {
    const secret = step.kind === 'issue' ? step.replaces : 'secret' in step ? step.secret : undefined;
    if (secret === undefined) return;
    if (step.kind === 'verify' || step.kind === 'rechain') this.#suspects.cleared(secret.uid, secret.resourceVersion);
    if ('resourceVersion' in applied) this.#suspects.cleared(secret.uid, applied.resourceVersion);
  }

  #cleanUpFailed(key: string, { key: podKey, resource }: Situation, failure: PodFailure): void {
    const { failures, reporter } = this.#options;
    if (failures.setCleanUp(key, failure)) reporter.cleanUpFailed(resource, podKey, failure);
  }

  #cleanUpAllowedAt(step: Step, key: string, situation: Situation, deletableAt: ReadonlyMap<string, number>): number {
    const now = this.#options.clock.now();
    if (step.kind === 'delete') return deletableAt.get(step.secret.uid) ?? now;
    if (step.kind !== 'annotate') return now;
    return this.#annotations.allowedAt(key, step.secret.uid, now, longestWaitMs(situation));
  }

  /** Remembers what was written, and reports what people want to know of. */
  #report(key: string, { key: { resourceName }, pod, resource }: Situation, applied: Applied): void {
    const { reporter } = this.#options;
    switch (applied.kind) {
      case 'issued':
        this.#unseen.wrote(key, { secret: applied.resourceVersion });
        if (pod === undefined || resource === undefined) return;
        this.#options.pacer.issued(applied.reason);
        reporter.issued(resource, pod, applied.reason, applied.seconds);
        // Said once, with the pod's first credential.
        if (applied.reason !== 'Missing' || !missedInjection(pod, resourceName)) return;
        reporter.podWarned(pod, resourceName, notInjected(pod, resourceName, this.#options.ownNamespace));
        return;
      case 'verified':
        return;
      case 'rechained':
        this.#unseen.wrote(key, { secret: applied.resourceVersion });
        if (pod !== undefined && resource !== undefined) reporter.chainPublished(resource, pod);
        return;
      case 'deleted':
        reporter.deleted(applied.secret, applied.reason);
        return;
      case 'annotated':
        this.#unseen.wrote(key, { secret: applied.resourceVersion });
        return;
      case 'ungated':
        this.#unseen.wrote(key, { pod: applied.podResourceVersion });
    }
  }

  #failed(key: string, situation: Situation, error: unknown): Outcome {
    if (!(error instanceof PodFailure)) return this.#retry(key, situation, error);
    if (!this.#tries.isFailure(key, error)) return this.#retry(key, situation, error);
    this.#fail(key, situation, error);
    return { kind: 'retry', error, maxDelayMs: longestWaitMs(situation), reported: true };
  }

  #retry(key: string, situation: Situation, error: unknown): Extract<Outcome, { kind: 'at' | 'retry' }> {
    if (!(error instanceof StaleCacheError)) return { kind: 'retry', error, maxDelayMs: longestWaitMs(situation) };
    const { resourceVersion } = error;
    // The event that brings the cache up to date enqueues the key; a watch that is silent must not cost a request a second.
    if (resourceVersion === undefined) {
      return { kind: 'retry', error, maxDelayMs: longestWaitMs(situation), reported: true };
    }
    this.#unseen.wrote(key, { secret: resourceVersion });
    return { kind: 'at', timeMs: this.#options.clock.now() + CACHE_TIMEOUT_MS };
  }

  #settle(key: string, situation: Situation, decided: Plan): Outcome {
    const { failures, names } = this.#options;
    this.#tries.clear(key);
    if (decided.failure !== undefined) {
      const failure = describeFailure(decided.failure, situation);
      this.#fail(key, situation, failure);
      // Only a change of the pod helps, and that enqueues it.
      if (decided.failure === 'SecretNameInvalid') return { kind: 'stalled' };
      return { kind: 'retry', error: failure, maxDelayMs: longestWaitMs(situation), reported: true };
    }
    failures.clear(key);
    names.release(key);
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
  #fail(key: string, { observed, pod, resource }: Situation, failure: PodFailure): void {
    const { failures, names } = this.#options;
    const isNews = failures.set(key, failure);
    const { secretName } = observed;
    if (failure.code === 'SecretNameTaken' && secretName !== undefined && pod !== undefined) {
      names.wait(key, formatObjectKey({ namespace: pod.namespace, name: secretName }));
    } else names.release(key);
    if (pod === undefined || resource === undefined) return;
    this.#options.reporter.podFailed(pod, resource, failure, isNews);
  }
}

/** What may never be put off longer: some twenty tries fit into the life of a credential. */
function longestWaitMs({ resource }: Situation): number {
  return maxRetryDelayMs(resource?.spec.lifetimeSeconds ?? Number.POSITIVE_INFINITY);
}
