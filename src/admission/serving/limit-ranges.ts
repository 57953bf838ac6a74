/**
 * LimitRanges by namespace, read when a review needs them and kept for a few seconds: a Deployment's pods come together, and a watch
 * of every namespace would cost more than it is worth.
 */
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import type { Clock } from '../../kubernetes/clock.ts';
import type { Logger } from '../../kubernetes/log.ts';
import type { KubernetesObject } from '../../kubernetes/objects.ts';
import type { ResourceType } from '../../kubernetes/resource-type.ts';

const LIMIT_RANGES = {
  group: '',
  version: 'v1',
  plural: 'limitranges',
  kind: 'LimitRange',
  namespaced: true,
} as const satisfies ResourceType;

const MAX_AGE_MS = 5_000;
const MAX_NAMESPACES = 256;
/** A review has to be answered in `timeoutSeconds`: without an answer, the agent's resources are as configured. */
const TIMEOUT_MS = 3_000;
const NONE: readonly KubernetesObject[] = [];

export class LimitRanges {
  readonly #client: Pick<ApiClient, 'list'>;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #kept = new Map<string, { readonly at: number; readonly objects: Promise<readonly KubernetesObject[]> }>();

  constructor(client: Pick<ApiClient, 'list'>, clock: Clock, log: Logger) {
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
  }

  /** Never rejects: empty when they cannot be read in time. */
  get(namespace: string): Promise<readonly KubernetesObject[]> {
    const now = this.#clock.monotonic();
    const kept = this.#kept.get(namespace);
    if (kept !== undefined && now - kept.at < MAX_AGE_MS) return kept.objects;
    const objects = this.#read(namespace);
    this.#kept.delete(namespace);
    this.#kept.set(namespace, { at: now, objects });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MAX_NAMESPACES && oldest !== undefined) this.#kept.delete(oldest);
    return objects;
  }

  async #read(namespace: string): Promise<readonly KubernetesObject[]> {
    const timeout = new AbortController();
    const timer = this.#clock.setTimeout(() => timeout.abort(), TIMEOUT_MS);
    try {
      return (await this.#client.list(LIMIT_RANGES, { namespace }, { signal: timeout.signal })).items;
    } catch (error) {
      this.#kept.delete(namespace);
      this.#log.warn({ err: error, namespace }, 'failed to list LimitRanges, using the configured agent resources');
      return NONE;
    } finally {
      timer.cancel();
    }
  }
}
