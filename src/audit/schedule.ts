/** Audits again and again, as long as the signal lets it: the next one begins the interval after the one before began. */
import { type Clock, delay } from '../kubernetes/clock.ts';
import type { Logger } from '../kubernetes/log.ts';
import type { AuditMetrics } from './metrics.ts';
import type { Publisher } from './publisher.ts';
import type { AuditResult } from './result.ts';
import type { SubjectInput } from './subject.ts';

export interface ScheduleOptions {
  readonly collect: (signal: AbortSignal) => Promise<SubjectInput>;
  readonly audit: (input: SubjectInput, signal: AbortSignal) => Promise<AuditResult>;
  readonly publisher: Pick<Publisher, 'publish'>;
  readonly metrics: Pick<AuditMetrics, 'failed' | 'succeeded'>;
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The shortest pause between two audits, where one takes longer than the interval. */
const MIN_PAUSE_MS = 1_000;

/** Ends when the signal aborts. An audit that fails is logged and counted, and the next one is on time. */
export async function runSchedule(options: ScheduleOptions, signal: AbortSignal): Promise<void> {
  const { clock, intervalMs } = options;
  while (!signal.aborted) {
    const begun = clock.monotonic();
    await runOnce(options, signal);
    await delay(clock, Math.max(MIN_PAUSE_MS, intervalMs - (clock.monotonic() - begun)), signal);
  }
}

async function runOnce(
  { audit, collect, log, metrics, publisher }: ScheduleOptions,
  signal: AbortSignal,
): Promise<void> {
  try {
    const input = await collect(signal);
    const result = await audit(input, signal);
    metrics.succeeded(result);
    await publisher.publish(result, input.resources, signal);
    const seconds = result.finishedAt - result.startedAt;
    log.info({ servers: result.entries.length, findings: result.findings, seconds }, 'audit finished');
  } catch (error) {
    if (signal.aborted) return;
    metrics.failed();
    log.error({ err: error }, 'audit failed');
  }
}
