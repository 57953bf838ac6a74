/** The reference lists what there is: every command, every label and annotation; metrics are in `metrics.test.ts`. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as keys from '../../src/api/keys.ts';
import { COMMANDS } from '../../src/cli/commands.ts';

const text = await readFile(join(import.meta.dirname, '..', '..', 'docs', 'reference.md'), 'utf8');

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
