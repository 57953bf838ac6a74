/** Why a pod is not served, and which pods that is true of right now. */
import { parseObjectKey } from '../issued-secret/names.ts';
import { FAILURE_REASONS, type FailureReason } from './core/plan.ts';

/** The API server or a signer refuses; a person has to change something. */
const REFUSALS = ['SecretRefused', 'ReadRefused', 'IssueFailed', 'GateNotLifted', 'MaxPodsReached'] as const;

export const POD_FAILURE_REASONS = [...FAILURE_REASONS, ...REFUSALS] as const;
export type PodFailureReason = FailureReason | (typeof REFUSALS)[number];

/** This pod cannot be served until a person changes something. The message says what. */
export class PodFailure extends Error {
  override readonly name = 'PodFailure';
  readonly code: PodFailureReason;
  /** It may pass by itself: it counts once it has lasted. */
  readonly transient: boolean;

  constructor(code: PodFailureReason, message: string, options: ErrorOptions & { readonly transient?: boolean } = {}) {
    super(message, options);
    this.code = code;
    this.transient = options.transient ?? false;
  }
}

/** The caches are behind the API server: plan again once they show `resourceVersion`, or in a moment where there is none. */
export class StaleCacheError extends Error {
  readonly code = 'StaleCache';
  override readonly name = 'StaleCacheError';
  readonly resourceVersion: string | undefined;

  constructor(message: string, resourceVersion?: string, options?: ErrorOptions) {
    super(message, options);
    this.resourceVersion = resourceVersion;
  }
}

/** The failures that stand now, by pod key. The pod controller writes them, the status of the resource shows them. */
export class PodFailures {
  readonly #failures = new Map<string, PodFailure>();
  /** By resource, then by pod key. */
  readonly #cleanUps = new Map<string, Map<string, PodFailure>>();

  failureOf(podKey: string): PodFailure | undefined {
    return this.#failures.get(podKey);
  }

  /** Returns whether this is news: another reason, or the same for another cause. */
  set(podKey: string, failure: PodFailure): boolean {
    const before = this.#failures.get(podKey);
    this.#failures.set(podKey, failure);
    return before?.code !== failure.code || before.message !== failure.message;
  }

  clear(podKey: string): void {
    this.#failures.delete(podKey);
  }

  /** A Secret that is no longer needed cannot be removed, or not be labelled: the pod is served all the same. */
  cleanUpOf(podKey: string): PodFailure | undefined {
    return this.#cleanUps.get(resourceKeyOf(podKey))?.get(podKey);
  }

  /** Of all pods of a resource: how many, and why for the first. */
  cleanUpsOf(resourceKey: string): { readonly refused: number; readonly message: string } | undefined {
    const found = this.#cleanUps.get(resourceKey);
    const [first] = found?.values() ?? [];
    return found === undefined || first === undefined ? undefined : { refused: found.size, message: first.message };
  }

  /** Another replica serves these namespaces now. */
  release(isReleased: (namespace: string) => boolean): void {
    for (const table of [this.#failures, this.#cleanUps]) {
      for (const key of table.keys()) if (isReleased(parseObjectKey(key).namespace)) table.delete(key);
    }
  }

  /** Returns whether this is news. */
  setCleanUp(podKey: string, failure: PodFailure): boolean {
    const resourceKey = resourceKeyOf(podKey);
    const known = this.#cleanUps.get(resourceKey) ?? new Map<string, PodFailure>();
    this.#cleanUps.set(resourceKey, known);
    const before = known.get(podKey);
    known.set(podKey, failure);
    return before?.message !== failure.message;
  }

  clearCleanUp(podKey: string): void {
    const resourceKey = resourceKeyOf(podKey);
    const known = this.#cleanUps.get(resourceKey);
    known?.delete(podKey);
    if (known?.size === 0) this.#cleanUps.delete(resourceKey);
  }
}

function resourceKeyOf(podKey: string): string {
  return podKey.slice(0, podKey.lastIndexOf('/'));
}
