/** The reference lists what there is: every condition, reason, command, label and annotation; metrics are in `metrics.test.ts`. */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as keys from '../../src/api/keys.ts';
import { parseReload, RELOAD_METHODS, RELOAD_SIGNALS } from '../../src/api/reload-spec.ts';
import { SERVING } from '../../src/audit/serving-condition.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { POD_WARNING_REASONS } from '../../src/operator/core/missed-injection.ts';
import { DELETE_REASONS, ISSUE_REASONS } from '../../src/operator/core/plan.ts';
import { CONDITION_TYPES, READY_REASONS } from '../../src/operator/core/status.ts';
import { POD_FAILURE_REASONS } from '../../src/operator/pod-failure.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const text = await readFile(join(ROOT, 'docs', 'reference.md'), 'utf8');

/** The lines from one heading to the next. */
function section(heading: string): string {
  const begin = text.indexOf(`\n## ${heading}\n`);
  assert.ok(begin >= 0, heading);
  const end = text.indexOf('\n## ', begin + 1);
  return text.slice(begin, end < 0 ? undefined : end);
}

/** The words in code spans of a table's first column. */
function firstColumn(part: string): readonly string[] {
  const cells = [...part.matchAll(/^\| ([^|]*) \|/gm)].map(([, cell = '']) => cell);
  return cells.flatMap((cell) => [...cell.matchAll(/`([\w-]+)[^`]*`/g)].map(([, word = '']) => word));
}

test('every Event on a pod is listed, failures before warnings, and nothing else', () => {
  const [events = ''] = section('Pods').split('\n### ');
  const [failures = '', warnings = ''] = events.split('These are warnings:');
  const reasons = (part: string) => firstColumn(part.slice(part.indexOf('| Event on a pod |')));
  assert.deepEqual([...reasons(failures)].sort(), [...POD_FAILURE_REASONS].sort());
  assert.deepEqual([...reasons(warnings)].sort(), [...POD_WARNING_REASONS].sort());
});

test('every condition and every reason of Ready is listed, and nothing else', () => {
  assert.deepEqual([...firstColumn(section('The Ready condition'))].sort(), [...READY_REASONS].sort());
  const others = [...CONDITION_TYPES].filter((type) => type !== 'Ready');
  assert.deepEqual([...firstColumn(section('Other conditions'))].sort(), [...others, SERVING].sort());
});

test('every reason to issue and to delete is listed, and nothing else', () => {
  const [issued = '', deleted = ''] = section('Why a credential is issued, and a Secret deleted').split('\nDeleted: ');
  assert.deepEqual([...firstColumn(issued)].sort(), [...ISSUE_REASONS].sort());
  const words = [...deleted.matchAll(/`([A-Z]\w+)`/g)].map(([, word = '']) => word);
  assert.deepEqual(words.sort(), [...DELETE_REASONS].sort());
});

test('every form of a reload is listed, and each of the examples is one', () => {
  const { 1: text = '' } = section('Pods').split('### How the agent reloads a server\n');
  const examples = [...text.matchAll(/^\| (`[^|]*`) \|/gm)].flatMap(([, cell = '']) => cell.slice(1, -1).split('`, `'));
  assert.deepEqual(new Set(examples.map((one) => parseReload(one).kind)), new Set(['signal', 'http', 'exec']));
  for (const word of [...RELOAD_SIGNALS, ...RELOAD_METHODS]) assert.ok(text.includes(`\`${word}\``), word);
});

test('every line of dcred check is listed, and nothing else', async () => {
  const found = new Set<string>();
  for await (const path of glob('src/check/*.ts', { cwd: ROOT })) {
    const source = await readFile(join(ROOT, path), 'utf8');
    const names =
      /(?:ok|warning|problem|attempt|section)\)?\(\s*'([A-Z]\w+)'|check(?: =|:) '(\w+)'|(?:issuer|operator|webhook): '(\w+)'/g;
    for (const [, ...groups] of source.matchAll(names)) found.add(groups.find(Boolean) ?? '');
  }
  const wanted = [...found].filter((name) => !(READY_REASONS as readonly string[]).includes(name));
  assert.deepEqual([...firstColumn(section('What dcred check checks'))].sort(), wanted.sort());
});

test('every command is listed, and nothing else', () => {
  assert.deepEqual([...firstColumn(section('Commands'))].sort(), COMMANDS.map(({ name }) => name).sort());
});

test('every label and annotation of pods, resources and issued Secrets is listed', () => {
  const ofOthers = new Set([
    'AUDIT_CONTROLLER_NAME',
    'CONTROLLER_NAME',
    'OWN_PREFIX',
    'SERVING_CERTIFICATE_TYPE',
    'WEBHOOK_NAME',
  ]);
  const entries = Object.entries({ ...keys, ...keys.SECRET_ANNOTATIONS }).filter(([name]) => !ofOthers.has(name));
  const constants = entries.map(([, value]) => value).filter((value) => typeof value === 'string');
  const named = [keys.secretNameAnnotation, keys.portAnnotation, keys.gateName].map((name) => name(''));
  const wanted = [...constants.filter((key) => key.includes('dcred.dev/')), ...named];
  assert.ok(wanted.length > 15, String(wanted.length));
  assert.deepEqual(
    wanted.filter((key) => !text.includes(`\`${key}`)),
    [],
  );
});
