/** The alerts: their expressions and when they fire, by Prometheus' own tool; and that their metrics and their runbook exist. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { load } from 'js-yaml';
import { findPrometheus, promtool } from '../../testing/peers/prometheus.ts';
import { CHART, type Manifest, pick, ROOT, render } from '../chart/chart.ts';
import { sampleNames } from './registries.ts';

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface Rules {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
}

interface AlertTests {
  readonly tests: readonly {
    readonly alert_rule_test: readonly { readonly alertname: string; readonly exp_alerts: readonly object[] }[];
  }[];
}

const FILE = join(CHART, 'files', 'alerts.yaml');
const rules = load(await readFile(FILE, 'utf8')) as Rules;
const alerts = rules.groups.flatMap((group) => group.rules);
const names = alerts.map(({ alert }) => alert);
const unitTests = load(await readFile(join(import.meta.dirname, 'alerts.yaml'), 'utf8')) as AlertTests;
const runbook = await readFile(join(ROOT, 'docs', 'runbook.md'), 'utf8');
const tools = await findPrometheus();
const skip = tools.available ? false : tools.reason;

test('promtool accepts the rules', { skip }, async () => {
  assert.ok(tools.available);
  const { status, stderr, stdout } = await promtool(tools, { 'alerts.json': rules }, ['check', 'rules', 'alerts.json']);
  assert.equal(status, 0, stdout + stderr);
});

test('they fire when they should, with the right text, and not before', { skip }, async () => {
  assert.ok(tools.available);
  const files = { 'alerts.json': rules, 'tests.json': unitTests };
  const { status, stderr, stdout } = await promtool(tools, files, ['test', 'rules', 'tests.json']);
  assert.equal(status, 0, stdout + stderr);
});

test('every alert is seen to fire and seen not to fire', () => {
  const cases = unitTests.tests.flatMap((one) => one.alert_rule_test);
  const firing = new Set(cases.filter(({ exp_alerts }) => exp_alerts.length > 0).map(({ alertname }) => alertname));
  assert.deepEqual(
    names.filter((name) => !firing.has(name)),
    [],
  );
  assert.ok(cases.every(({ alertname }) => names.includes(alertname)));
});

test('every metric that an alert names is served by the code', async () => {
  const served = await sampleNames();
  const named = alerts.flatMap(({ expr }) => [
    ...expr.matchAll(/\b(?:dcred|leader_election|workqueue|rest_client)_\w+/g),
  ]);
  assert.ok(named.length >= alerts.length);
  assert.deepEqual(
    named.map(([name]) => name).filter((name) => !served.has(name)),
    [],
  );
});

describe('the runbook', () => {
  const sections = new Map(
    runbook
      .split(/^## /m)
      .slice(1)
      .map((section) => [section.split('\n', 1)[0] ?? '', section]),
  );

  test('has a section for every alert, and an alert for every section that is named like one', () => {
    assert.deepEqual([...sections.keys()].filter((name) => name.startsWith('Dcred')).sort(), [...names].sort());
  });

  for (const name of names) {
    test(`says for ${name} what it means, which command shows the cause, and what to do`, () => {
      const section = sections.get(name) ?? '';
      assert.match(section, /\n {4}(kubectl|dcred) /, 'a command');
      for (const word of ['**Means**', '**Look**', '**Do**']) assert.ok(section.includes(word), word);
    });
  }
});

describe("the chart's PrometheusRule", () => {
  const rendered = async (prometheusRule: object, values: object = {}): Promise<Rules> =>
    pick(
      await render({ ...values, metrics: { prometheusRule: { enabled: true, ...prometheusRule } } }),
      'PrometheusRule',
    )['spec'];

  test('has the same rules, each with a link to its section', async () => {
    const issuer = { enabled: true, authorities: [{ namespace: 'edge', names: ['web-ca'] }] };
    const everything = { audit: { enabled: true }, issuer };
    const made = await rendered({ runbookUrl: 'https://docs.example.test/runbook' }, everything);
    const withLinks = rules.groups.map((group) => ({
      ...group,
      rules: group.rules.map((rule) => ({
        ...rule,
        annotations: {
          ...rule.annotations,
          runbook_url: `https://docs.example.test/runbook#${rule.alert.toLowerCase()}`,
        },
      })),
    }));
    assert.deepEqual(made.groups, withLinks);
  });

  test('links to headings that exist', () => {
    for (const name of names) assert.ok(runbook.toLowerCase().includes(`\n## ${name.toLowerCase()}\n`), name);
  });

  test('leaves out alerts that are disabled or whose component does not run, and adds those from the values', async () => {
    const extra = { alert: 'DcredMine', expr: 'vector(1)' };
    const made = await rendered(
      { disabled: ['DcredClockSkew'], extraRules: [extra] },
      { webhook: { enabled: false }, leaderElection: { enabled: false }, replicas: 1 },
    );
    const left = made.groups.flatMap((group) => group.rules.map(({ alert }) => alert));
    const absent = [
      'DcredClockSkew',
      'DcredWebhookDown',
      'DcredNoLeader',
      'DcredServedCredentialStale',
      'DcredIssuerCaUnusable',
    ];
    for (const gone of absent) assert.ok(!left.includes(gone), gone);
    assert.deepEqual(made.groups.at(-1), { name: 'dcred-extra', rules: [extra] });
  });

  test('is not made unless it is enabled, and needs metrics', async () => {
    const kinds = (objects: readonly Manifest[]) => objects.map(({ kind }) => kind);
    assert.ok(!kinds(await render()).includes('PrometheusRule'));
    await assert.rejects(render({ metrics: { port: 0, prometheusRule: { enabled: true } } }), {
      message: /metrics\.prometheusRule\.enabled needs metrics\.port/,
    });
  });
});
