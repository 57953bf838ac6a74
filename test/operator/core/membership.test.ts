import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { PodSelector } from '../../../src/api/delegated-credential.ts';
import { selects } from '../../../src/api/pod-selector.ts';
import { Membership } from '../../../src/operator/core/membership.ts';
import type { Pod } from '../../../src/operator/core/pod.ts';
import { podOf } from '../../../testing/support/builders.ts';

const APP_WEB: PodSelector = { matchLabels: { app: 'web' } };
const web = (name: string) => podOf({ name, labels: { app: 'web' } });

describe('membership', () => {
  test('holds the pods that were there before the resource', () => {
    const membership = new Membership();
    membership.setResource('edge', 'web', APP_WEB, [web('a'), podOf({ name: 'b', labels: {} }), web('c')]);
    assert.deepEqual([...membership.podsOf('edge', 'web')], ['a', 'c']);
  });

  test('returns the resources that select a new pod', () => {
    const membership = new Membership();
    membership.setResource('edge', 'web', APP_WEB, []);
    membership.setResource('edge', 'all', {}, []);
    membership.setResource('edge', 'db', { matchLabels: { app: 'db' } }, []);
    assert.deepEqual(membership.setPod(web('a')), ['web', 'all']);
    const selecting = ['web', 'all', 'db'].filter((name) => membership.podsOf('edge', name).has('a'));
    assert.deepEqual(selecting, ['web', 'all']);
  });

  test('returns the resources that no longer select a pod', () => {
    const membership = new Membership();
    membership.setResource('edge', 'web', APP_WEB, [web('a')]);
    assert.deepEqual(membership.setPod(podOf({ name: 'a', labels: {} })), ['web']);
    assert.deepEqual(membership.setPod(podOf({ name: 'a', labels: {} })), []);
  });

  test('returns the resources of a deleted pod', () => {
    const membership = new Membership();
    membership.setResource('edge', 'web', APP_WEB, [web('a')]);
    assert.deepEqual(membership.removePod(web('a')), ['web']);
    assert.deepEqual(membership.removePod(web('a')), []);
    assert.equal(membership.podsOf('edge', 'web').size, 0);
  });

  test('is separate by namespace', () => {
    const membership = new Membership();
    membership.setResource('edge', 'web', APP_WEB, []);
    assert.deepEqual(membership.setPod({ ...web('a'), namespace: 'shop' }), []);
    assert.equal(membership.podsOf('shop', 'web').size, 0);
  });

  test('forgets a resource', () => {
    const membership = new Membership();
    membership.setResource('edge', 'web', APP_WEB, [web('a')]);
    membership.removeResource('edge', 'web');
    membership.removeResource('edge', 'web');
    assert.deepEqual(membership.setPod(web('a')), []);
  });
});

test("a pod's change costs what the pod's own labels cost, however many resources there are", () => {
  const membership = new Membership();
  for (let index = 0; index < 5_000; index += 1) {
    const selector = index % 2 === 0 ? undefined : { matchLabels: { app: `app-${index}` } };
    membership.setResource('edge', `r${index}`, selector, []);
  }
  let reads = 0;
  const labels = new Proxy<Record<string, string>>(
    { app: 'app-7', tier: 'front' },
    {
      get: (target, key) => {
        reads += 1;
        return Reflect.get(target, key);
      },
    },
  );
  assert.deepEqual(membership.setPod({ ...podOf({ name: 'a' }), labels, injected: ['r8', 'none'] }), ['r8', 'r7']);
  assert.ok(reads < 20, `${reads} reads of its labels`);
});

/** The truth, without any cleverness: all pods, all resources. */
class Model {
  readonly pods = new Map<string, Pod>();
  readonly selectors = new Map<string, PodSelector | undefined>();

  podsOf(resource: string): readonly string[] {
    if (!this.selectors.has(resource)) return [];
    const selector = this.selectors.get(resource);
    return [...this.pods.values()].filter((pod) => selects(resource, selector, pod)).map(({ name }) => name);
  }

  resourcesOf(pod: string): readonly string[] {
    return [...this.selectors.keys()].filter((resource) => this.podsOf(resource).includes(pod));
  }
}

type Action =
  | { readonly kind: 'pod'; readonly name: string; readonly labels: Readonly<Record<string, string>> }
  | { readonly kind: 'pod gone'; readonly name: string }
  | { readonly kind: 'resource'; readonly name: string; readonly selector: PodSelector | undefined }
  | { readonly kind: 'resource gone'; readonly name: string };

test('after any sequence of changes, membership equals a full computation', () => {
  fc.assert(
    fc.property(fc.array(anyAction(), { maxLength: 40 }), (actions) => {
      const membership = new Membership();
      const model = new Model();
      for (const action of actions) carryOut(action, membership, model);
      for (const resource of RESOURCES) {
        assert.deepEqual([...membership.podsOf('edge', resource)].sort(), [...model.podsOf(resource)].sort());
      }
    }),
    { numRuns: 500 },
  );
});

/** Each change must name those that selected the pod before it, and those that do after it. */
function carryOut(action: Action, membership: Membership, model: Model): void {
  switch (action.kind) {
    case 'pod': {
      const pod = podOf({ name: action.name, labels: action.labels });
      const before = model.resourcesOf(pod.name);
      model.pods.set(pod.name, pod);
      const concerned = new Set([...before, ...model.resourcesOf(pod.name)]);
      assert.deepEqual([...membership.setPod(pod)].sort(), [...concerned].sort());
      return;
    }
    case 'pod gone': {
      const before = model.resourcesOf(action.name);
      model.pods.delete(action.name);
      assert.deepEqual([...membership.removePod({ namespace: 'edge', name: action.name })].sort(), [...before].sort());
      return;
    }
    case 'resource':
      model.selectors.set(action.name, action.selector);
      membership.setResource('edge', action.name, action.selector, model.pods.values());
      return;
    case 'resource gone':
      model.selectors.delete(action.name);
      membership.removeResource('edge', action.name);
  }
}

const RESOURCES = ['web', 'api'] as const;

function anyAction(): fc.Arbitrary<Action> {
  const pod = fc.constantFrom('p1', 'p2', 'p3');
  const name = fc.constantFrom(...RESOURCES);
  const labels = fc.dictionary(fc.constantFrom('app', 'dcred.dev/inject'), fc.constantFrom('web', 'api'));
  const selector: fc.Arbitrary<PodSelector | undefined> = fc.constantFrom(
    undefined,
    {},
    { matchLabels: { app: 'web' } },
    { matchLabels: { app: 'web', 'dcred.dev/inject': 'api' } },
    { matchLabels: { app: 'api' }, matchExpressions: [{ key: 'dcred.dev/inject', operator: 'DoesNotExist' as const }] },
    { matchExpressions: [{ key: 'app', operator: 'Exists' as const }] },
    { matchExpressions: [{ key: 'app', operator: 'NotIn' as const, values: ['api'] }] },
  );
  return fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('pod' as const), name: pod, labels }) },
    fc.record({ kind: fc.constant('pod gone' as const), name: pod }),
    fc.record({ kind: fc.constant('resource' as const), name, selector }),
    fc.record({ kind: fc.constant('resource gone' as const), name }),
  );
}
