/** Values for pods reach the pods of every component. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { load } from 'js-yaml';
import { documentedValues } from '../../scripts/chart-readme.ts';
import { CHART, deployments, EVERY_COMPONENT, type Manifest, render } from './chart.ts';

test("a spread constraint without a selector gets the Deployment's, and one with a selector keeps it", async () => {
  const constraint = { maxSkew: 2, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule' };
  const own = { ...constraint, labelSelector: { matchLabels: { app: 'mine' } } };
  const given = deployments(await render({ ...EVERY_COMPONENT, topologySpreadConstraints: [constraint, own] }));
  const byDefault = deployments(await render(EVERY_COMPONENT));
  const replicated = (all: readonly Manifest[]) => all.filter(({ spec }) => spec.replicas > 1);
  assert.deepEqual([replicated(given).length, replicated(byDefault).length], [4, 4]);
  for (const { metadata, spec } of replicated(given)) {
    const expected = [{ ...constraint, labelSelector: spec.selector }, own];
    assert.deepEqual(spec.template.spec.topologySpreadConstraints, expected, metadata.name);
  }
  for (const { metadata, spec } of replicated(byDefault)) {
    const [only] = spec.template.spec.topologySpreadConstraints;
    assert.deepEqual([only.topologyKey, only.labelSelector], ['kubernetes.io/hostname', spec.selector], metadata.name);
  }
});

/** A value for the pods, and where each Deployment has it. */
const FOR_PODS: Readonly<Record<string, readonly [unknown, (template: Manifest['spec']) => unknown]>> = {
  imagePullSecrets: [[{ name: 'pull' }], ({ spec }) => spec.imagePullSecrets],
  priorityClassName: ['high', ({ spec }) => spec.priorityClassName],
  nodeSelector: [{ disk: 'ssd' }, ({ spec }) => spec.nodeSelector],
  tolerations: [[{ key: 'dedicated', operator: 'Exists' }], ({ spec }) => spec.tolerations],
  affinity: [{ nodeAffinity: { mine: 1 } }, ({ spec }) => spec.affinity],
  // The values that the chart has by default stay beside it.
  podSecurityContext: [{ runAsUser: 7 }, ({ spec }) => ({ runAsUser: spec.securityContext.runAsUser })],
  securityContext: [
    { privileged: false },
    ({ spec }) => ({ privileged: spec.containers[0].securityContext.privileged }),
  ],
  podAnnotations: [{ note: 'yes' }, ({ metadata }) => ({ note: metadata.annotations.note })],
  podLabels: [{ team: 'edge' }, ({ metadata }) => ({ team: metadata.labels.team })],
  extraEnv: [
    [{ name: 'PROXY', value: 'a: b #c' }],
    ({ spec }) => spec.containers[0].env.filter(({ name }: { readonly name: string }) => name === 'PROXY'),
  ],
};

test('what the values say of the pods holds for the pods of every component', async () => {
  const source = await readFile(join(CHART, 'values.yaml'), 'utf8');
  const documented = documentedValues(source, load(source))
    .filter(({ key, description }) => !key.includes('.') && /\b(the|all) (pods|containers)\b/.test(description))
    .map(({ key }) => key);
  assert.deepEqual(new Set(documented), new Set(Object.keys(FOR_PODS)));
  const values = Object.fromEntries(Object.entries(FOR_PODS).map(([name, [value]]) => [name, value]));
  const all = deployments(await render({ ...EVERY_COMPONENT, ...values }));
  assert.equal(all.length, 5);
  for (const { metadata, spec } of all) {
    for (const [name, [value, read]] of Object.entries(FOR_PODS)) {
      assert.deepEqual(read(spec.template), value, `${name} of ${metadata.name}`);
    }
  }
});
