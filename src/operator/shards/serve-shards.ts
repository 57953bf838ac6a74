/** Serves the shards that the election gives this process, each from the moment its Lease is held until its work is finished. */
import type { Clock } from '../../kubernetes/clock.ts';
import { aborted } from '../../kubernetes/deadline.ts';
import { LeaseLostError } from '../../kubernetes/leader/leader-election.ts';
import type { ShardElection } from '../../kubernetes/leader/shard-election.ts';
import type { Logger } from '../../kubernetes/log.ts';
import type { ShardSet } from './shard-set.ts';

export interface ServeShardsOptions {
  readonly election: Pick<ShardElection, 'leaseNames' | 'run'>;
  readonly served: ShardSet;
  readonly clock: Clock;
  /** How long work in progress may take before a shard is handed over; where its Lease was lost it stops at once. */
  readonly drainMs: number;
  readonly log: Logger;
  readonly leading: (lease: string, isServed: boolean) => void;
  /** These namespaces are served from now on. */
  readonly begun: (isMeant: (namespace: string) => boolean) => void;
  /** These are not any more, and nothing is in progress in them. */
  readonly ended: (isMeant: (namespace: string) => boolean) => void;
  readonly signal: AbortSignal;
}

export async function serveShards({ election, signal, ...options }: ServeShardsOptions): Promise<void> {
  await election.run({
    signal,
    lead: (shard, leading) => serve(shard, election.leaseNames[shard] ?? '', options, leading),
  });
}

async function serve(
  shard: number,
  lease: string,
  { begun, clock, drainMs, ended, leading, log, served }: Omit<ServeShardsOptions, 'election' | 'signal'>,
  signal: AbortSignal,
): Promise<void> {
  const isMeant = (namespace: string) => served.isOf(shard, namespace);
  served.begin(shard);
  log.info({ shard }, 'serving a shard');
  leading(lease, true);
  begun(isMeant);
  await aborted(signal);
  await served.end(shard, clock, signal.reason instanceof LeaseLostError ? 0 : drainMs);
  ended(isMeant);
  leading(lease, false);
  log.info({ shard }, 'no longer serving a shard');
}
