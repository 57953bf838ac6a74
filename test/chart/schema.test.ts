import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { load } from 'js-yaml';
import { CHART, renderText, SIGNER, type Values } from './chart.ts';

interface Rule {
  readonly properties?: Readonly<Record<string, Rule>>;
  readonly required?: readonly string[];
}

/** Wrong values, and what the error message must contain. */
const REFUSED: Readonly<Record<string, readonly [Values, RegExp]>> = {
  'a misspelt value': [{ replicaCount: 3 }, /replicaCount/],
  'a misspelt inner value': [{ image: { name: 'x' } }, /\/image.*name/s],
  'replicas as text': [{ replicas: '2' }, /\/replicas.*want integer/s],
  'too many replicas': [{ replicas: 200 }, /\/replicas.*maximum.*10/s],
  'a namespace as text': [{ namespaces: 'edge' }, /\/namespaces.*want array/s],
  'a namespace that cannot exist': [{ namespaces: ['Edge_1'] }, /\/namespaces\/0.*does not match/s],
  'an unknown log level': [{ logLevel: 'verbose' }, /\/logLevel.*'debug', 'info', 'warn', 'error'/s],
  'a precedence before the exempt ones': [
    { flowControl: { matchingPrecedence: 0 } },
    /\/flowControl\/matchingPrecedence.*minimum/s,
  ],
  'no workers': [{ workers: 0 }, /\/workers.*minimum/s],
  'an invalid tag': [{ image: { tag: 'a b' } }, /\/image\/tag/],
  'a repository with a digest': [{ image: { repository: 'a@sha256:00' } }, /\/image\/repository/],
  'a short digest': [{ image: { digest: 'sha256:1234' } }, /\/image\/digest/],
  'an unknown pull policy': [{ image: { pullPolicy: 'Sometimes' } }, /\/image\/pullPolicy.*IfNotPresent/s],
  'metrics on the port of the probes': [{ metrics: { port: 8081 } }, /\/metrics\/port/],
  'a port out of range': [{ metrics: { port: 70_000 } }, /\/metrics\/port.*65,?535/s],
  'a number as a label': [{ podLabels: { version: 1 } }, /\/podLabels\/version.*want string/s],
  'memory that is not a quantity': [{ resources: { limits: { memory: '1 GB' } } }, /\/resources\/limits\/memory/],
  'an address that is not a CIDR': [
    { networkPolicy: { apiServerCidrs: ['10.0.0.1'] } },
    /\/networkPolicy\/apiServerCidrs/,
  ],
  'a service account that cannot exist': [{ serviceAccount: { name: 'a: b' } }, /\/serviceAccount\/name/],
  'a Secret that cannot exist': [{ imagePullSecrets: [{ name: 'a #b' }] }, /\/imagePullSecrets\/0\/name/],
  'a name that no object can have': [{ fullnameOverride: 'My_Release' }, /\/fullnameOverride/],
  'a token file that is no path': [
    { metrics: { serviceMonitor: { bearerTokenFile: 'token' } } },
    /\/metrics\/serviceMonitor\/bearerTokenFile/,
  ],
  'a scheme that dcred does not know': [
    { metrics: { serviceMonitor: { authorization: { type: 'Basic', credentials: { name: 'a', key: 'b' } } } } },
    /\/metrics\/serviceMonitor\/authorization\/type/,
  ],
  'an authorization without a token': [
    { metrics: { serviceMonitor: { authorization: { type: 'Bearer' } } } },
    /\/metrics\/serviceMonitor\/authorization.*credentials/s,
  ],
  'an unknown failure policy': [{ webhook: { failurePolicy: 'Retry' } }, /\/webhook\/failurePolicy.*'Ignore', 'Fail'/s],
  'a webhook timeout of a minute': [{ webhook: { timeoutSeconds: 60 } }, /\/webhook\/timeoutSeconds.*maximum.*30/s],
  'an environment variable without a name': [{ extraEnv: [{ value: 'x' }] }, /\/extraEnv\/0.*name/s],
};

describe('values.schema.json refuses', () => {
  for (const [what, [values, message]] of Object.entries(REFUSED)) {
    test(what, async () => {
      await assert.rejects(renderText(values), { message });
    });
  }
});

test('a ServiceMonitor without metrics is refused, with the value to set', async () => {
  const values = { metrics: { port: 0, serviceMonitor: { enabled: true } } };
  await assert.rejects(renderText(values), { message: /metrics\.serviceMonitor\.enabled needs metrics\.port/ });
});

/** Helm removes a value that is set to null: a section, a number or a switch would be missing. Text may be empty, and lists and maps too. */
test('every section, and every value that cannot be empty, is there', async () => {
  const [values, schema] = await Promise.all(
    ['values.yaml', 'values.schema.json'].map(async (name) => load(await readFile(join(CHART, name), 'utf8'))),
  );
  const missing: string[] = [];
  const walk = (section: unknown, rule: Rule | undefined, path: string): void => {
    for (const [name, inner] of Object.entries(section as Values)) {
      const itsRule = rule?.properties?.[name];
      const isSection = typeof inner === 'object' && itsRule?.properties !== undefined;
      const mayBeNone = !isSection && (inner === '' || typeof inner === 'object');
      if (!mayBeNone && !rule?.required?.includes(name)) missing.push(`${path}${name}`);
      if (isSection) walk(inner, itsRule, `${path}${name}.`);
    }
  };
  walk(values, schema as Rule, '');
  assert.deepEqual(missing, []);
  await assert.rejects(renderText({ reissue: null }), { message: /missing property 'reissue'/ });
  // Where there is no port, NetworkPolicies allow every port.
  const networkPolicy = { restrictEgress: true, apiServerPorts: null };
  await assert.rejects(renderText({ networkPolicy }), { message: /missing property 'apiServerPorts'/ });
});

test('every list, map and text that is empty by default may be null, which is none', async () => {
  const values = load(await readFile(join(CHART, 'values.yaml'), 'utf8')) as Values;
  const isEmpty = (value: unknown) =>
    value === '' || (typeof value === 'object' && Object.keys(value as object).length === 0);
  const emptied = (section: Values): Values =>
    Object.fromEntries(
      Object.entries(section).flatMap(([name, value]): readonly (readonly [string, unknown])[] => {
        if (isEmpty(value)) return [[name, null]];
        return typeof value === 'object' && !Array.isArray(value) ? [[name, emptied(value as Values)]] : [];
      }),
    );
  const none = emptied(values) as Readonly<Record<string, Values>>;
  const metrics = none['metrics'] as Readonly<Record<string, Values>>;
  const monitors = ['serviceMonitor', 'podMonitor', 'prometheusRule', 'dashboards'].map((name) => [
    name,
    { ...metrics[name], enabled: true },
  ]);
  const text = await renderText({
    ...none,
    ...{ namespaces: ['edge'], podSecurityContext: null, securityContext: null },
    leaderElection: { enabled: false },
    metrics: Object.fromEntries(monitors),
    webhook: { ...none['webhook'], resources: null },
    audit: { ...none['audit'], enabled: true, resources: null },
    issuer: {
      ...none['issuer'],
      ...{ enabled: true, resources: null, authorities: [{ namespace: 'vault', names: ['web-ca'] }] },
    },
    signer: { ...none['signer'], ...SIGNER, resources: null },
  });
  assert.doesNotMatch(text, /<nil>|<no value>/);
});

for (const component of ['webhook', 'signer'] as const) {
  test(`metrics on the port of the ${component} are refused, where there is one`, async () => {
    const signer = { ...SIGNER, enabled: component === 'signer', port: 9000 };
    const values = { namespaces: ['edge'], metrics: { port: 9000 }, webhook: { enabled: false, port: 9000 }, signer };
    await assert.rejects(renderText({ ...values, [component]: { ...values[component], enabled: true } }), {
      message: new RegExp(`${component}\\.port: 9000 is the port of metrics \\(metrics\\.port\\) too`),
    });
    assert.ok(await renderText({ ...values, [component]: { ...values[component], enabled: false } }));
  });
}

test('memory in a unit that containers do not use is refused', async () => {
  await assert.rejects(renderText({ resources: { limits: { memory: '100m' } } }), {
    message: /resources\.limits\.memory: expected a quantity such as 256Mi/,
  });
});
