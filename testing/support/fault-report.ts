/** The rows of the table in docs/reliability.md: written where `make faults` asks for them, and printed in any case. */
import { appendFileSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { TestContext } from 'node:test';

export interface ReportRow {
  readonly table: 'faults' | 'lasting' | 'attacks';
  /** What was done, in plain words. */
  readonly fault: string;
  readonly runs: number;
  readonly violations: number;
  /** Undefined where nothing had to recover. */
  readonly worstRecoveryMs?: number;
}

export function report(t: TestContext, row: ReportRow): void {
  const { fault, runs, violations, worstRecoveryMs } = row;
  const recovery = worstRecoveryMs === undefined ? '' : `, worst recovery ${(worstRecoveryMs / 1000).toFixed(1)} s`;
  t.diagnostic(`${fault}: ${runs} runs, ${violations} violations${recovery}`);
  const file = process.env['DCRED_FAULTS_RESULTS'];
  if (file === undefined) return;
  mkdirSync(dirname(file), { recursive: true });
  appendFileSync(file, `${JSON.stringify(row)}\n`);
}
