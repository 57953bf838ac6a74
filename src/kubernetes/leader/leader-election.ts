/**
 * Leader election on a Lease, with client-go's rules: the holder renews the lease; the others take it when, by their own clocks, it
 * has not changed for its whole duration. Every write names the version it replaces, so of two that try at once one gets a Conflict.
 * The leader stops itself (renewDeadline) before others may start (leaseDuration).
 *
 *     waiting --acquired--> leading --signal--> draining (still renewing) --drained--> released
 *                              '----------not renewed, or taken-----------------------> lost
 */

import { ApiError, isApiError, isMissing } from '../api-error.ts';
import type { ApiClient } from '../client/api-client.ts';
import { type Clock, delay } from '../clock.ts';
import { Deadline, untilAborted } from '../deadline.ts';
import type { Logger } from '../log.ts';
import { LEASES } from '../resource-type.ts';
import {
  claimedSpec,
  isClaimedBy,
  isHeldByOther,
  type Lease,
  type Observation,
  observe,
  releasedSpec,
} from './lease.ts';

export interface LeaderElectorOptions {
  readonly client: Pick<ApiClient, 'create' | 'get' | 'replace'>;
  readonly namespace: string;
  readonly name: string;
  /** Never that of two processes at once, which would both lead: see `holderIdentity`. */
  readonly identity: string;
  /** How long the others wait for a silent leader. A lease has whole seconds. 15 s. */
  readonly leaseDurationMs?: number;
  /** How long a leader that cannot renew continues. Must be shorter than the lease. 10 s. */
  readonly renewDeadlineMs?: number;
  /** Between two tries. 2 s. */
  readonly retryPeriodMs?: number;
  /**
   * Whether a lease that is free may be taken now; read at every try, until it is taken. Meanwhile the lease is watched all the same,
   * so that its expiry is known. Always.
   */
  readonly mayAcquire?: () => boolean;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
}

/** Why the signal of a leader aborts that must stop at once: another candidate may lead in a moment. */
export class LeaseLostError extends Error {
  readonly code = 'LeaseLost';
  override readonly name = 'LeaseLostError';
}

export interface RunForLeaderOptions {
  /** Ends the candidacy; while leading, after `lead` has ended. */
  readonly signal: AbortSignal;
  /** What the leader does, until its signal aborts. */
  readonly lead: (signal: AbortSignal) => Promise<void>;
}

/** `other`: another candidate holds the lease. `failed`: the API server did not answer, or another candidate was faster. */
type Attempt = 'held' | 'other' | 'failed';

export class LeaderElector {
  readonly #options: LeaderElectorOptions;
  readonly #leaseDurationMs: number;
  readonly #renewDeadlineMs: number;
  readonly #retryPeriodMs: number;
  #observation: Observation | undefined;
  /** When the last successful attempt was started, on the monotonic clock; undefined before the first. */
  #heldSince: number | undefined;

  /** @throws TypeError when the durations contradict each other */
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
   * `released`: the signal aborted, or `lead` ended by itself; the lease is free. `lost`: it could not be renewed, or another candidate
   * has it; `lead`'s signal was aborted at that moment, and it had until the lease expired to finish. The process should exit.
   * @throws what `lead` throws, after the lease was released
   */
  async run({ signal, lead }: RunForLeaderOptions): Promise<'released' | 'lost'> {
    const { log, name, identity } = this.#options;
    if (!(await this.#acquire(signal))) return 'released';
    log.info({ lease: name, identity }, 'acquired the lease');
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
      log.error({ lease: name, identity }, 'lost the lease');
      leading.abort(new LeaseLostError(`lost the lease ${name}`));
      await delay(this.#options.clock, this.#leaseDurationMs - this.#renewDeadlineMs, ended.signal);
      return 'lost';
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** True once this candidate leads; false when the signal aborts before. */
  async #acquire(signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted) {
      if ((await this.#attempt(signal)) === 'held') return true;
      await delay(this.#options.clock, this.#period(), signal);
    }
    return false;
  }

  /** True when the signal aborts while this candidate leads; false as soon as it does not lead any more. */
  async #renewUntil(signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      const left = this.#timeLeft();
      if (left <= 0) return false;
      await delay(clock, Math.min(this.#retryPeriodMs, left), signal);
      if (signal.aborted) break;
      if ((await this.#renew()) === 'other') return false;
    }
    return true;
  }

  /**
   * Never takes longer than the leader may lead, whatever the client does: the renew deadline is a timer. Not with the candidacy's
   * signal: a renewal that is cut short may have happened, and its version would be needed for the release.
   */
  async #renew(): Promise<Attempt> {
    const never = new AbortController().signal;
    using deadline = new Deadline(never, this.#options.clock, this.#timeLeft());
    try {
      return await untilAborted(this.#attempt(never), deadline.signal);
    } catch {
      return 'failed';
    }
  }

  /** Until a leader must stop; infinite for one that is none yet. */
  #timeLeft(): number {
    if (this.#heldSince === undefined) return Number.POSITIVE_INFINITY;
    return this.#heldSince + this.#renewDeadlineMs - this.#options.clock.monotonic();
  }

  /** Spread, so that candidates do not collide (client-go's jitter factor is the same). */
  #period(): number {
    return this.#retryPeriodMs * (1 + 1.2 * this.#options.random());
  }

  async #attempt(signal: AbortSignal): Promise<Attempt> {
    const { clock, log, name, identity } = this.#options;
    const startedAt = clock.monotonic();
    // Half of the renew deadline, so that a call that hangs leaves time for another.
    const limit = Math.max(this.#retryPeriodMs, this.#renewDeadlineMs / 2);
    using deadline = new Deadline(signal, clock, Math.min(limit, this.#timeLeft()));
    try {
      const result = await this.#claim(startedAt, deadline.signal);
      if (result === 'held') this.#heldSince = startedAt;
      return result;
    } catch (error) {
      if (signal.aborted) return 'failed';
      const reason = error instanceof ApiError ? error.reason : deadline.expired ? 'Timeout' : 'Unknown';
      log.warn({ lease: name, identity, reason, err: error }, 'failed to acquire or renew the lease');
      return 'failed';
    }
  }

  async #claim(startedAt: number, signal: AbortSignal): Promise<Attempt> {
    // The leader replaces what it wrote last without reading it; all others read first.
    if (this.#isOwn()) {
      const renewed = await this.#write(signal);
      if (renewed) return 'held';
    }
    const found = await this.#read(signal);
    this.#observation =
      found === undefined ? undefined : observe(this.#observation, found, this.#options.clock.monotonic());
    if (this.#observation !== undefined && isHeldByOther(this.#observation, this.#options.identity, startedAt))
      return 'other';
    if (this.#heldSince === undefined && this.#options.mayAcquire?.() === false) return 'other';
    return (await this.#write(signal)) ? 'held' : 'failed';
  }

  #isOwn(): boolean {
    return this.#observation?.lease.spec?.holderIdentity === this.#options.identity;
  }

  async #read(signal: AbortSignal): Promise<Lease | undefined> {
    const { client, namespace, name } = this.#options;
    try {
      return await client.get<Lease>(LEASES, { namespace, name }, { signal, reserved: true });
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** Takes or renews the lease as it was seen last; false when it has changed since. */
  async #write(signal: AbortSignal): Promise<boolean> {
    const { client, clock, namespace, name, identity } = this.#options;
    const before = this.#observation?.lease;
    const claim = { identity, leaseDurationMs: this.#leaseDurationMs, now: clock.now() };
    const spec = claimedSpec(before?.spec, claim);
    try {
      const written =
        before === undefined
          ? await client.create<Lease>(LEASES, lease({ namespace, name }, spec), { signal, reserved: true })
          : await client.replace<Lease>(LEASES, lease(before.metadata, spec), { signal, reserved: true });
      if (!isClaimedBy(written, identity)) throw notClaimedError(name, identity);
      this.#observation = { lease: written, seenAt: clock.monotonic() };
      return true;
    } catch (error) {
      if (isApiError(error, 'Conflict') || isApiError(error, 'AlreadyExists')) return false;
      if (isMissing(error) && !namespaceIsGone(error)) return false;
      throw error;
    }
  }

  /** Lets another candidate take over at once; if that fails, it takes over when the lease has expired. */
  async #release(): Promise<void> {
    const { client, clock, log, name } = this.#options;
    const held = this.#observation?.lease;
    if (held === undefined || !this.#isOwn()) return;
    using deadline = new Deadline(new AbortController().signal, clock, this.#renewDeadlineMs / 2);
    try {
      await client.replace<Lease>(LEASES, lease(held.metadata, releasedSpec(held.spec, clock.now())), {
        signal: deadline.signal,
        reserved: true,
      });
      log.info({ lease: name }, 'released the lease');
    } catch (error) {
      log.warn({ lease: name, err: error }, 'failed to release the lease, it will expire');
    }
  }
}

function lease(metadata: Lease['metadata'], spec: Lease['spec']) {
  return { metadata, spec };
}

/** NotFound of the lease, which may be created, against NotFound of its namespace, which may not. */
function namespaceIsGone(error: unknown): boolean {
  return isMissing(error) && error.details?.kind === 'namespaces';
}

function notClaimedError(name: string, identity: string): ApiError {
  const message =
    `write lease ${name}: expected an answer with ${identity} as its holder, found another; ` +
    'does a proxy or an admission webhook change it?';
  return new ApiError(message, { status: 0, reason: 'InvalidResponse' });
}
