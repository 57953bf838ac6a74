/** Grafana's dashboards: PromQL that Prometheus parses, on metrics and labels that exist; and no two panels in the same place. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { dashboards } from '../../scripts/dashboards/model.ts';
import { findPrometheus, promtool } from '../../testing/peers/prometheus.ts';
import { CHART, ROOT, render, type Values } from '../chart/chart.ts';
import { sampleNames } from './registries.ts';

interface Model {
  readonly uid: string;
  readonly title: string;
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly description: string;
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
    readonly targets: readonly { readonly expr: string }[];
  }[];
}

/** Functions, operators and labels that look like metrics. */
const NAME = /\b(?:dcred|leader_election|workqueue|rest_client|process|nodejs)_\w+\b/g;

const FOLDER = join(CHART, 'dashboards');
const files = (await readdir(FOLDER)).sort();
const models = new Map<string, Model>();
for (const file of files) models.set(file, JSON.parse(await readFile(join(FOLDER, file), 'utf8')));
const tools = await findPrometheus();

/** As Grafana replaces its variables. */
function expanded(expression: string): string {
  return expression.replaceAll('$__rate_interval', '5m').replaceAll(/\$(namespace|name)/g, '.*');
}

test('are what is generated', async () => {
  for (const { content, path } of dashboards()) assert.equal(await readFile(join(ROOT, path), 'utf8'), content, path);
  assert.deepEqual(new Set(files), new Set(dashboards().map(({ path }) => path.split('/').at(-1))));
});

for (const [file, model] of models) {
  describe(file, () => {
    const expressions = model.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));

    test('queries metrics that exist', async () => {
      const served = await sampleNames();
      const definitions = model.templating.list.flatMap(({ definition = '' }) => definition);
      const named = [...expressions, ...definitions].flatMap((text) => text.match(NAME) ?? []);
      assert.ok(named.length >= expressions.length);
      assert.deepEqual(
        named.filter((name) => !served.has(name)),
        [],
      );
    });

    test('uses only variables that it has', () => {
      const known = new Set(['__rate_interval', ...model.templating.list.map(({ name }) => name)]);
      const used = expressions.flatMap((text) => [...text.matchAll(/\$(\w+)/g)].map(([, name = '']) => name));
      assert.ok(used.every((name) => known.has(name)));
    });

    test('counts each thing once, however many replicas say the same of it', () => {
      for (const expression of expressions) assert.doesNotMatch(expression, /\bcount ?\((?!(min|max) by )/);
    });

    test('is PromQL', { skip: tools.available ? false : tools.reason }, async () => {
      assert.ok(tools.available);
      const rules = expressions.map((expr, index) => ({ record: `dashboard:query:${index}`, expr: expanded(expr) }));
      const content = { 'rules.json': { groups: [{ name: 'dashboard', rules }] } };
      const { status, stderr, stdout } = await promtool(tools, content, ['check', 'rules', 'rules.json']);
      assert.equal(status, 0, stdout + stderr);
    });

    test('has panels that answer something, side by side within 24 columns', () => {
      const cells = new Set<string>();
      for (const { description, gridPos, targets, title } of model.panels) {
        assert.ok(title !== '' && description.endsWith('.') && targets.length > 0, title);
        assert.ok(gridPos.x + gridPos.w <= 24, title);
        for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
          for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
            assert.ok(!cells.has(`${x},${y}`), `${title} lies on another panel`);
            cells.add(`${x},${y}`);
          }
        }
      }
    });
  });
}

test('each is a ConfigMap with the label of the sidecar, by value', async () => {
  const of = async (values: Values) => (await render(values)).filter(({ kind }) => kind === 'ConfigMap');
  assert.deepEqual(await of({}), []);
  const maps = await of({ metrics: { dashboards: { enabled: true } } });
  assert.equal(maps.length, files.length);
  for (const map of maps) {
    assert.equal(map.metadata.labels?.['grafana_dashboard'], '1');
    const [data, ...more] = Object.entries(map['data'] as Record<string, string>);
    assert.ok(data !== undefined && more.length === 0);
    assert.deepEqual(JSON.parse(data[1]), models.get(data[0].replace(/^dcred-/, '')));
  }
});
