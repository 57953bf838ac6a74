/**
 * Renders the tables of docs/reliability.md from what the fault suite measured:
 *
 *     make faults                                     # writes dist/faults.jsonl
 *     node scripts/reliability.ts dist/faults.jsonl   # writes the tables into docs/reliability.md
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ReportRow } from '../testing/support/fault-report.ts';

const PAGE = join(import.meta.dirname, '..', 'docs', 'reliability.md');

/** Several runs of the suite give one row for each fault: the worst of them. */
function merged(rows: readonly ReportRow[]): readonly ReportRow[] {
  const byFault = new Map<string, ReportRow>();
  for (const row of rows) {
    const before = byFault.get(row.fault);
    const worst = Math.max(before?.worstRecoveryMs ?? 0, row.worstRecoveryMs ?? 0);
    byFault.set(row.fault, {
      ...row,
      runs: row.runs + (before?.runs ?? 0),
      violations: row.violations + (before?.violations ?? 0),
      ...(worst === 0 ? {} : { worstRecoveryMs: worst }),
    });
  }
  return [...byFault.values()];
}

function table(rows: readonly ReportRow[], head: readonly string[]): string {
  const lines = merged(rows).map(({ fault, runs, violations, worstRecoveryMs }) => {
    const worst = worstRecoveryMs === undefined ? '-' : `${(worstRecoveryMs / 1000).toFixed(1)} s`;
    return `| ${[fault.replaceAll('|', '\\|'), runs, violations, worst].join(' | ')} |`;
  });
  return [`| ${head.join(' | ')} |`, '|---|---:|---:|---:|', ...lines].join('\n');
}

function between(page: string, name: string, text: string): string {
  const [from, to] = [`<!-- ${name}: generated -->`, `<!-- ${name}: end -->`];
  const start = page.indexOf(from);
  const end = page.indexOf(to);
  if (start < 0 || end < 0) throw new Error(`docs/reliability.md: expected the markers "${from}" and "${to}"`);
  return `${page.slice(0, start + from.length)}\n${text}\n${page.slice(end)}`;
}

const [results] = process.argv.slice(2);
if (results === undefined) throw new Error('usage: node scripts/reliability.ts RESULTS.jsonl');
const lines = (await readFile(results, 'utf8')).split('\n').filter((line) => line !== '');
const rows = lines.map((line) => JSON.parse(line) as ReportRow);
const of = (name: ReportRow['table']) => rows.filter((row) => row.table === name);
const TABLES = {
  faults: ['fault', 'runs', 'violations', 'worst recovery'],
  lasting: ['fault', 'runs', 'violations', 'right in spite of it after, at worst'],
  attacks: ['attack', 'runs', 'violations', "another tenant's new pod served after"],
} as const satisfies Record<ReportRow['table'], readonly string[]>;
let text = await readFile(PAGE, 'utf8');
for (const [name, head] of Object.entries(TABLES))
  text = between(text, name, table(of(name as ReportRow['table']), head));
await writeFile(PAGE, text);
