import type { ApiClient } from './api-client.ts';
import type { Clock } from './clock.ts';
import type { Logger } from './log.ts';

export interface LeaderElectorOptions {
  readonly client: ApiClient;
  readonly namespace: string;
  readonly name: string;
  /** Unique to this process. */
  readonly identity: string;
  readonly leaseDurationMs?: number;
  readonly renewDeadlineMs?: number;
  readonly retryPeriodMs?: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

export interface RunForLeaderOptions {
  readonly signal: AbortSignal;
  readonly lead: (signal: AbortSignal) => Promise<void>;
}

export class LeaderElector {
  constructor(_options: LeaderElectorOptions) {}

  run(_options: RunForLeaderOptions): Promise<'released' | 'lost'> {
    throw new Error('not yet');
  }
}
