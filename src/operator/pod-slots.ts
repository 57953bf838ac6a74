/**
 * `maxPods` of a grant: how many pods of one resource may have a credential. Counted from the Secrets that there are, and from the
 * issues that no cache shows yet, never from what a name once had: after a restart, or in a namespace that was created again, the
 * count is what is there.
 *
 * Where more pods have one than the grant allows (it was narrowed, or two operators ran at once), the first by uid are re-issued;
 * the others keep what they have until it expires.
 */
import { podKeyOf } from '../issued-secret/issued-secret.ts';
import { formatObjectKey, parsePodKey } from '../issued-secret/names.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { Caches } from './caches.ts';
import { PodFailure } from './pod-failure.ts';

/** A write that no cache has shown after this long is not waited for: see `UnseenWrites`. */
const GIVE_UP_MS = 60_000;
/** Enqueued for each slot that becomes free; all others come with their retries. */
const ENQUEUED = 10;

export interface PodSlotsOptions {
  readonly caches: { readonly pods: Pick<Caches['pods'], 'get'>; readonly secrets: Pick<Caches['secrets'], 'byIndex'> };
  readonly clock: Pick<Clock, 'monotonic'>;
  /** A slot may be free for this pod. */
  readonly onFree: (podKey: string) => void;
}

export class PodSlots {
  readonly #options: PodSlotsOptions;
  /** By resource: pods whose Secret is being written, with their uid and since when. */
  readonly #taken = new Map<string, Map<string, { readonly uid: string; readonly sinceMs: number }>>();
  /** By resource: pods that were refused. */
  readonly #waiting = new Map<string, Set<string>>();

  constructor(options: PodSlotsOptions) {
    this.#options = options;
  }

  /** Before a credential is issued to a pod. @throws PodFailure where the grant allows no more */
  take(podKey: string, podUid: string, maxPods: number): void {
    const resourceKey = resourceKeyOf(podKey);
    const holders = this.#holders(resourceKey);
    const isFree = holders.has(podKey) ? isAmongFirst(holders, podKey, maxPods) : holders.size < maxPods;
    if (!isFree) {
      const waiting = this.#waiting.get(resourceKey) ?? new Set();
      this.#waiting.set(resourceKey, waiting.add(podKey));
      throw new PodFailure(
        'MaxPodsReached',
        `the grant of the certificate allows at most ${maxPods} pods of this DelegatedCredential, and ${holders.size} have a credential: ` +
          'select fewer pods, or ask the owner of the certificate to raise maxPods of the DelegationGrant',
      );
    }
    const taken = this.#taken.get(resourceKey) ?? new Map();
    this.#taken.set(resourceKey, taken.set(podKey, { uid: podUid, sinceMs: this.#options.clock.monotonic() }));
  }

  /** The credential was not issued after all. */
  release(podKey: string): void {
    this.#taken.get(resourceKeyOf(podKey))?.delete(podKey);
  }

  /** A Secret of the resource is gone. */
  freed(podKey: string): void {
    const waiting = this.#waiting.get(resourceKeyOf(podKey));
    for (const key of [...(waiting ?? [])].slice(0, ENQUEUED)) {
      waiting?.delete(key);
      this.#options.onFree(key);
    }
    if (waiting?.size === 0) this.#waiting.delete(resourceKeyOf(podKey));
  }

  /** The pods that have a credential or are about to, by key, with their uid. */
  #holders(resourceKey: string): ReadonlyMap<string, string> {
    const { caches, clock } = this.#options;
    const holders = new Map<string, string>();
    const { namespace } = parsePodKey(resourceKey);
    for (const { issued } of caches.secrets.byIndex(namespace, 'resource', resourceKey)) {
      // That of a pod that is gone serves nobody, and is deleted soon.
      if (issued === undefined || caches.pods.get(namespace, issued.podName)?.uid !== issued.podUid) continue;
      holders.set(podKeyOf(issued), issued.podUid);
    }
    const taken = this.#taken.get(resourceKey);
    for (const [key, { sinceMs, uid }] of taken ?? []) {
      if (holders.get(key) === uid || clock.monotonic() - sinceMs > GIVE_UP_MS) taken?.delete(key);
      else holders.set(key, uid);
    }
    if (taken?.size === 0) this.#taken.delete(resourceKey);
    return holders;
  }
}

function isAmongFirst(holders: ReadonlyMap<string, string>, podKey: string, maxPods: number): boolean {
  if (holders.size <= maxPods) return true;
  const uid = holders.get(podKey) ?? '';
  return [...holders.values()].filter((other) => other < uid).length < maxPods;
}

function resourceKeyOf(podKey: string): string {
  const { namespace, resourceName } = parsePodKey(podKey);
  return formatObjectKey({ namespace, name: resourceName });
}
