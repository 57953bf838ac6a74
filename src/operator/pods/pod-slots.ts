/**
 * `maxPods` of a grant: how many pods of one resource may have a credential. Counted from the Secrets that there are, and from the
 * issues that no cache shows yet, never from what a name once had: after a restart, or in a namespace that was created again, the
 * count is what is there.
 *
 * All Secrets of a resource are counted once, when the first slot is taken; from then on an event counts its own pod again, from the
 * caches, and a slot costs the same however many pods there are.
 *
 * Where more pods have one than the grant allows (it was narrowed, or two operators ran at once), the first by uid are re-issued;
 * the others keep what they have until it expires.
 */
import type { IssuedSecret } from '../../issued-secret/issued-secret.ts';
import { formatObjectKey, formatPodKey, parsePodKey } from '../../issued-secret/names.ts';
import type { Clock } from '../../kubernetes/clock.ts';
import type { Caches } from '../caches.ts';
import type { Pod } from '../core/pod.ts';
import { SlotHolders } from '../core/slot-holders.ts';
import { PodFailure } from '../pod-failure.ts';

/** Enqueued for each slot that becomes free; all others come with their retries. */
const ENQUEUED = 10;

export interface PodSlotsOptions {
  readonly caches: { readonly pods: Pick<Caches['pods'], 'get'>; readonly secrets: Pick<Caches['secrets'], 'byIndex'> };
  readonly clock: Pick<Clock, 'monotonic'>;
  /** A slot may be free for this pod. */
  readonly onFree: (podKey: string) => void;
}

/** One resource. */
interface Counted {
  readonly namespace: string;
  readonly resourceName: string;
  readonly holders: SlotHolders;
  /** Pods that were refused. */
  readonly waiting: Set<string>;
}

export class PodSlots {
  readonly #options: PodSlotsOptions;
  readonly #counted = new Map<string, Counted>();
  /** By pod: the resources that its events concern. */
  readonly #byPod = new Map<string, Set<Counted>>();

  constructor(options: PodSlotsOptions) {
    this.#options = options;
  }

  /**
   * Before a credential is issued to a pod.
   * @returns what gives the slot back, for a credential that was not issued after all
   * @throws PodFailure where the grant allows no more
   */
  take(podKey: string, podUid: string, maxPods: number): () => void {
    const counted = this.#countedOf(podKey);
    const { holders, waiting } = counted;
    const { pod } = parsePodKey(podKey);
    const { clock } = this.#options;
    holders.expire(clock.monotonic());
    if (!holders.mayTake(pod, podUid, maxPods)) {
      // A pod that is gone by now has no event that would end its wait.
      if (this.#options.caches.pods.get(counted.namespace, pod) !== undefined) waiting.add(pod);
      this.#file(counted, pod);
      throw new PodFailure(
        'MaxPodsReached',
        `the grant of the certificate allows at most ${maxPods} pods of this DelegatedCredential, and ${holders.size} have a credential: ` +
          'select fewer pods, or ask the owner of the certificate to raise maxPods of the DelegationGrant',
      );
    }
    waiting.delete(pod);
    const undo = holders.take(pod, podUid, clock.monotonic());
    this.#file(counted, pod);
    return () => {
      undo(clock.monotonic());
      this.#file(counted, pod);
    };
  }

  /** The cache shows another state of a Secret, or that it is gone. */
  secretChanged(secret: IssuedSecret): void {
    const counted = this.#counted.get(formatObjectKey({ namespace: secret.namespace, name: secret.resourceName }));
    if (counted !== undefined) this.#count(counted, secret.podName);
  }

  /** The cache shows another state of a pod, or that it is gone. */
  podChanged({ name, namespace }: Pick<Pod, 'name' | 'namespace'>): void {
    const isGone = this.#options.caches.pods.get(namespace, name) === undefined;
    for (const counted of [...(this.#byPod.get(formatObjectKey({ namespace, name })) ?? [])]) {
      if (isGone) counted.waiting.delete(name);
      this.#count(counted, name);
    }
  }

  #countedOf(podKey: string): Counted {
    const resourceKey = resourceKeyOf(podKey);
    const known = this.#counted.get(resourceKey);
    if (known !== undefined) return known;
    const { namespace, resourceName } = parsePodKey(podKey);
    const counted: Counted = { namespace, resourceName, holders: new SlotHolders(), waiting: new Set() };
    this.#counted.set(resourceKey, counted);
    const pods = new Set<string>();
    for (const { issued } of this.#options.caches.secrets.byIndex(namespace, 'resource', resourceKey)) {
      if (issued !== undefined) pods.add(issued.podName);
    }
    for (const pod of pods) this.#count(counted, pod);
    return counted;
  }

  /** From what the caches show now. */
  #count(counted: Counted, pod: string): void {
    const { holders, namespace, resourceName } = counted;
    const { caches } = this.#options;
    const podUid = caches.pods.get(namespace, pod)?.uid;
    const podKey = formatPodKey({ namespace, resourceName, pod });
    const issued = [...caches.secrets.byIndex(namespace, 'podKey', podKey)].flatMap((cached) => cached.issued ?? []);
    // That of a pod that is gone serves nobody, and is deleted soon.
    const held = podUid !== undefined && issued.some((secret) => secret.podUid === podUid);
    const before = holders.size;
    holders.show(pod, issued.length === 0 ? 'nothing' : { uid: held ? podUid : undefined });
    if (holders.size < before) this.#offer(counted);
    this.#file(counted, pod);
  }

  #offer(counted: Counted): void {
    const { namespace, resourceName, waiting } = counted;
    for (const pod of firstOf(waiting, ENQUEUED)) {
      waiting.delete(pod);
      this.#file(counted, pod);
      this.#options.onFree(formatPodKey({ namespace, resourceName, pod }));
    }
  }

  /** Keeps what is needed to find the resource by the pod, and nothing of a resource that has no pods. */
  #file(counted: Counted, pod: string): void {
    const { holders, namespace, resourceName, waiting } = counted;
    const key = formatObjectKey({ namespace, name: pod });
    const filed = this.#byPod.get(key);
    if (holders.isShown(pod) || waiting.has(pod)) this.#byPod.set(key, (filed ?? new Set()).add(counted));
    else if (filed?.delete(counted) === true && filed.size === 0) this.#byPod.delete(key);
    if (!holders.isEmpty || waiting.size > 0) return;
    const resourceKey = formatObjectKey({ namespace, name: resourceName });
    if (this.#counted.get(resourceKey) === counted) this.#counted.delete(resourceKey);
  }
}

function firstOf<T>(values: Iterable<T>, count: number): readonly T[] {
  const first: T[] = [];
  for (const value of values) {
    if (first.length === count) break;
    first.push(value);
  }
  return first;
}

function resourceKeyOf(podKey: string): string {
  const { namespace, resourceName } = parsePodKey(podKey);
  return formatObjectKey({ namespace, name: resourceName });
}
