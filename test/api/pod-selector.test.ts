import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { PodSelector } from '../../src/api/delegated-credential.ts';
import { readInjectRequest } from '../../src/api/injection.ts';
import { INJECT_KEY } from '../../src/api/keys.ts';
import { selects } from '../../src/api/pod-selector.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { PODS } from '../../src/kubernetes/resource-type.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { createPod, operatorsClient } from '../operator/cluster.ts';

type Labels = Readonly<Record<string, string>>;
type Requirement = NonNullable<PodSelector['matchExpressions']>[number];

const pod = (labels: Labels, annotations: Labels = {}) => ({
  labels,
  injected: readInjectRequest(labels, annotations).names,
});

describe('without a selector, a resource selects the pods that request it', () => {
  for (const [what, labels, annotations, expected] of [
    ['by the label', { [INJECT_KEY]: 'web' }, {}, true],
    ['not by another name', { [INJECT_KEY]: 'website' }, {}, false],
    ['not without the label', { app: 'web' }, {}, false],
    ['by the annotation beside the label', { [INJECT_KEY]: 'api' }, { [INJECT_KEY]: 'db, web' }, true],
    ['by the annotation beside an empty label', { [INJECT_KEY]: '' }, { [INJECT_KEY]: 'web' }, true],
    ['not by the annotation alone', {}, { [INJECT_KEY]: 'web' }, false],
    ['not by an empty name', { [INJECT_KEY]: '' }, { [INJECT_KEY]: ' , ' }, false],
  ] as const) {
    test(what, () => assert.equal(selects('web', undefined, pod(labels, annotations)), expected));
  }

  test('each resource once', () => {
    assert.deepEqual(readInjectRequest({ [INJECT_KEY]: 'web' }, { [INJECT_KEY]: 'web,web,api' }).names, ['web', 'api']);
  });
});

test('with a selector, the label requests nothing', () => {
  assert.equal(selects('web', { matchLabels: { app: 'x' } }, pod({ [INJECT_KEY]: 'web' })), false);
});

test('an empty selector selects every pod', () => {
  for (const selector of [{}, { matchLabels: {} }, { matchExpressions: [] }]) {
    assert.ok(selects('web', selector, pod({})));
    assert.ok(selects('web', selector, pod({ app: 'web' })));
  }
});

test('labels named like properties of every object are ordinary labels', () => {
  assert.equal(selects('web', { matchLabels: { constructor: 'x' } }, pod({})), false);
  assert.equal(selects('web', { matchExpressions: [{ key: 'toString', operator: 'Exists' }] }, pod({})), false);
  assert.ok(selects('web', { matchLabels: { constructor: 'x' } }, pod({ constructor: 'x' })));
});

const KEYS = ['app', 'tier', 'example.com/team'];
const VALUES = ['', 'web', 'api', 'web.v2'];
const PODS_MADE = 24;

/** As `kubectl get pods -l` accepts it (apimachinery: labels.Parse). */
function written({ matchExpressions = [], matchLabels = {} }: PodSelector): string {
  const equalities = Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`);
  return [...equalities, ...matchExpressions.map(writtenRequirement)].join(',');
}

function writtenRequirement({ key, operator, values = [] }: Requirement): string {
  switch (operator) {
    case 'In':
      return `${key} in (${values.join(',')})`;
    case 'NotIn':
      return `${key} notin (${values.join(',')})`;
    case 'Exists':
      return key;
    case 'DoesNotExist':
      return `!${key}`;
  }
}

describe('a selector means what it means to the API server', () => {
  const signal = new AbortController().signal;
  const made = new Map<string, Labels>();
  let plane: ControlPlane;
  let client: ApiClient;

  before(async () => {
    plane = await startControlPlane();
    client = await operatorsClient(plane);
    const some = fc.sample(anyLabels(), { numRuns: PODS_MADE - 1, seed: 9_345 });
    for (const [index, labels] of [{}, ...some].entries()) made.set(`pod-${index}`, labels);
    await Promise.all([...made].map(([name, labels]) => createPod(client, name, { labels })));
  });
  after(async () => {
    await client?.close();
    await plane?.stop();
  });

  async function selectedByServer(selector: PodSelector): Promise<readonly string[]> {
    const labelSelector = written(selector);
    const list = await client.list(PODS, { namespace: 'default', labelSelector, metadataOnly: true }, { signal });
    return list.items.map(({ metadata }) => metadata.name ?? '').sort();
  }

  function selectedByUs(selector: PodSelector): readonly string[] {
    return [...made]
      .filter(([, labels]) => selects('web', selector, pod(labels)))
      .map(([name]) => name)
      .sort();
  }

  test('for any selector and pods with any labels', async () => {
    let selectedSome = 0;
    const property = fc.asyncProperty(anySelector(), async (selector) => {
      const ours = selectedByUs(selector);
      assert.deepEqual(ours, await selectedByServer(selector), written(selector));
      if (ours.length > 0 && ours.length < made.size) selectedSome += 1;
    });
    await fc.assert(property, { numRuns: 150 });
    assert.ok(selectedSome > 30, `only ${selectedSome} selectors told pods apart`);
  });

  test('NotIn holds for a pod without the label, In does not', async () => {
    for (const operator of ['NotIn', 'In'] as const) {
      const selector: PodSelector = { matchExpressions: [{ key: 'absent', operator, values: ['x'] }] };
      assert.deepEqual(selectedByUs(selector), await selectedByServer(selector));
      assert.equal(selectedByUs(selector).length, operator === 'NotIn' ? made.size : 0);
    }
  });
});

function anyLabels(): fc.Arbitrary<Labels> {
  return fc.dictionary(fc.constantFrom(...KEYS), fc.constantFrom(...VALUES), { maxKeys: 3 });
}

function anySelector(): fc.Arbitrary<PodSelector> {
  const key = fc.constantFrom(...KEYS);
  const values = fc.uniqueArray(fc.constantFrom(...VALUES), { minLength: 1, maxLength: 3 });
  const requirement = fc.oneof(
    fc.record({ key, operator: fc.constantFrom('In' as const, 'NotIn' as const), values }),
    fc.record({ key, operator: fc.constantFrom('Exists' as const, 'DoesNotExist' as const) }),
  );
  return fc.record(
    {
      matchLabels: fc.dictionary(key, fc.constantFrom(...VALUES), { maxKeys: 2 }),
      matchExpressions: fc.array(requirement, { maxLength: 3 }),
    },
    { requiredKeys: [] },
  );
}
