/**
 * Tells a pod's kubelet that a Secret of the pod has changed. Left alone, a kubelet looks once a minute or so; a change of the pod
 * itself makes it look at once (measured: 0.5-0.9 s in place of 29-77 s). So one annotation of the pod is changed.
 *
 * Best effort: a notice that is lost, by a failure or a crash after the Secret was written, costs no more than that minute. It is
 * never tried again by itself, and the plan never looks at it.
 */

import { RENEWED_AT_ANNOTATION } from '../api/keys.ts';
import { isApiError } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { Logger } from '../kubernetes/log.ts';
import { PODS } from '../kubernetes/resource-type.ts';
import type { Step } from './core/plan.ts';
import type { Pod } from './core/pod.ts';
import type { OperatorMetrics } from './metrics.ts';

export interface NotifierOptions {
  readonly client: Pick<ApiClient, 'mergePatch'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Pick<OperatorMetrics, 'kubeletNudged'>;
}

/** A worker waits for the notice, so that a slow API server is not asked for ever more; this long at most. */
const PATIENCE_MS = 5_000;

/**
 * Whether a step gave a running pod something new. A first Secret is mounted when the pod starts, and a pod on its way out is not
 * mounted anew. Whether a pod mounts its Secret at all stands in its spec, which is not watched; the annotation that injection
 * writes would tell, but pods that mount their Secret by its default name have none.
 */
export function needsNudge(step: Step, pod: Pick<Pod, 'terminating'> | undefined): boolean {
  return step.kind === 'issue' && step.replaces !== undefined && pod?.terminating === false;
}

export class KubeletNudge {
  readonly #options: NotifierOptions;
  #failing = false;

  constructor(options: NotifierOptions) {
    this.#options = options;
  }

  /** Never throws. To be called once the Secret is written, and not before. */
  async notify({ name, namespace, uid }: Pick<Pod, 'name' | 'namespace' | 'uid'>, signal: AbortSignal): Promise<void> {
    const { client, clock, metrics } = this.#options;
    // Milliseconds, because a pod may have several Secrets, and a value that does not change tells the kubelet nothing. The uid
    // makes the API server refuse a pod that has taken this one's place.
    const patch = { metadata: { uid, annotations: { [RENEWED_AT_ANNOTATION]: new Date(clock.now()).toISOString() } } };
    try {
      const within = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
      await client.mergePatch(PODS, { namespace, name }, patch, { signal: within, metadataOnly: true });
      metrics.kubeletNudged('ok');
      this.#failing = false;
    } catch (error) {
      metrics.kubeletNudged('failed');
      this.#report(error, namespace, name);
    }
  }

  /** Loud once, then quiet until it works again: a missing permission would otherwise fill the log. */
  #report(error: unknown, namespace: string, pod: string): void {
    const { log } = this.#options;
    const fields = { namespace, pod, error };
    const message = 'a pod was not notified of its new Secret: its kubelet will see it within two minutes';
    if (isApiError(error, 'NotFound') || isApiError(error, 'Conflict') || this.#failing) {
      log.debug(fields, message);
      return;
    }
    this.#failing = true;
    log.warn(fields, message);
  }
}
