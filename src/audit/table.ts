/** An audit as text. Pure. */
import { relative } from '../status/format.ts';
import { printable } from '../text/printable.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import type { AuditEntry, AuditResult, ResourceSummary } from './result.ts';
import { isFinding } from './verdict.ts';

export interface TableOptions {
  /** Every pod, and not only findings. */
  readonly wide: boolean;
  /** ANSI colours. */
  readonly colour: boolean;
}

const RESOURCES = ['NAMESPACE', 'NAME', 'PODS', 'CURRENT', 'FINDINGS', 'LEAVES', 'LEAF EXPIRES'];
const PODS = ['NAMESPACE', 'RESOURCE', 'POD', 'STATE', 'SINCE', 'EXPIRES'];
const MAX_MESSAGE_LENGTH = 1024;

export function formatAudit(result: AuditResult, options: TableOptions): string {
  const { entries, finishedAt, notAudited, resources } = result;
  const shown = entries.filter(({ verdict }) => options.wide || isFinding(verdict.state));
  const blocks = [
    table([RESOURCES, ...resources.map((one) => resourceRow(one, finishedAt))]).map((line, position) =>
      paint(line, (resources[position - 1]?.findings ?? 0) > 0, options),
    ),
    shown.length === 0 ? [] : podLines(shown, finishedAt, options),
    [...resources.flatMap(differingLeaves), ...(notAudited.length === 0 ? [] : [notAuditedLine(notAudited)])],
    [summary(result)],
  ];
  return `${blocks
    .filter((block) => block.length > 0)
    .map((block) => block.join('\n'))
    .join('\n\n')}\n`;
}

function resourceRow({ findings, leaves, name, namespace, pods, states }: ResourceSummary, now: number): string[] {
  const ends = leaves.map(({ notAfter }) => notAfter);
  return [
    namespace,
    name,
    String(pods),
    String(states.current ?? 0),
    String(findings),
    String(leaves.length),
    ends.length === 0 ? '-' : relative(Math.min(...ends), now),
  ];
}

/** Each pod in a line, and what was found below it. */
function podLines(entries: readonly AuditEntry[], now: number, options: TableOptions): readonly string[] {
  const rows = entries.map(({ served, subject, verdict }) => [
    subject.pod.namespace,
    subject.resource.metadata.name,
    subject.pod.name,
    verdict.state,
    relative(verdict.since, now),
    relative(served?.credential?.expiresAt, now),
  ]);
  return table([PODS, ...rows]).flatMap((line, position) => {
    const verdict = entries[position - 1]?.verdict;
    if (verdict === undefined) return [line];
    const isBad = isFinding(verdict.state);
    const shown = paint(line, isBad, options);
    return isBad ? [shown, `    ${printable(verdict.message, MAX_MESSAGE_LENGTH)}`] : [shown];
  });
}

function differingLeaves({ leaves, name, namespace }: ResourceSummary): readonly string[] {
  if (leaves.length < 2) return [];
  const list = leaves.map(({ notAfter, pods, sha256 }) => {
    return `  ${sha256}  ${pods} ${pods === 1 ? 'pod' : 'pods'}, expires ${formatRfc3339(notAfter)}`;
  });
  return [`${namespace}/${name}: the leaf is not the same everywhere`, ...list];
}

function notAuditedLine(names: readonly string[]): string {
  return `not audited (for clients, or with an invalid spec): ${names.map((name) => printable(name)).join(', ')}`;
}

function summary({ entries, findings, finishedAt, startedAt }: AuditResult): string {
  const pods = `${entries.length} ${entries.length === 1 ? 'server' : 'servers'} in ${finishedAt - startedAt} s`;
  const waiting = entries.filter(({ verdict }) => verdict.state === 'not-running').length;
  const found = findings === 0 ? 'no findings' : `${findings} ${findings === 1 ? 'finding' : 'findings'}`;
  if (waiting === 0) return `${pods}: ${found}`;
  if (waiting === entries.length) return `${pods}: none of them runs yet, so nothing was compared`;
  return `${pods}: ${found}; ${waiting} not running yet`;
}

/** Rows with columns of one width each; the last is not padded. */
function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function paint(line: string, isBad: boolean, { colour }: TableOptions): string {
  return isBad && colour ? `\u001b[31m${line}\u001b[0m` : line;
}
