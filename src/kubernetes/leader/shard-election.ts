/**
 * Shares work among replicas: one Lease a shard, each with the rules of `LeaderElector`, and one Lease a replica that shows that it is
 * alive. Whoever sees the same Leases computes the same owner for each shard (`assignShards`): a replica takes a shard only where it
 * is the owner, and hands one over, once its work is finished, where another living replica is. Of two that disagree for a moment,
 * the shard's Lease lets one through.
 *
 *     not the owner --(owner, and the Lease is free or expired)--> serving --(another is the owner)--> finishing --> released
 *                                                                     '-----not renewed, or taken-----> lost: stops at once
 */
import { createHash } from 'node:crypto';
import { isMissing } from '../api-error.ts';
import type { ApiClient } from '../client/api-client.ts';
import { type Clock, delay } from '../clock.ts';
import { Deadline } from '../deadline.ts';
import type { Logger } from '../log.ts';
import type { KubernetesObject } from '../objects.ts';
import { LEASES } from '../resource-type.ts';
import { LeaderElector, type LeaderElectorOptions } from './leader-election.ts';
import { claimedSpec, isHeldByOther, type Lease, type Observation, observe, releasedSpec } from './lease.ts';
import { assignShards, shardLeaseNames } from './shards.ts';

export interface ShardElectionOptions {
  readonly client: LeaderElectorOptions['client'] & Pick<ApiClient, 'list'>;
  readonly namespace: string;
  /** What the names of all Leases begin with. */
  readonly name: string;
  readonly shards: number;
  /** Never that of two processes at once: see `holderIdentity`. */
  readonly identity: string;
  /** The pod that this process runs in: when it is deleted, the Lease that showed that it is alive goes too. */
  readonly pod?: { readonly name: string; readonly uid: string } | undefined;
  /** Shorter than those of one leader, who has nobody beside him: a shard waits at most this long, and two periods. 10 s. */
  readonly leaseDurationMs?: number;
  /** 7 s. */
  readonly renewDeadlineMs?: number;
  /** 1.5 s. */
  readonly retryPeriodMs?: number;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
}

export interface RunShardsOptions {
  readonly signal: AbortSignal;
  /** What is done for a shard, until its signal aborts; the reason is a LeaseLostError where it has to stop at once. */
  readonly lead: (shard: number, signal: AbortSignal) => Promise<void>;
}

/** A group that starts together sees itself first, and then shares: no shard is taken to be given away a second later. */
const LOOKS_BEFORE_TAKING = 2;

interface Member {
  readonly observation: Observation;
  /** Seen to renew; a Lease that some replica left behind a while ago is none of a living one. */
  readonly isAlive: boolean;
}

export class ShardElection {
  /** Of each shard. */
  readonly leaseNames: readonly string[];
  readonly #options: ShardElectionOptions;
  readonly #durations: {
    readonly leaseDurationMs: number;
    readonly renewDeadlineMs: number;
    readonly retryPeriodMs: number;
  };
  readonly #members = new Map<string, Member>();
  /** Of shards that this replica serves: aborting hands the shard over. */
  readonly #serving = new Map<number, AbortController>();
  /** Shards that another replica should have, as of the last look. */
  #leaving: ReadonlySet<number> = new Set();
  #owned: ReadonlySet<number> = new Set();
  #looks = 0;

  /** @throws TypeError when the durations contradict each other */
  constructor(options: ShardElectionOptions) {
    this.#options = options;
    this.leaseNames = shardLeaseNames(options.name, options.shards);
    const { leaseDurationMs = 10_000, renewDeadlineMs = 7_000, retryPeriodMs = 1_500 } = options;
    this.#durations = { leaseDurationMs, renewDeadlineMs, retryPeriodMs };
    if (leaseDurationMs <= renewDeadlineMs || renewDeadlineMs <= retryPeriodMs) {
      throw new TypeError('expected leaseDurationMs > renewDeadlineMs > retryPeriodMs');
    }
  }

  /** Ends when the signal aborts and every shard was finished and released. Never rejects. */
  async run({ lead, signal }: RunShardsOptions): Promise<void> {
    const shards = this.leaseNames.map((name, shard) => this.#contend(name, shard, lead, signal));
    await Promise.all([this.#showAlive(signal), ...shards]);
  }

  async #contend(name: string, shard: number, lead: RunShardsOptions['lead'], signal: AbortSignal): Promise<void> {
    const { client, clock, identity, log, namespace, random } = this.#options;
    while (!signal.aborted) {
      const handOver = new AbortController();
      const elector = new LeaderElector({
        ...{ client, clock, identity, log, namespace, random, name },
        ...this.#durations,
        mayAcquire: () => this.#looks >= LOOKS_BEFORE_TAKING && this.#owned.has(shard),
      });
      let led: Promise<void> = Promise.resolve();
      await elector.run({
        signal: AbortSignal.any([signal, handOver.signal]),
        lead: (leading) => {
          this.#serving.set(shard, handOver);
          led = lead(shard, leading)
            .catch((error: unknown) => log.error({ lease: name, err: error }, 'failed to serve a shard'))
            .finally(() => this.#serving.delete(shard));
          return led;
        },
      });
      await led;
    }
  }

  /** Renews this replica's own Lease and reads those of all, until the signal aborts; then the others share its shards at once. */
  async #showAlive(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    let own: Lease | undefined;
    while (!signal.aborted) {
      using deadline = new Deadline(signal, clock, this.#durations.renewDeadlineMs);
      try {
        own = await this.#renewOwn(own, deadline.signal);
        await this.#look(deadline.signal);
      } catch (error) {
        own = undefined;
        if (!signal.aborted) log.warn({ err: error }, "failed to renew this replica's Lease");
      }
      await delay(clock, this.#durations.retryPeriodMs, signal);
    }
    if (own !== undefined) await this.#releaseOwn(own);
  }

  async #renewOwn(known: Lease | undefined, signal: AbortSignal): Promise<Lease> {
    const { client, clock, identity, namespace, pod } = this.#options;
    const name = this.#memberName(identity);
    const calls = { signal, reserved: true };
    const claim = { identity, leaseDurationMs: this.#durations.leaseDurationMs, now: clock.now() };
    const before = known ?? (await this.#find(name, signal));
    const spec = claimedSpec(before?.spec, claim);
    if (before !== undefined) return await client.replace<Lease>(LEASES, leaseOf(before.metadata, spec), calls);
    const ownerReferences = pod === undefined ? [] : [{ apiVersion: 'v1', kind: 'Pod', ...pod }];
    return await client.create<Lease>(LEASES, leaseOf({ namespace, name, ownerReferences }, spec), calls);
  }

  async #find(name: string, signal: AbortSignal): Promise<Lease | undefined> {
    const { client, namespace } = this.#options;
    try {
      return await client.get<Lease>(LEASES, { namespace, name }, { signal, reserved: true });
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async #releaseOwn({ metadata, spec }: Lease): Promise<void> {
    const { client, clock, log } = this.#options;
    using deadline = new Deadline(new AbortController().signal, clock, this.#durations.renewDeadlineMs / 2);
    const released = leaseOf(metadata, releasedSpec(spec, clock.now()));
    await client
      .replace<Lease>(LEASES, released, { signal: deadline.signal, reserved: true })
      .catch((error: unknown) => log.debug({ err: error }, "failed to release this replica's Lease, it will expire"));
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { client, identity, namespace } = this.#options;
    const { items } = await client.list<Lease>(LEASES, { namespace }, { signal, reserved: true });
    const leases = new Map(items.map((lease) => [lease.metadata.name ?? '', lease]));
    const holders = this.leaseNames.map((name) => leases.get(name)?.spec?.holderIdentity || undefined);
    const owners = assignShards({ holders, members: this.#living(leases) });
    this.#owned = new Set(owners.flatMap((owner, shard) => (owner === identity ? [shard] : [])));
    this.#looks += 1;
    this.#handOver();
  }

  /** Who has renewed its Lease of late, by this process's own clock. */
  #living(leases: ReadonlyMap<string, Lease>): readonly string[] {
    const { clock, identity, name: prefix } = this.#options;
    const living = [identity];
    for (const name of this.#members.keys()) if (!leases.has(name)) this.#members.delete(name);
    for (const [name, lease] of leases) {
      const holder = lease.spec?.holderIdentity ?? '';
      if (!name.startsWith(`${prefix}-member-`) || name !== this.#memberName(holder) || holder === identity) continue;
      const known = this.#members.get(name);
      const observation = observe(known?.observation, lease, clock.monotonic());
      const renewed = known !== undefined && observation.seenAt !== known.observation.seenAt;
      const isAlive = known === undefined ? this.#isRecent(lease) : known.isAlive || renewed;
      this.#members.set(name, { observation, isAlive });
      if (isAlive && isHeldByOther(observation, identity, clock.monotonic())) living.push(holder);
    }
    return living;
  }

  /** By the wall clocks of both: only until the Lease is seen to be renewed. */
  #isRecent({ spec }: Lease): boolean {
    const age = this.#options.clock.now() - Date.parse(spec?.renewTime ?? '');
    return Math.abs(age) <= this.#durations.leaseDurationMs;
  }

  /** Two looks must agree: a replica whose list was slow is not gone. */
  #handOver(): void {
    const leaving = new Set([...this.#serving.keys()].filter((shard) => !this.#owned.has(shard)));
    for (const shard of leaving) if (this.#leaving.has(shard)) this.#serving.get(shard)?.abort();
    this.#leaving = leaving;
  }

  #memberName(identity: string): string {
    return `${this.#options.name}-member-${createHash('sha256').update(identity).digest('hex').slice(0, 16)}`;
  }
}

function leaseOf(metadata: KubernetesObject['metadata'], spec: Lease['spec']) {
  return { metadata, spec };
}
