/**
 * The API server calls the webhook again where another admission plugin has changed the pod since (reinvocationPolicy IfNeeded).
 * Whatever that plugin has added, to the pod, to a container or to the agent, the second call keeps.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { AgentTemplate } from '../../../src/admission/injection/agent-container.ts';
import { inject } from '../../../src/admission/injection/inject.ts';
import type { AdmittedPod } from '../../../src/admission/injection/pod.ts';
import { readAdmittedPod } from '../../../src/admission/injection/read-pod.ts';
import { type AnyPod, anyPod } from '../any-pod.ts';
import { applyPatch } from '../apply-patch.ts';
import { countingBytes } from '../pods.ts';

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type Fields = Record<string, unknown>;

const AGENT: AgentTemplate = { image: 'localhost/dcred', pullPolicy: 'IfNotPresent', pullSecrets: ['registry'] };

function admitted({ annotations, spec }: AnyPod): AdmittedPod {
  const labels = { app: 'web', 'dcred.dev/inject': 'web' };
  return readAdmittedPod(JSON.parse(JSON.stringify({ metadata: { labels, annotations }, spec })));
}

function injected(pod: AdmittedPod, probes: 'http' | 'exec'): AdmittedPod {
  return applyPatch(pod, inject(pod, countingBytes(), { agent: { ...AGENT, probes }, gatePods: true }).patch);
}

/** What real plugins do: service meshes, secret injectors, LimitRanger, image policies, tolerations. */
const CHANGES: readonly ((pod: Fields, mark: string) => void)[] = [
  (pod, mark) => Object.assign(metadataOf(pod, 'annotations'), { [`example.com/${mark}`]: 'added' }),
  (pod, mark) => Object.assign(metadataOf(pod, 'labels'), { [`example.com/${mark}`]: 'added' }),
  (pod, mark) => listOf(specOf(pod), 'containers').push(sidecar(mark)),
  (pod, mark) => listOf(specOf(pod), 'containers').unshift(sidecar(mark)),
  (pod, mark) => listOf(specOf(pod), 'initContainers').push(sidecar(mark)),
  (pod, mark) => listOf(specOf(pod), 'initContainers').unshift({ ...sidecar(mark), restartPolicy: 'Always' }),
  (pod, mark) => listOf(specOf(pod), 'volumes').unshift({ name: mark, emptyDir: {} }),
  (pod, mark) => listOf(specOf(pod), 'volumes').push({ name: mark, secret: { secretName: mark } }),
  (pod, mark) => listOf(specOf(pod), 'tolerations').push({ key: mark, operator: 'Exists' }),
  (pod, mark) => listOf(specOf(pod), 'imagePullSecrets').unshift({ name: mark }),
  (pod, mark) => listOf(specOf(pod), 'schedulingGates').push({ name: `example.com/${mark}` }),
  (pod, mark) => Object.assign(objectOf(specOf(pod), 'nodeSelector'), { [mark]: 'added' }),
  (pod) => Object.assign(objectOf(specOf(pod), 'securityContext'), { runAsUser: 1234 }),
  (pod) => Object.assign(specOf(pod), { priorityClassName: 'high', serviceAccountName: 'other' }),
  (pod, mark) => eachContainer(pod, (one) => listOf(one, 'env').push({ name: mark, value: 'added' })),
  (pod, mark) => eachContainer(pod, (one) => listOf(one, 'volumeMounts').push({ name: mark, mountPath: `/${mark}` })),
  (pod, mark) =>
    eachContainer(pod, (one) => listOf(one, 'volumeMounts').unshift({ name: mark, mountPath: `/${mark}` })),
  (pod, mark) => eachContainer(pod, (one) => Object.assign(one, { image: `localhost/mirror/${mark}` })),
  (pod) => eachContainer(pod, (one) => Object.assign(one, { imagePullPolicy: 'Always', terminationMessagePath: '/m' })),
  (pod) =>
    eachContainer(pod, (one) => Object.assign(one, { resources: { limits: { cpu: '7m' }, requests: { cpu: '7m' } } })),
  (pod) => eachContainer(pod, (one) => Object.assign(objectOf(one, 'resources'), { requests: { memory: '77Mi' } })),
  (pod) =>
    eachContainer(pod, (one) => Object.assign(objectOf(one, 'securityContext'), { runAsGroup: 77, runAsUser: 77 })),
  (pod) => eachContainer(pod, (one) => Object.assign(objectOf(one, 'securityContext'), { procMount: 'Default' })),
  (pod) => eachContainer(pod, (one) => Object.assign(one, { lifecycle: { preStop: { sleep: { seconds: 1 } } } })),
  (pod) => Object.assign(metadataOf(pod, 'annotations'), { 'dcred.dev/inject': 'api,web' }),
  (pod) => Object.assign(metadataOf(pod, 'annotations'), { 'dcred.dev/reload': 'http:POST:http://127.0.0.1:1/other' }),
  (pod, mark) => eachAgent(pod, (one) => listOf(one, 'args').push(`--${mark}`)),
  (pod) => eachAgent(pod, (one) => Object.assign(one, { command: ['/wrap', 'node', '/app/dcred.mjs'] })),
  (pod) =>
    eachAgent(pod, (one) => Object.assign(one, { readinessProbe: { httpGet: { path: '/app-health', port: 15_020 } } })),
  (pod, mark) => eachAgent(pod, (one) => listOf(one, 'ports').push({ name: mark, containerPort: 15_020 })),
];

const plugins = fc.uniqueArray(fc.nat({ max: CHANGES.length - 1 }), { minLength: 1, maxLength: 6 });

function changed(pod: AdmittedPod, chosen: readonly number[]): AdmittedPod {
  const copy = structuredClone(pod) as unknown as Fields;
  for (const index of chosen) CHANGES[index]?.(copy, `plugin-${index}`);
  return copy as unknown as AdmittedPod;
}

describe('injected again after other plugins have changed the pod', () => {
  test('nothing of what they added is lost', () => {
    fc.assert(
      fc.property(anyPod, plugins, fc.constantFrom('http', 'exec'), (pod, chosen, probes) => {
        const between = changed(injected(admitted(pod), probes), chosen);
        const again = injected(between, probes);
        assert.deepEqual(lost(asJson(between), asJson(again), ''), []);
      }),
      { numRuns: 300 },
    );
  });

  test('a further call changes the names of the Secrets alone', () => {
    fc.assert(
      fc.property(anyPod, plugins, fc.constantFrom('http', 'exec'), (pod, chosen, probes) => {
        const again = injected(changed(injected(admitted(pod), probes), chosen), probes);
        assert.deepEqual(withoutNames(injected(again, probes)), withoutNames(again));
      }),
      { numRuns: 100 },
    );
  });

  test('a second call that drops something is caught', () => {
    const before = { spec: { containers: [{ name: 'a', env: [{ name: 'x', value: '1' }] }] } };
    assert.deepEqual(lost(before, { spec: { containers: [{ name: 'a', env: [] }] } }, ''), [
      '/spec/containers/a/env/x',
    ]);
    assert.deepEqual(lost(before, { spec: { containers: [{ name: 'a', env: [{ name: 'x', value: '2' }] }] } }, ''), [
      '/spec/containers/a/env/x/value: "1" became "2"',
    ]);
  });
});

/** Paths that are in one document and not in the other; names of Secrets may differ. */
function lost(before: Json, after: Json | undefined, path: string): readonly string[] {
  if (OWN.some((own) => own.test(path)) || isOwnMount(before, path)) return [];
  if (after === undefined) return [path];
  if (Array.isArray(before) && Array.isArray(after)) {
    const items = new Map(after.map((item: Json, index) => [keyOf(item, index), item]));
    const theirs = (list: readonly Json[]) =>
      list
        .filter((item, index) => !isOwnMount(item, `${path}/${keyOf(item, index)}`))
        .map(keyOf)
        .filter((key) => !OWN_ITEM.test(key));
    const expected = theirs(before);
    const order = theirs(after).filter((key) => expected.includes(key));
    const missing = before.flatMap((item: Json, index) =>
      lost(item, items.get(keyOf(item, index)), `${path}/${keyOf(item, index)}`),
    );
    if (missing.length === 0 && order.join() !== expected.join())
      return [`${path}: order ${expected.join()} became ${order.join()}`];
    return missing;
  }
  if (isFields(before) && isFields(after)) {
    return Object.entries(before).flatMap(([key, value]) =>
      lost(value, after[key], `${path}/${key.replaceAll('/', '~1')}`),
    );
  }
  return before === after ? [] : [`${path}: ${JSON.stringify(before)} became ${JSON.stringify(after)}`];
}

/**
 * What a call may replace: our own gates and mounts, the names of our own Secrets, and those of the agent's arguments that follow from
 * the pod's annotations. A call that finds no room for the names says so instead.
 */
const OWN = [
  /^\/metadata\/annotations\/(secret\.dcred\.dev~1|dcred\.dev~1not-injected)/,
  /^\/spec\/volumes\/dcred-[^/]+\/secret\/secretName$/,
  /^\/spec\/initContainers\/dcred-agent\/args\/--(dir|reload)=/,
  /^\/spec\/schedulingGates\/gate\.dcred\.dev\//,
  /\/volumeMounts\/\/var\/run\/secrets\/dcred\.dev\//,
];

/** A mount of a Secret volume that has the name of an injected one counts as injected, wherever its author mounts it. */
function isOwnMount(item: Json, path: string): boolean {
  return path.includes('/volumeMounts/') && isFields(item) && textOf(item['name']).startsWith('dcred-');
}

/** Injected volumes, mounts and gates, which may move among the others. */
const OWN_ITEM = /^(dcred-|\/var\/run\/secrets\/dcred\.dev|gate\.dcred\.dev|--)/;

/** Items of Kubernetes' lists have a name; mounts and devices a path, arguments themselves. */
function keyOf(item: Json, index: number): string {
  if (typeof item === 'string') return item;
  if (!isFields(item)) return String(index);
  return textOf(item['mountPath'] ?? item['devicePath'] ?? item['name'] ?? item['key'] ?? index);
}

function withoutNames(pod: AdmittedPod): unknown {
  return JSON.parse(JSON.stringify(pod).replaceAll(/"(secretName|secret\.dcred\.dev\/[^"]+)":"[^"]+"/g, '"$1":"*"'));
}

const textOf = (value: Json | undefined) => (typeof value === 'string' ? value : JSON.stringify(value ?? null));
const asJson = (value: unknown) => JSON.parse(JSON.stringify(value)) as Json;
const isFields = (value: Json | undefined): value is { readonly [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const specOf = (pod: Fields) => pod['spec'] as Fields;
const metadataOf = (pod: Fields, part: string) => objectOf(pod['metadata'] as Fields, part);
const sidecar = (mark: string): Fields => ({
  name: mark,
  image: 'localhost/none',
  volumeMounts: [{ name: mark, mountPath: '/x' }],
});

function objectOf(parent: Fields, key: string): Fields {
  parent[key] ??= {};
  return parent[key] as Fields;
}

function listOf(parent: Fields, key: string): unknown[] {
  parent[key] ??= [];
  return parent[key] as unknown[];
}

function eachContainer(pod: Fields, change: (container: Fields) => void): void {
  for (const key of ['containers', 'initContainers']) {
    for (const one of (specOf(pod)[key] ?? []) as Fields[]) change(one);
  }
}

function eachAgent(pod: Fields, change: (container: Fields) => void): void {
  eachContainer(pod, (one) => {
    if (one['name'] === 'dcred-agent' && (one['args'] as string[] | undefined)?.[0] === 'agent') change(one);
  });
}
