/**
 * Leader election on a Lease, with client-go's rules: whoever holds the lease renews it; the others watch the clock on their own
 * wall and take it when it was not seen to change for its whole duration. Every write names the version it is over, so of two
 * that try at once one gets a Conflict. The leader stops itself (renewDeadline) before others may start (leaseDuration).
 *
 *     waiting --acquired--> leading --signal--> draining (still renewing) --drained--> released
 *                              '----------not renewed, or taken-----------------------> lost
 */

import { ApiError, isApiError } from '../api-error.ts';
import type { ApiClient } from '../client/api-client.ts';
import { type Clock, delay } from '../clock.ts';
import { Deadline } from '../deadline.ts';
import type { Logger } from '../log.ts';
import { LEASES } from '../resource-type.ts';
import { claimedSpec, isHeldByOther, type Lease, type Observation, observe, releasedSpec } from './lease.ts';

export interface LeaderElectorOptions {
  readonly client: ApiClient;
  readonly namespace: string;
  readonly name: string;
  /** Unique to this process: two with one identity would both lead. */
  readonly identity: string;
  /** How long the others wait for a leader that is silent. The lease holds whole seconds. 15 s. */
  readonly leaseDurationMs?: number;
  /** How long a leader that cannot renew goes on. Must be shorter than the lease. 10 s. */
  readonly renewDeadlineMs?: number;
  /** Between two tries. 2 s. */
  readonly retryPeriodMs?: number;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
}

export interface RunForLeaderOptions {
  /** Ends the candidacy; while leading, after `lead` has ended. */
  readonly signal: AbortSignal;
  /** What the leader does, until its signal aborts. */
  readonly lead: (signal: AbortSignal) => Promise<void>;
}

/** `other`: someone else holds the lease. `failed`: the API server could not be asked, or someone was quicker. */
type Attempt = 'held' | 'other' | 'failed';

export class LeaderElector {
  readonly #options: LeaderElectorOptions;
  readonly #leaseDurationMs: number;
  readonly #renewDeadlineMs: number;
  readonly #retryPeriodMs: number;
  #observation: Observation | undefined;
  /** When the last try that went well was begun, on the monotonic clock; undefined before the first. */
  #heldSince: number | undefined;

  /** @throws TypeError when the times contradict each other */
  constructor(options: LeaderElectorOptions) {
    this.#options = options;
    this.#leaseDurationMs = options.leaseDurationMs ?? 15_000;
    this.#renewDeadlineMs = options.renewDeadlineMs ?? 10_000;
    this.#retryPeriodMs = options.retryPeriodMs ?? 2_000;
    if (this.#leaseDurationMs <= this.#renewDeadlineMs || this.#renewDeadlineMs <= this.#retryPeriodMs) {
      throw new TypeError(
        `expected leaseDurationMs > renewDeadlineMs > retryPeriodMs, found ${this.#leaseDurationMs}, ${this.#renewDeadlineMs}, ${this.#retryPeriodMs}`,
      );
    }
  }

  /**
   * `released`: the signal aborted, or `lead` ended by itself; the lease is free. `lost`: it could not be renewed, or another
   * has it; `lead`'s signal was aborted at that moment, and it had until the lease's end to finish. The process should end.
   * @throws what `lead` throws, after the lease was given up
   */
  async run({ signal, lead }: RunForLeaderOptions): Promise<'released' | 'lost'> {
    const { log, identity } = this.#options;
    if (!(await this.#acquire(signal))) return 'released';
    log.info({ identity }, 'leading');
    const leading = new AbortController();
    const stop = (): void => leading.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    const led = (async () => lead(leading.signal))();
    const ended = new AbortController();
    const finished = led.then(
      () => ended.abort(),
      () => ended.abort(),
    );
    try {
      if (await this.#renewUntil(ended.signal)) {
        await finished;
        await this.#release();
        await led;
        return 'released';
      }
      log.error({ identity }, 'the lease is lost');
      leading.abort(new Error('the leader lease is lost'));
      await delay(this.#options.clock, this.#leaseDurationMs - this.#renewDeadlineMs, ended.signal);
      return 'lost';
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** True once we lead; false when the signal aborts before. */
  async #acquire(signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted) {
      if ((await this.#attempt(signal)) === 'held') return true;
      await delay(this.#options.clock, this.#period(), signal);
    }
    return false;
  }

  /** True when the signal aborts while we lead; false as soon as we do not any more. */
  async #renewUntil(signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#options;
    // Not the signal: a renewal that is cut short may have happened, and its version would be needed for the release.
    const uncut = new AbortController().signal;
    while (!signal.aborted) {
      const left = this.#timeLeft();
      if (left <= 0) return false;
      await delay(clock, Math.min(this.#retryPeriodMs, left), signal);
      if (signal.aborted) break;
      if ((await this.#attempt(uncut)) === 'other') return false;
    }
    return true;
  }

  /** Until a leader must stop; for ever for one that is none yet. */
  #timeLeft(): number {
    if (this.#heldSince === undefined) return Number.POSITIVE_INFINITY;
    return this.#heldSince + this.#renewDeadlineMs - this.#options.clock.monotonic();
  }

  /** Spread, so that candidates do not step on each other (client-go's jitter factor is the same). */
  #period(): number {
    return this.#retryPeriodMs * (1 + 1.2 * this.#options.random());
  }

  async #attempt(signal: AbortSignal): Promise<Attempt> {
    const { clock, log, name, identity } = this.#options;
    const begun = clock.monotonic();
    // Half of the renew deadline, so that one call that hangs leaves time for another.
    const limit = Math.max(this.#retryPeriodMs, this.#renewDeadlineMs / 2);
    using deadline = new Deadline(signal, clock, Math.min(limit, this.#timeLeft()));
    try {
      const result = await this.#claim(begun, deadline.signal);
      if (result === 'held') this.#heldSince = begun;
      return result;
    } catch (error) {
      if (signal.aborted) return 'failed';
      const reason = error instanceof ApiError ? error.reason : deadline.expired ? 'Timeout' : 'Unknown';
      log.warn({ lease: name, identity, reason, err: error }, 'the lease could not be had or renewed');
      return 'failed';
    }
  }

  async #claim(begun: number, signal: AbortSignal): Promise<Attempt> {
    // The leader writes over what it wrote last, unread; all others look first.
    if (this.#isOurs()) {
      const renewed = await this.#write(signal);
      if (renewed) return 'held';
    }
    const found = await this.#read(signal);
    this.#observation =
      found === undefined ? undefined : observe(this.#observation, found, this.#options.clock.monotonic());
    if (this.#observation !== undefined && isHeldByOther(this.#observation, this.#options.identity, begun))
      return 'other';
    return (await this.#write(signal)) ? 'held' : 'failed';
  }

  #isOurs(): boolean {
    return this.#observation?.lease.spec?.holderIdentity === this.#options.identity;
  }

  async #read(signal: AbortSignal): Promise<Lease | undefined> {
    const { client, namespace, name } = this.#options;
    try {
      return await client.get<Lease>(LEASES, { namespace, name }, { signal });
    } catch (error) {
      if (isApiError(error, 'NotFound')) return undefined;
      throw error;
    }
  }

  /** Takes or renews the lease as it was seen last; false when it is not so any more. */
  async #write(signal: AbortSignal): Promise<boolean> {
    const { client, clock, namespace, name, identity } = this.#options;
    const before = this.#observation?.lease;
    const claim = { identity, leaseDurationMs: this.#leaseDurationMs, now: clock.now() };
    const spec = claimedSpec(before?.spec, claim);
    try {
      const written =
        before === undefined
          ? await client.create<Lease>(LEASES, lease({ namespace, name }, spec), { signal })
          : await client.replace<Lease>(LEASES, lease(before.metadata, spec), { signal });
      this.#observation = { lease: written, seenAt: clock.monotonic() };
      return true;
    } catch (error) {
      const overtaken = ['Conflict', 'AlreadyExists', 'NotFound'].some((reason) => isApiError(error, reason));
      if (overtaken && !namespaceIsGone(error)) return false;
      throw error;
    }
  }

  /** Lets another take over at once; if that fails, it takes over when the lease has run out. */
  async #release(): Promise<void> {
    const { client, clock, log, name } = this.#options;
    const held = this.#observation?.lease;
    if (held === undefined || !this.#isOurs()) return;
    using deadline = new Deadline(new AbortController().signal, clock, this.#renewDeadlineMs / 2);
    try {
      await client.replace<Lease>(LEASES, lease(held.metadata, releasedSpec(held.spec, clock.now())), {
        signal: deadline.signal,
      });
      log.info({ lease: name }, 'the lease is released');
    } catch (error) {
      log.warn({ lease: name, err: error }, 'the lease could not be released, it will run out');
    }
  }
}

function lease(metadata: Lease['metadata'], spec: Lease['spec']) {
  return { metadata, spec };
}

/** NotFound of the lease, which may be created, against NotFound of its namespace, which may not. */
function namespaceIsGone(error: unknown): boolean {
  return error instanceof ApiError && error.reason === 'NotFound' && error.details?.kind === 'namespaces';
}
