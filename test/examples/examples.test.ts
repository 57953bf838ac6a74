/** Every example, applied to a real API server with webhook and operator running. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { parseReload } from '../../src/api/reload-spec.ts';
import { CREDENTIAL_FILE_NAMES } from '../../src/credential/files.ts';
import type { KubernetesObject } from '../../src/kubernetes/objects.ts';
import { PODS } from '../../src/kubernetes/resource-type.ts';
import type { Cluster, Secret } from '../../testing/cluster/cluster.ts';
import { createTestAuthority, type TestAuthority } from '../../testing/support/certificates.ts';
import { type InjectionScenario, startInjectionScenario } from '../admission/scenario.ts';
import type { Manifest } from '../chart/chart.ts';
import { createRestrictedNamespaces } from '../chart/cluster.ts';
import { assertServes } from '../cluster/verification.ts';
import { type Example, examples, manifests, read } from './examples.ts';

interface Container {
  readonly name: string;
  readonly restartPolicy?: string;
  readonly args?: readonly string[];
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
}
type Pod = KubernetesObject<{
  readonly spec: { readonly containers: readonly Container[]; readonly initContainers?: readonly Container[] };
}>;

const LABEL = 'dcred.dev/inject';
const RELOAD = 'dcred.dev/reload';

const all = await examples();
let scenario: InjectionScenario;
let cluster: Cluster;
let authority: TestAuthority;

before(async () => {
  authority = await createTestAuthority();
  scenario = await startInjectionScenario();
  ({ cluster } = scenario);
});
after(() => scenario?.[Symbol.asyncDispose]());

/** As strict as kubectl can be: unknown fields and warnings, including PodSecurity's, are errors. */
async function apply(namespace: string, input: string, ...more: readonly string[]): Promise<void> {
  const strict = ['--server-side', '--validate=strict', '--warnings-as-errors'];
  await cluster.plane.kubectl(['apply', ...strict, ...more, '-n', namespace, '-f', '-'], { input });
}

function resourcesOf(objects: readonly Manifest[]): readonly Manifest[] {
  return objects.filter(({ kind }) => kind === 'DelegatedCredential');
}

interface Workload {
  readonly name: string;
  readonly replicas: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

function workloadsOf(objects: readonly Manifest[]): readonly Workload[] {
  return objects
    .filter(({ kind }) => kind === 'Deployment')
    .map(({ metadata, spec }) => ({
      name: metadata.name,
      replicas: spec.replicas as number,
      labels: spec.template.metadata.labels ?? {},
      annotations: spec.template.metadata.annotations ?? {},
    }));
}

function requestedBy({ annotations, labels }: Workload): readonly string[] {
  return [labels[LABEL], ...(annotations[LABEL] ?? '').split(',')].filter(
    (name) => name !== undefined && name !== '',
  ) as string[];
}

/** A namespace that enforces `restricted`, with the certificates that the example's resources name. */
async function namespaceFor(objects: readonly Manifest[], name: string): Promise<string> {
  await createRestrictedNamespaces(cluster.plane, [name]);
  for (const { spec } of resourcesOf(objects)) {
    await cluster.putCertificate(name, spec.certificateRef.name, await authority.issue());
  }
  return name;
}

async function podsOf(namespace: string): Promise<readonly Pod[]> {
  return (await cluster.client.list<Pod>(PODS, { namespace }, { signal: cluster.signal })).items;
}

function assertInjected(pod: Pod, resources: readonly string[]): void {
  for (const container of pod.spec.containers) {
    const mounts = (container.volumeMounts ?? []).filter(({ name }) => name.startsWith('dcred-'));
    assert.deepEqual(
      mounts,
      resources.map((name) => ({
        name: `dcred-${name}`,
        mountPath: `/var/run/secrets/dcred.dev/${name}`,
        readOnly: true,
      })),
    );
  }
}

function assertAgent(pod: Pod, reload: string | undefined): void {
  const agent = pod.spec.initContainers?.find(({ name }) => name === 'dcred-agent');
  if (reload === undefined) {
    assert.equal(agent, undefined, 'no agent was requested');
    return;
  }
  assert.equal(agent?.restartPolicy, 'Always');
  assert.ok(agent.args?.includes(`--reload=${reload}`), `reloads with ${reload}`);
}

async function assertWorks(example: Example, position: number): Promise<void> {
  const text = await example.render();
  const objects = await manifests(text);
  const namespace = await namespaceFor(objects, `example-${position}`);
  await apply(namespace, text, '--dry-run=server');
  await apply(namespace, text);
  const workloads = workloadsOf(objects).filter((one) => requestedBy(one).length > 0);
  const expected = workloads.reduce((sum, one) => sum + one.replicas * requestedBy(one).length, 0);
  const secrets = await cluster.untilSecrets(namespace, expected);
  const keys = new Set(secrets.map((secret: Secret) => assertServes(secret).publicKey));
  assert.equal(keys.size, expected, 'no two pods share a key');
  for (const { metadata } of resourcesOf(objects))
    await cluster.untilReason(namespace, metadata.name, expected === 0 ? 'NoPods' : 'Issued');
  const pods = await podsOf(namespace);
  for (const workload of workloads) {
    const own = pods.filter(({ metadata }) => metadata.name?.startsWith(`${workload.name}-`));
    assert.equal(own.length, workload.replicas, 'PodSecurity admitted all of them');
    for (const pod of own) {
      assertInjected(pod, requestedBy(workload));
      assertAgent(pod, workload.annotations[RELOAD]);
    }
  }
}

describe('on a real API server', { concurrency: 4 }, () => {
  for (const [position, example] of all.entries()) {
    test(`${example.name}: accepted without a warning, and every pod that requests a credential has one`, () =>
      assertWorks(example, position));
  }
});

describe('the checks above detect', () => {
  const strip = (text: string) => text.replace('allowPrivilegeEscalation: false', 'allowPrivilegeEscalation: true');
  const misspell = (text: string) => text.replace('certificateRef:', 'certificateReference:');

  test('a pod that violates restricted', async () => {
    await createRestrictedNamespaces(cluster.plane, ['less']);
    const applied = apply('less', strip(await read('examples/web.yaml')), '--dry-run=server');
    await assert.rejects(applied, {
      message: /would violate PodSecurity "restricted:latest": allowPrivilegeEscalation/,
    });
  });

  test('an unknown field in the resource', async () => {
    await createRestrictedNamespaces(cluster.plane, ['misspelt']);
    const applied = apply('misspelt', misspell(await read('examples/web.yaml')), '--dry-run=server');
    await assert.rejects(applied, { message: /certificateReference/ });
  });
});

describe('each example', () => {
  for (const { name, render } of all) {
    test(`${name}: contains the resources that its pods request`, async () => {
      const objects = await manifests(await render());
      const offered = resourcesOf(objects).map(({ metadata }) => metadata.name);
      const requested = workloadsOf(objects).flatMap(requestedBy);
      assert.deepEqual([...new Set(requested)].sort(), [...offered].sort());
      for (const { spec } of resourcesOf(objects)) assert.equal(spec.podSelector, undefined, 'the label selects');
    });

    test(`${name}: its reload annotations are valid`, async () => {
      const told = workloadsOf(await manifests(await render())).flatMap(({ annotations }) => annotations[RELOAD] ?? []);
      for (const reload of told) assert.doesNotThrow(() => parseReload(reload));
    });
  }

  test('every file that is not applied on its own is part of one that is', async () => {
    const names = all.map(({ name }) => name);
    for (const name of [
      'examples/web.yaml',
      'examples/nginx-tongsuo',
      'examples/tengine',
      'examples/boringssl/server.yaml',
    ]) {
      assert.ok(names.includes(name), name);
    }
    const [component] = await manifests(await read('examples/kustomize/delegated-credential/kustomization.yaml'));
    assert.equal(component?.kind, 'Component');
  });
});

describe('the ingress controller', () => {
  test('differs from what its vendor ships by one label', async () => {
    const [shipped] = workloadsOf(
      await manifests(await read('examples/ingress-controller/controller/deployment.yaml')),
    );
    const overlay = all.find(({ name }) => name === 'examples/ingress-controller');
    const [patched] = workloadsOf(await manifests((await overlay?.render()) ?? ''));
    assert.deepEqual(patched, { ...shipped, labels: { ...shipped?.labels, [LABEL]: 'edge' } });
  });
});

describe('the Kustomize component', () => {
  test('labels what terminates TLS, and does not change the worker', async () => {
    const overlay = all.find(({ name }) => name === 'examples/kustomize');
    const workloads = workloadsOf(await manifests((await overlay?.render()) ?? ''));
    assert.deepEqual(
      workloads.map((one) => [one.name, requestedBy(one)]),
      [
        ['shop', ['shop']],
        ['worker', []],
      ],
    );
  });
});

describe('paths', () => {
  for (const { name, render } of all) {
    test(`${name}: every path below the mount is a key of an issued Secret`, async () => {
      const objects = await manifests(await render());
      const asked = new Set(workloadsOf(objects).flatMap(requestedBy));
      const text = JSON.stringify(objects);
      for (const [path, resource = '', file] of text.matchAll(
        /\/var\/run\/secrets\/dcred\.dev\/([\w-]+)(?:\/([\w.]+))?/g,
      )) {
        assert.ok(asked.has(resource), `${path}: ${resource} is not injected`);
        if (file !== undefined)
          assert.ok((CREDENTIAL_FILE_NAMES as readonly string[]).includes(file), `${path}: no such key`);
      }
    });
  }
});
