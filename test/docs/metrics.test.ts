/** Every metric that a page lists has the labels that the page says, and no program has one that its page leaves out. */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { SignerMetrics } from '../../src/signer/metrics.ts';
import { labelsOf } from '../alerts/registries.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (page: string) => readFile(join(ROOT, 'docs', page), 'utf8');
/** What every program has, and the page says once. */
const COMMON = /^(?:dcred_build_info|process_\w+|nodejs_\w+|workqueue_\w+|rest_client_\w+|leader_election_\w+)$/;
const ENGINE = /^dcred_(?:watch_events_total|events_dropped_total)$/;

type Labels = Readonly<Record<string, string>>;

/** Rows of `| names | labels | meaning |`; the labels of several names are separated by ";", or are the same for all of them. */
function tableLabels(text: string): Labels {
  const rows = [...text.matchAll(/^\| (`\w+`[^|]*) \| ([^|]*?) ?\| /gm)];
  return Object.fromEntries(
    rows.flatMap(([, cell = '', labels = '']) => {
      const names = [...cell.matchAll(/`(\w+)`/g)].map(([, name = '']) => name);
      const groups = labels.split(';').map((group) => group.trim());
      return names.map((name, position) => [name, (groups.length === 1 ? groups[0] : groups[position]) ?? '']);
    }),
  );
}

/** `name{label,label}` in code spans. */
function inlineLabels(text: string): Labels {
  const spans = [...text.matchAll(/`(dcred_\w+)(?:\{([\w,]*)\})?`/g)];
  return Object.fromEntries(spans.map(([, name = '', labels = '']) => [name, labels.split(',').join(', ')]));
}

function between(text: string, begin: string, end: string | undefined): string {
  const [, rest] = text.split(begin);
  assert.ok(rest !== undefined, begin);
  return end === undefined ? rest : (rest.split(end)[0] ?? '');
}

function without(labels: ReadonlyMap<string, string>, ...patterns: readonly RegExp[]): Labels {
  return Object.fromEntries([...labels].filter(([name]) => patterns.every((pattern) => !pattern.test(name))));
}

test('operator and webhook', async () => {
  const text = between(await read('reference.md'), '\n## Metrics\n', 'The agent has its own');
  const expected = Object.fromEntries([...(await labelsOf('operator')), ...(await labelsOf('webhook'))]);
  assert.deepEqual(tableLabels(text), expected);
});

test('the agent', async () => {
  const text = between(await read('reference.md'), 'The agent has its own', '\n## ');
  assert.deepEqual(tableLabels(text), without(await labelsOf('agent'), COMMON));
});

test('the issuer', async () => {
  const text = between(await read('certificates.md'), '| metric | labels |', undefined);
  assert.deepEqual(tableLabels(text), without(await labelsOf('issuer'), COMMON, ENGINE));
});

test('the signer', async () => {
  const text = between(await read('signer.md'), '\n## Metrics\n', undefined);
  assert.deepEqual(inlineLabels(text), without(await labelsOf('signer'), COMMON));
});

test("the signer's answers", async () => {
  const page = between(await read('signer.md'), '\n## Requests\n', '\n## ');
  const results = await new SignerMetrics('0').registry.getSingleMetricAsString('dcred_signer_requests_total');
  const reasons = [...results.matchAll(/result="(\w+)"/g)].flatMap(([, result = '']) =>
    result === 'signed' ? [] : result,
  );
  assert.ok(reasons.length > 3, results);
  assert.deepEqual(
    reasons.filter((reason) => !page.includes(`| \`${reason}\` |`)),
    [],
  );
  const statuses = new Set<string>();
  for await (const path of glob('src/signer/*.ts', { cwd: ROOT })) {
    const source = await readFile(join(ROOT, path), 'utf8');
    for (const [, status = ''] of source.matchAll(/HttpRefusal\(\s*(\d{3})\b/g)) statuses.add(status);
  }
  const listed = [...page.matchAll(/^\| HTTP ([\d, ]+) \|/gm)].flatMap(([, codes = '']) => codes.split(', '));
  assert.deepEqual(listed.sort(), [...statuses].sort());
});

test('the audit', async () => {
  const text = between(await read('audit.md'), '\n## In the cluster, on a schedule\n', '| reason | state |');
  assert.deepEqual(inlineLabels(text), without(await labelsOf('audit'), COMMON, ENGINE));
});
