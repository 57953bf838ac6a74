/** Labels, annotations, gates, types and paths under `dcred.dev` are spelled out in one file. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import * as keys from '../../src/api/keys.ts';

const SRC = resolve(import.meta.dirname, '../../src');

/** The lines of code that spell out a key. Comments may name keys: nothing depends on them. */
function spelledKeys(source: string): readonly string[] {
  const code = source.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/ .*$/gm, '');
  return code.split('\n').filter((line) => line.includes(`${keys.API_GROUP}/`));
}

test('no file but api/keys.ts spells out a label, an annotation or a path of dcred.dev', () => {
  const found = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && file !== join('api', 'keys.ts'))
    .flatMap((file) => spelledKeys(readFileSync(join(SRC, file), 'utf8')).map((line) => `${file}: ${line.trim()}`));
  assert.deepEqual(found, []);
});

test('a key is found in every kind of literal, and not in comments', () => {
  const source = [
    "const a = 'dcred.dev/a';",
    'const b = "gate.dcred.dev/b";',
    'const c = `/var/dcred.dev/$' + '{c}`;',
    "const d = key.startsWith('dcred.dev/'); // why",
    '/** dcred.dev/e */',
    '// dcred.dev/f',
    '/*',
    ' * dcred.dev/g',
    ' */',
  ].join('\n');
  assert.equal(spelledKeys(source).length, 4);
});

test('no two keys are the same by mistake', () => {
  // A Secret's type and the label that names its resource share one name, by contract.
  const shared = [keys.ISSUED_SECRET_TYPE, keys.RESOURCE_LABEL];
  assert.equal(shared[0], shared[1]);
  const all = [
    keys.INJECT_KEY,
    keys.CONTAINERS_ANNOTATION,
    keys.RELOAD_ANNOTATION,
    keys.RENEWED_AT_ANNOTATION,
    keys.RENEW_REQUESTED_AT,
    keys.RESOURCE_LABEL,
    keys.SERVING_CERTIFICATE_TYPE,
    ...Object.values(keys.SECRET_ANNOTATIONS),
    keys.secretNameAnnotation('x'),
    keys.gateName('x'),
  ];
  assert.deepEqual([...new Set(all)], all);
});
