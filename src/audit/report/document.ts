/**
 * The audit as one HTML file: it loads nothing, and its policy lets nothing run but its own script. Text of strangers (names,
 * messages) is escaped here, and goes into the page by textContent there. Pure.
 */
import { createHash } from 'node:crypto';
import { printable } from '../../text/printable.ts';
import { formatRfc3339 } from '../../text/rfc3339.ts';
import type { AuditResult, ResourceSummary } from '../result.ts';
import { type AuditState, FINDINGS } from '../verdict.ts';
import { reportData } from './data.ts';
import { SCRIPT } from './script.ts';
import { STYLE } from './style.ts';

/** `version`: of dcred, for the footer. */
export function auditReport(result: AuditResult, version: string): string {
  const data = reportData(result);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>dcred audit ${formatRfc3339(result.startedAt)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>Delegated credentials, as served</h1>
<p class="soft">${formatRfc3339(result.startedAt).replace('T', ' ').replace('Z', ' UTC')}, ${result.finishedAt - result.startedAt} s</p>
<p class="verdict ${result.findings === 0 ? 'good' : 'bad'}">${verdict(result)}</p>
<div class="tiles">${tiles(result).join('')}</div>
<section class="card"><h2>Resources</h2><div class="resources">${RESOURCE_HEAD}${result.resources.map(resourceRow).join('')}</div>${notAudited(result)}</section>
<section class="card">
<h2>Credentials over time</h2>
<canvas id="picture" role="img" aria-label="Each pod as a bar: its life, its credential from issue to expiry, and its renewal"></canvas>
<p id="scale" class="soft small"></p>
<p id="under" class="soft small"></p>
<div class="legend"><span><i class="k-life"></i>pod</span><span><i class="k-current"></i>credential, life so far</span><span><i class="k-left"></i>life left</span><span><i class="k-bad"></i>finding, since the Secret was issued</span><span><i class="k-mark"></i>renewal</span><span><i class="k-now"></i>now</span>${leafLegend(data.leafEnds)}</div>
</section>
<section class="card">
<h2>Servers</h2>
<div class="tools"><input id="filter" type="search" placeholder="Filter: pod, resource, state, message" aria-label="Filter"><span id="count" class="soft small"></span></div>
<div class="tools">${stateButtons(result)}</div>
<div id="rows" class="scroll" tabindex="0"><div class="row head">${COLUMNS.map(columnButton).join('')}</div><div id="list"></div></div>
<div id="detail" aria-live="polite"></div>
<noscript><p>The list and the picture need JavaScript; the table of resources does not.</p></noscript>
</section>
<p class="soft small">dcred ${escapeHtml(version)}. This file loads nothing and sends nothing.</p>
</main>
<script type="application/json" id="data">${embeddedJson(data)}</script>
<script>${SCRIPT}</script>
</body>
</html>
`;
}

/** By hash: nothing that a name could smuggle in would run, even if it were not escaped. */
function policy(): string {
  const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  return [
    "default-src 'none'",
    `style-src ${hashOf(STYLE)}`,
    `script-src ${hashOf(SCRIPT)}`,
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ');
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** For text and for quoted attributes. */
export function escapeHtml(text: string): string {
  return printable(text, 1024).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}

/** No `</script>` and no `<!--` can stand in it: JSON has `<` in strings only, where it may be escaped. */
export function embeddedJson(data: unknown): string {
  return JSON.stringify(data)
    .replace(/</g, '\\u003c')
    .replace(/\u2028/g, '\\u2028')
    .replace(/\u2029/g, '\\u2029');
}

function verdict({ entries, findings }: AuditResult): string {
  const servers = `${number(entries.length)} ${entries.length === 1 ? 'server' : 'servers'}`;
  if (entries.length === 0) return 'There is no server to audit';
  if (findings === 0) return `No findings: ${servers} audited`;
  return `${number(findings)} ${findings === 1 ? 'finding' : 'findings'} among ${servers}`;
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

function tiles({ entries, findings, finishedAt, resources }: AuditResult): readonly string[] {
  const count = (state: AuditState) => entries.filter(({ verdict: { state: one } }) => one === state).length;
  const expiries = entries.flatMap(
    ({ served, subject }) => served?.credential?.expiresAt ?? subject.facts?.expiresAt ?? [],
  );
  const leaves = resources.flatMap((one) => one.leaves.map(({ notAfter }) => notAfter));
  const least = (times: readonly number[]) => times.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  return [
    tile('servers', number(entries.length)),
    tile('current', number(count('current'))),
    tile('findings', number(findings), findings > 0),
    tile('updating, not running', number(count('updating') + count('not-running'))),
    tile('first credential expires', until(least(expiries), finishedAt), least(expiries) <= finishedAt),
    tile('first leaf expires', until(least(leaves), finishedAt), least(leaves) <= finishedAt),
  ];
}

function tile(label: string, value: string, isBad = false): string {
  return `<div class="tile${isBad ? ' bad' : ''}"><b>${value}</b><span class="soft small">${label}</span></div>`;
}

function until(time: number, now: number): string {
  if (!Number.isFinite(time)) return '-';
  const distance = Math.abs(time - now);
  const hours = Math.floor(distance / 3600);
  const text =
    hours >= 48 ? `${Math.floor(hours / 24)} d` : hours >= 2 ? `${hours} h` : `${Math.floor(distance / 60)} min`;
  return time > now ? text : `${text} ago`;
}

const RESOURCE_HEAD =
  '<div class="resource head"><span>resource</span><span>servers</span><span>current</span><span>findings</span><span>leaf</span></div>';

function resourceRow({ findings, leaves, name, namespace, pods, states }: ResourceSummary): string {
  const label = (text: string) => `<span class="label">${text} </span>`;
  return (
    `<div class="resource"><span class="mono">${escapeHtml(`${namespace}/${name}`)}</span>` +
    `<span class="number">${label('servers')}${number(pods)}</span>` +
    `<span class="number">${label('current')}${number(states.current ?? 0)}</span>` +
    `<span class="number${findings > 0 ? ' bad-text' : ''}">${label('findings')}${number(findings)}</span>` +
    `<span>${leafText(leaves)}</span></div>`
  );
}

function leafText(leaves: ResourceSummary['leaves']): string {
  const [first, ...others] = leaves;
  if (first === undefined) return '<span class="soft">none served</span>';
  const day = formatRfc3339(first.notAfter).slice(0, 10);
  const leaf = `<span class="mono">${first.sha256.slice(0, 12)}</span> <span class="soft">until ${day}</span>`;
  if (others.length === 0) return leaf;
  const rest = others
    .map(({ pods, sha256 }) => `<span class="mono">${sha256.slice(0, 12)}</span> (${number(pods)})`)
    .slice(0, 5);
  return `${leaf} <span class="bad-text">not the same everywhere: also</span> ${rest.join(', ')}`;
}

function notAudited({ notAudited: names }: AuditResult): string {
  if (names.length === 0) return '';
  const shown = names.slice(0, 20).map(escapeHtml).join(', ');
  return `<p class="soft small">Not audited (for clients, or with an invalid spec): ${shown}${names.length > 20 ? ', ...' : ''}</p>`;
}

function leafLegend([end]: readonly number[]): string {
  if (end === undefined) return '';
  return `<span><i class="k-leaf"></i>the leaf expires ${formatRfc3339(end).slice(0, 10)}</span>`;
}

const COLUMNS = [
  ['state', 'state'],
  ['pod', 'pod'],
  ['resource', 'resource'],
  ['issued', 'life of the credential'],
  ['expires', 'expires'],
] as const;

function columnButton([column, label]: (typeof COLUMNS)[number]): string {
  return `<button type="button" data-column="${column}" data-label="${label}" aria-pressed="false">${label}</button>`;
}

function stateButtons({ entries }: AuditResult): string {
  const counts = new Map<AuditState, number>();
  for (const { verdict: one } of entries) counts.set(one.state, (counts.get(one.state) ?? 0) + 1);
  const order: readonly AuditState[] = [...FINDINGS, 'updating', 'not-running', 'current'];
  return order
    .filter((state) => counts.has(state))
    .map(
      (state) =>
        `<button type="button" data-state="${state}" aria-pressed="false">${state} ${number(counts.get(state) ?? 0)}</button>`,
    )
    .join('');
}
