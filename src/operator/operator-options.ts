/** What the operator is made from. */
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { LeaderElector } from '../kubernetes/leader/leader-election.ts';
import type { ShardElection } from '../kubernetes/leader/shard-election.ts';
import type { Logger } from '../kubernetes/log.ts';
import type { SignerClient } from '../signer-client/signer-client.ts';
import type { Tracing } from '../tracing/tracing.ts';
import type { SignerClientMetrics } from './certificates/signer-link.ts';
import type { GrantScope } from './grants/grants.ts';
import type { Outage } from './outage.ts';
import type { GenerateKey } from './pods/issuer.ts';
import type { WritePace } from './pods/write-pace.ts';
import type { OperatorMetrics } from './reporting/metrics.ts';

/** Of the Lease, and the start of those of shards, unless --leader-elect-resource-name names another. */
export const LEASE_NAME = 'dcred-operator';

export interface OperatorOptions extends Partial<Omit<GrantScope, 'namespaces'>> {
  readonly client: ApiClient;
  /** Empty: every namespace. */
  readonly namespaces: readonly string[];
  readonly workers: number;
  /** Less than `workers` at a time while the API server is busy. Undefined: always as many. */
  readonly pace?: WritePace | undefined;
  /** Tells when the API server can be reached again. Undefined: keys wait for their retry. */
  readonly outage?: Outage | undefined;
  /** Of re-issues in a wave: see `WavePacer`. Undefined: no limit. */
  readonly maxReissuesPerSecond?: number | undefined;
  /** Nudge kubelets to mount new Secrets at once, by an annotation of the pod. */
  readonly notifyPods: boolean;
  /** Undefined: no leader election; this process leads at once. */
  readonly elector: LeaderElector | undefined;
  /** By which metrics show who leads, where there is no lease too. */
  readonly leaseName: string;
  /** Instead of `elector`: this process serves the namespaces of the shards that it holds the leases of. */
  readonly shards?: ShardElection | undefined;
  readonly metrics: OperatorMetrics;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** Who reports Events: the pod's or the host's name. */
  readonly instance: string;
  /** Where Events about nothing in particular go. */
  readonly namespace: string;
  readonly generateKey?: GenerateKey;
  /** Signs in place of this process, which then reads no certificate Secret. */
  readonly signer?: OperatorSigner | undefined;
  readonly tracing?: Tracing | undefined;
}

export interface OperatorSigner {
  readonly client: SignerClient;
  readonly metrics: Pick<SignerClientMetrics, 'available'>;
}
