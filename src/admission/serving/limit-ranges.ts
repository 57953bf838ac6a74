/**
 * LimitRanges by namespace, read when a review needs them and kept for a few seconds: a Deployment's pods come together, and a watch
 * of every namespace would cost more than it is worth. Whoever may write them may fill them with megabytes: no more of them is
 * read, and nothing is kept, than a review can need.
 */
import { isApiError } from '../../kubernetes/api-error.ts';
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import { type Clock, delay } from '../../kubernetes/clock.ts';
import type { Logger } from '../../kubernetes/log.ts';
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
/** More than any namespace has. The rest is not asked for. */
const MAX_OBJECTS = 16;
/** Ten times what so many take as people write them. Parsed, JSON takes some twenty times as much. */
const MAX_LIST_BYTES = 256 * 1024;
/** A review has to be answered in `timeoutSeconds`: without LimitRanges in time, the agent's resources are as configured. */
const TIMEOUT_MS = 3_000;

interface Kept<Item> {
  readonly at: number;
  readonly items: Promise<readonly Item[]>;
}

/** `Item` is what `read` makes of them: small, whatever they hold. */
export class LimitRanges<Item> {
  readonly #client: Pick<ApiClient, 'list'>;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #read: (objects: readonly unknown[]) => readonly Item[];
  /** In the order of their age. */
  readonly #kept = new Map<string, Kept<Item>>();

  constructor(
    client: Pick<ApiClient, 'list'>,
    clock: Clock,
    log: Logger,
    read: (objects: readonly unknown[]) => readonly Item[],
  ) {
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
    this.#read = read;
  }

  /** How many namespaces are kept. */
  get size(): number {
    return this.#kept.size;
  }

  /**
   * Never rejects: empty when they cannot be read in time, or are too large to be read.
   * @param reviewTimeoutMs in which the API server has to have its answer, where it says so: half of it is left for the rest
   */
  async get(namespace: string, reviewTimeoutMs?: number): Promise<readonly Item[]> {
    const waitMs = reviewTimeoutMs === undefined ? TIMEOUT_MS : reviewTimeoutMs / 2;
    const items = this.#keptOrListed(namespace);
    // The list itself ends by then.
    if (waitMs >= TIMEOUT_MS) return await items;
    const settled = new AbortController();
    const late = delay(this.#clock, waitMs, settled.signal).then(() => undefined);
    const inTime = await Promise.race([items, late]);
    settled.abort();
    if (inTime === undefined)
      this.#log.warn({ namespace }, 'LimitRanges come too late, using the configured agent resources');
    return inTime ?? [];
  }

  #keptOrListed(namespace: string): Promise<readonly Item[]> {
    const now = this.#clock.monotonic();
    this.#dropOld(now);
    const kept = this.#kept.get(namespace);
    if (kept !== undefined) return kept.items;
    const items = this.#list(namespace);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= MAX_NAMESPACES && oldest !== undefined) this.#kept.delete(oldest);
    this.#kept.set(namespace, { at: now, items });
    return items;
  }

  #dropOld(now: number): void {
    for (const [namespace, { at }] of this.#kept) {
      if (now - at < MAX_AGE_MS) return;
      this.#kept.delete(namespace);
    }
  }

  async #list(namespace: string): Promise<readonly Item[]> {
    const timeout = new AbortController();
    const timer = this.#clock.setTimeout(() => timeout.abort(), TIMEOUT_MS);
    try {
      const options = { signal: timeout.signal, anyItems: true, maxBytes: MAX_LIST_BYTES };
      const { items } = await this.#client.list<unknown>(LIMIT_RANGES, { namespace, limit: MAX_OBJECTS }, options);
      return this.#read(items);
    } catch (error) {
      // Too large, they are too large for the next review too, and each would read as much of them.
      if (!isApiError(error, 'ResponseTooLarge')) this.#kept.delete(namespace);
      this.#log.warn({ err: error, namespace }, 'failed to list LimitRanges, using the configured agent resources');
      return [];
    } finally {
      timer.cancel();
    }
  }
}
