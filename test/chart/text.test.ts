/** Every text that the schema admits reaches the objects as it was given, whatever YAML, Go templates or Helm's numbers make of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load, loadAll } from 'js-yaml';
import { CHART, deploymentOf, helm, type Manifest, pick, render, renderText, type Values } from './chart.ts';

/** Every value that is text and can be anything, or any name. */
function valuesOf(text: () => string, name: () => string): Values {
  let maps = 0;
  // Each with a key of its own: of two labels with one key, one is lost.
  const texts = () => {
    maps += 1;
    return { [`note-${maps}`]: text() };
  };
  const env = () => [{ name: 'MINE', value: text() }];
  const served = { enabled: true, serviceAccountName: name(), extraArgs: [text()] };
  return {
    namespaces: [name(), name()],
    nameOverride: name(),
    fullnameOverride: name(),
    priorityClassName: name(),
    imagePullSecrets: [{ name: name() }],
    image: { repository: name(), tag: name() },
    serviceAccount: { name: name(), annotations: texts() },
    ...{ podAnnotations: texts(), podLabels: texts(), nodeSelector: texts(), commonLabels: texts() },
    tolerations: [{ key: name(), value: text() }],
    affinity: texts(),
    extraArgs: [text()],
    extraEnv: env(),
    webhook: {
      serviceAccountName: name(),
      agent: { imagePullSecrets: [{ name: name() }] },
      extraArgs: [text()],
    },
    metrics: {
      auth: true,
      serviceMonitor: {
        enabled: true,
        labels: texts(),
        authorization: { credentials: { name: name(), key: name() } },
      },
      podMonitor: { enabled: true, labels: texts() },
      prometheusRule: { enabled: true, labels: texts(), runbookUrl: text(), extraRules: [{ expr: text() }] },
      dashboards: { enabled: true, labels: texts(), annotations: texts() },
    },
    networkPolicy: { restrictEgress: true, apiServerCidrs: ['::/0', '10.0.0.1/32'] },
    flowControl: { enabled: true },
    audit: { ...served, serviceAccountName: name() },
    issuer: {
      ...served,
      serviceAccountName: name(),
      serviceAccountAnnotations: texts(),
      authorities: [{ namespace: name(), names: [name()] }],
      approverRole: { namespace: name(), serviceAccountName: name() },
      extraEnv: env(),
    },
    signer: {
      ...served,
      cluster: name(),
      clients: [
        { name: text(), cluster: text(), tlsName: text() },
        { name: text(), cluster: text(), serviceAccount: text(), issuer: text() },
      ],
      issuers: [{ url: text(), jwks: text() }],
      tls: { secretName: name(), clientCA: text() },
      pkcs11: { pinSecret: name() },
      vault: {
        address: 'https://vault.example',
        ...{ role: name(), audience: text(), authPath: text(), transitPath: text(), namespace: text(), ca: text() },
      },
      extraEnv: env(),
      serviceAccountAnnotations: texts(),
      certificates: [{ namespace: name(), names: [name()], keys: { [name()]: "pkcs11:object=a'b?module-path=/a:b" } }],
    },
  };
}

async function rendered(values: Values, release: string, namespace: string): Promise<readonly unknown[]> {
  const args = ['template', release, CHART, '--namespace', namespace, '--values', '-'];
  const objects = loadAll((await helm(args, JSON.stringify(values))).stdout) as readonly (Manifest | null)[];
  // What the signer reads is YAML within YAML.
  const parsed = (key: string, value: string) => (key === 'signer.yaml' ? load(value) : value);
  const entries = (data: object) => Object.entries(data).map(([key, value]) => [key, parsed(key, value)]);
  return objects.flatMap((object) => {
    if (object === null) return [];
    return object.kind === 'ConfigMap' ? [{ ...object, data: Object.fromEntries(entries(object['data'])) }] : [object];
  });
}

/** Every value in these objects that contains no other, and every key. */
function leaves(value: unknown): readonly unknown[] {
  if (typeof value !== 'object' || value === null) return [value];
  return Object.entries(value).flatMap(([key, inner]) => [key, ...leaves(inner)]);
}

function counter(make: (index: number) => string): { readonly next: () => string; readonly given: string[] } {
  const given: string[] = [];
  const next = () => {
    const one = make(given.length);
    given.push(one);
    return one;
  };
  return { next, given };
}

const plainName = () => counter((index) => `name-${index}`).next;

test('text with all that means something in YAML comes out as it went in', async () => {
  const awkward = 'a: b #c "d" \'e\' \\f {{g}} %h &i *j !k\n  l\n\n- m: n\t\u00e9\u2028\u{1f511} ';
  const { given, next } = counter((index) => `<${index}> ${awkward}<${index}/>`);
  const found = leaves(await rendered(valuesOf(next, plainName()), 'release', 'system'));
  const strings = found.filter((leaf) => typeof leaf === 'string');
  for (const [index, text] of given.entries()) {
    const occurrences = strings.filter((string) => string.includes(`<${index}>`));
    assert.ok(occurrences.length > 0, `${index} was lost`);
    for (const occurrence of occurrences) assert.ok(occurrence.includes(text), JSON.stringify(occurrence));
  }
});

for (const [what, make] of Object.entries({
  'digits only, as of a namespace for each commit': (index: number) => String(40_001 + index),
  'numbers with an exponent': (index: number) => `4${index}e1`,
  'hexadecimal numbers': (index: number) => `0x4${index}`,
})) {
  test(`names that are ${what} stay text`, async () => {
    const of = async (name: () => string) =>
      leaves(
        await rendered(
          valuesOf(() => 'text', name),
          name(),
          name(),
        ),
      ).map((leaf) => typeof leaf);
    assert.deepEqual(await of(counter(make).next), await of(plainName()));
  });
}

for (const word of ['null', 'true', '~', 'on']) {
  const isName = word !== '~';
  test(`"${word}" stays text wherever it is given`, async () => {
    const name = isName ? word : 'a';
    const objects = await render({
      namespaces: [name],
      ...{ priorityClassName: name, nodeSelector: { a: word }, extraArgs: [word], fullnameOverride: name },
      extraEnv: [{ name: 'MINE', value: word }],
      webhook: { agent: { imagePullSecrets: [{ name }] } },
      serviceAccount: { name },
    });
    const { args, env } = deploymentOf(objects, 'operator')['spec'].template.spec.containers[0];
    assert.ok(args.includes(word) && args.includes(`--namespace=${name}`), args.join(' '));
    assert.ok(env.some(({ value }: { readonly value?: unknown }) => value === word));
    assert.ok(pick(objects, 'Role', `${name}-operator`));
    assert.ok(pick(objects, 'ServiceAccount', name));
  });
}

test('no number has an exponent, which integers of the API server may not have', async () => {
  const large = 1_000_000_000;
  const text = await renderText({
    ...valuesOf(() => 'text', plainName()),
    ...{ terminationGracePeriodSeconds: large, podSecurityContext: { runAsUser: large, runAsGroup: large } },
    resources: { limits: { memory: large } },
    reissue: { maxPerSecond: 100_000 },
    signer: { ...(valuesOf(() => 'text', plainName())['signer'] as Values), ratePerSecond: 1_000_000 },
  });
  assert.doesNotMatch(text, /[ =][0-9.]+e[+-][0-9]+$/m);
});

test('names of every length and with dots are names that the API server takes', async () => {
  const long = 'x'.repeat(63);
  for (const [release, nameOverride] of [
    ['a.b', ''],
    [`${'r'.repeat(50)}.r`, ''],
    [`${'r'.repeat(45)}--r`, ''],
    ['r', ''],
    ['r', 'Dcred_Edge.prod'],
    ['1edge', ''],
    ['4dcred', ''],
    ['r', `${'n'.repeat(49)}.n`],
  ] as const) {
    for (const fullnameOverride of ['', `${'y'.repeat(45)}---z`, `${'8'.repeat(40)}---z`, long]) {
      const given = { ...valuesOf(() => 'text', plainName()), fullnameOverride, nameOverride };
      for (const object of await rendered(given, release, long)) {
        const { kind, metadata } = object as Manifest;
        if (metadata === undefined) continue;
        const isDnsName = !/^(Cluster)?Role(Binding)?$/.test(kind);
        const [pattern, most] = kind === 'Service' ? [/^[a-z]([-a-z0-9]*[a-z0-9])?$/, 63] : [DNS_NAME, 253];
        assert.ok(!isDnsName || pattern.test(metadata.name), `${kind} ${metadata.name}`);
        assert.ok(metadata.name.length <= most, `${kind} ${metadata.name}`);
        for (const label of Object.values(metadata.labels ?? {})) {
          assert.match(label, /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/);
          assert.ok(label.length <= 63, label);
        }
      }
    }
  }
});

const DNS_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

test('nothing runs: no replica of any component', async () => {
  const values = valuesOf(() => 'text', plainName());
  const none = (name: string) => ({ [name]: { ...(values[name] as Values), replicas: 0 } });
  const objects = await render({ ...values, replicas: 0, ...none('webhook'), ...none('issuer'), ...none('signer') });
  const replicas = objects.filter(({ kind }) => kind === 'Deployment').map(({ spec }) => spec.replicas);
  assert.deepEqual(
    replicas.toSorted((one, other) => one - other),
    [0, 0, 0, 0, 1],
  );
});
