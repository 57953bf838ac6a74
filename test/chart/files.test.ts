import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { load } from 'js-yaml';
import { chartFiles } from '../../scripts/chart-files.ts';
import { documentedValues, UndocumentedValueError } from '../../scripts/chart-readme.ts';
import { CHART, helm, ROOT } from './chart.ts';
import { VARIANTS } from './variants.ts';

test("the chart's README and its copies of the CRDs are up to date", async () => {
  for (const { path, content } of await chartFiles(ROOT)) {
    const present = await readFile(join(ROOT, path), 'utf8');
    assert.ok(present === content, `${path} is stale: run "npm run generate"`);
  }
});

test('chart, application and package have the same version', async () => {
  const chart = load(await readFile(join(CHART, 'Chart.yaml'), 'utf8')) as { version: string; appVersion: string };
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  assert.deepEqual([chart.version, chart.appVersion], [version, version]);
});

test('helm lint reports no warning and no error', async () => {
  const { stdout } = await helm(['lint', '--strict', CHART]);
  assert.doesNotMatch(stdout, /\[(WARNING|ERROR)\]/);
});

test('every value is documented, in the schema, and set by at least one tested variant', async () => {
  const source = await readFile(join(CHART, 'values.yaml'), 'utf8');
  const schema = JSON.parse(await readFile(join(CHART, 'values.schema.json'), 'utf8'));
  const untested = new Set(['image.tag', 'rbac.aggregate']);
  for (const { key } of documentedValues(source, load(source))) {
    const path = key.split('.');
    const described = path.reduce((node, part) => node?.properties?.[part], schema);
    assert.ok(described !== undefined, `${key} is missing from values.schema.json`);
    const isTested = Object.values(VARIANTS).some((values) => {
      const found = path.reduce<unknown>(
        (node, part) => (typeof node === 'object' && node !== null ? Reflect.get(node, part) : undefined),
        values,
      );
      return found !== undefined;
    });
    assert.ok(isTested || untested.has(key), `no variant sets ${key}`);
  }
});

describe('the table of values', () => {
  const source = [
    '# A comment about the file, which describes no value.',
    '',
    'outer:',
    '  # -- The first line,',
    '  # and the second.',
    '  inner: 1',
    '# -- A map is described as a whole.',
    'map:',
    '  a: x',
    '  b: y',
    '# -- A list | with a pipe.',
    'list: []',
    '',
  ].join('\n');

  test('has a row for every documented value, with its default', () => {
    assert.deepEqual(documentedValues(source, load(source)), [
      { key: 'outer.inner', description: 'The first line, and the second.', default: '1' },
      { key: 'map', description: 'A map is described as a whole.', default: '{"a":"x","b":"y"}' },
      { key: 'list', description: 'A list | with a pipe.', default: '[]' },
    ]);
  });

  test('cannot be generated when a value has no description', () => {
    const undescribed = `${source}\nmystery: 7\n`;
    assert.throws(
      () => documentedValues(undescribed, load(undescribed)),
      (error) => {
        assert.ok(error instanceof UndocumentedValueError);
        assert.match(error.message, /mystery has no description/);
        return true;
      },
    );
  });
});
