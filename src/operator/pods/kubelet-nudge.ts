/**
 * Makes a pod's kubelet sync the pod at once after a Secret of it was re-issued. A kubelet re-reads mounted Secrets about once a
 * minute; a change of the pod object makes it sync that pod immediately (measured: 0.5-0.9 s instead of 29-77 s). So one
 * annotation of the pod is changed.
 *
 * Best effort: a nudge that is lost, by a failure or by a crash after the Secret was written, costs no more than that minute. It is
 * not retried, and the plan never reads it.
 */
import { RENEWED_AT_ANNOTATION } from '../../api/keys.ts';
import { isApiError, isMissing } from '../../kubernetes/api-error.ts';
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import type { Clock } from '../../kubernetes/clock.ts';
import type { Logger } from '../../kubernetes/log.ts';
import { PODS } from '../../kubernetes/resource-type.ts';
import { formatRfc3339Milli } from '../../text/rfc3339.ts';
import type { Step } from '../core/plan.ts';
import type { Pod } from '../core/pod.ts';
import type { OperatorMetrics } from '../reporting/metrics.ts';

export interface KubeletNudgeOptions {
  readonly client: Pick<ApiClient, 'mergePatch'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Pick<OperatorMetrics, 'kubeletNudged'>;
}

/** A worker waits for the nudge, so that a slow API server is not sent ever more of them; at most this long. */
const NUDGE_TIMEOUT_MS = 5_000;

/**
 * Whether a step gave a running pod something new. A first Secret is mounted when the pod starts, and a terminating pod gets no
 * new mounts. Whether a pod mounts its Secret at all is in its spec, which is not watched; the annotation that injection writes
 * would say, but pods that mount their Secret by its default name have none.
 */
export function needsNudge(step: Step, pod: Pick<Pod, 'terminating'> | undefined): boolean {
  const isChange =
    step.kind === 'rechain' || step.kind === 'verify' || (step.kind === 'issue' && step.replaces !== undefined);
  return isChange && pod?.terminating === false;
}

export class KubeletNudge {
  readonly #options: KubeletNudgeOptions;
  #failing = false;

  constructor(options: KubeletNudgeOptions) {
    this.#options = options;
  }

  /** Never throws. Call it after the Secret was written, never before. */
  async send({ name, namespace, uid }: Pick<Pod, 'name' | 'namespace' | 'uid'>, signal: AbortSignal): Promise<void> {
    const { client, clock, metrics } = this.#options;
    // Milliseconds, because a pod may have several Secrets, and the same value again is no change. With the uid, the API server
    // refuses the patch for another pod of that name.
    const patch = { metadata: { uid, annotations: { [RENEWED_AT_ANNOTATION]: formatRfc3339Milli(clock.now()) } } };
    try {
      const within = AbortSignal.any([signal, AbortSignal.timeout(NUDGE_TIMEOUT_MS)]);
      await client.mergePatch(PODS, { namespace, name }, patch, { signal: within, metadataOnly: true });
      metrics.kubeletNudged('ok');
      this.#failing = false;
    } catch (error) {
      metrics.kubeletNudged('failed');
      this.#report(error, namespace, name);
    }
  }

  /** A warning once, then debug until one succeeds: a missing permission would otherwise fill the log. */
  #report(error: unknown, namespace: string, pod: string): void {
    const { log } = this.#options;
    const fields = { namespace, pod, err: error };
    const message = 'failed to nudge the kubelet: the pod sees its new Secret within two minutes';
    if (isMissing(error) || isApiError(error, 'Conflict') || this.#failing) {
      log.debug(fields, message);
      return;
    }
    this.#failing = true;
    log.warn(fields, message);
  }
}
