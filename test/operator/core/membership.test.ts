import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { PodSelector } from '../../../src/api/delegated-credential.ts';
import { selects } from '../../../src/api/pod-selector.ts';
import { Membership } from '../../../src/operator/core/membership.ts';
import type { Pod } from '../../../src/operator/core/pod.ts';
import { podOf } from '../../../testing/support/builders.ts';
import { PodTable } from '../../../testing/support/pod-table.ts';

const APP_WEB: PodSelector = { matchLabels: { app: 'web' } };
const web = (name: string) => podOf({ name, labels: { app: 'web' } });

/** The cache of pods (a fake), and the membership that follows it. */
class World {
  readonly table: PodTable;
  readonly membership: Membership;

  constructor(pods: readonly Pod[] = []) {
    this.table = new PodTable(pods);
    this.membership = new Membership(this.table);
  }

  set(pod: Pod): readonly string[] {
    return this.membership.podChanged(this.table.set(pod), pod);
  }

  delete(name: string): readonly string[] {
    return this.membership.podChanged(this.table.delete(name), undefined);
  }

  podsOf(resource: string, namespace = 'edge'): readonly string[] {
    return [...this.membership.podsOf(namespace, resource)];
  }
}

describe('membership', () => {
  test('holds the pods that were there before the resource', () => {
    const world = new World([web('a'), podOf({ name: 'b', labels: {} }), web('c')]);
    world.membership.setResource('edge', 'web', APP_WEB);
    assert.deepEqual(world.podsOf('web'), ['a', 'c']);
  });

  test('returns the resources that select a new pod', () => {
    const world = new World();
    world.membership.setResource('edge', 'web', APP_WEB);
    world.membership.setResource('edge', 'all', {});
    world.membership.setResource('edge', 'db', { matchLabels: { app: 'db' } });
    assert.deepEqual(world.set(web('a')), ['web', 'all']);
    const selecting = ['web', 'all', 'db'].filter((name) => world.podsOf(name).includes('a'));
    assert.deepEqual(selecting, ['web', 'all']);
  });

  test('returns the resources that no longer select a pod', () => {
    const world = new World([web('a')]);
    world.membership.setResource('edge', 'web', APP_WEB);
    assert.deepEqual(world.set(podOf({ name: 'a', labels: {} })), ['web']);
    assert.deepEqual(world.set(podOf({ name: 'a', labels: {} })), []);
  });

  test('returns the resources of a deleted pod', () => {
    const world = new World([web('a')]);
    world.membership.setResource('edge', 'web', APP_WEB);
    assert.deepEqual(world.delete('a'), ['web']);
    assert.deepEqual(world.podsOf('web'), []);
  });

  test('is separate by namespace', () => {
    const world = new World();
    world.membership.setResource('edge', 'web', APP_WEB);
    assert.deepEqual(world.set({ ...web('a'), namespace: 'shop' }), []);
    assert.deepEqual(world.podsOf('web', 'shop'), []);
  });

  test('forgets a resource', () => {
    const world = new World([web('a')]);
    world.membership.setResource('edge', 'web', APP_WEB);
    world.membership.removeResource('edge', 'web');
    world.membership.removeResource('edge', 'web');
    assert.deepEqual(world.set(web('a')), []);
  });

  test('of two resources with one label survives the other', () => {
    const world = new World([web('a')]);
    world.membership.setResource('edge', 'web', APP_WEB);
    world.membership.setResource('edge', 'twin', APP_WEB);
    world.membership.removeResource('edge', 'web');
    world.set(web('b'));
    assert.deepEqual(world.podsOf('twin'), ['a', 'b']);
  });
});

describe('cost', () => {
  /** Selectors that must be found by an index, each for one pod only. */
  const shapes: Readonly<Record<string, (index: number) => PodSelector | undefined>> = {
    injection: () => undefined,
    'one label': (index) => ({ matchLabels: { app: `app-${index}` } }),
    'a label that all share, first': (index) => ({ matchLabels: { tier: 'front', app: `app-${index}` } }),
    'a set of values': (index) => ({
      matchExpressions: [{ key: 'app', operator: 'In' as const, values: [`app-${index}`, `app-${index}-canary`] }],
    }),
  };
  /** Pods are indexed by this label when the resource is added. */
  const ownLabel = (index: number) => ({ matchExpressions: [{ key: `app-${index}`, operator: 'Exists' as const }] });

  function podNumber(index: number): Pod {
    const name = `p${index}`;
    const labels = { app: `app-${index}`, tier: 'front', [`app-${index}`]: '' };
    return { ...podOf({ name, labels }), injected: [`r${index}`] };
  }

  for (const [what, selectorOf] of Object.entries({ ...shapes, 'a label of its own': ownLabel })) {
    test(`of a pod's change does not grow with the resources: ${what}`, () => {
      const reads = [10, 100, 1_000].map((count) => {
        const world = new World(Array.from({ length: count }, (_, index) => podNumber(index)));
        for (let index = 0; index < count; index += 1) {
          world.membership.setResource('edge', `r${index}`, selectorOf(index));
        }
        let seen = 0;
        const labels = new Proxy(podNumber(7).labels, {
          get: (target, key) => {
            seen += 1;
            return Reflect.get(target, key);
          },
        });
        world.table.visits = 0;
        assert.deepEqual(world.set({ ...podNumber(7), labels }), ['r7']);
        assert.equal(world.table.visits, 0, 'other pods are not visited');
        return seen;
      });
      assert.equal(new Set(reads).size, 1, `reads of its labels: ${reads.join()}`);
    });
  }

  for (const [what, selectorOf] of Object.entries(shapes)) {
    test(`of a resource does not grow with the pods: ${what}`, () => {
      const visits = [10, 100, 1_000].map((count) => {
        const world = new World(Array.from({ length: count }, (_, index) => podNumber(index)));
        // The first resource with a label causes the namespace's pods to be indexed by it.
        for (const index of [6, 7, 8]) world.membership.setResource('edge', `r${index}`, selectorOf(index));
        world.table.visits = 0;
        world.membership.removeResource('edge', 'r8');
        world.membership.setResource('edge', 'r8', selectorOf(8));
        assert.deepEqual(world.podsOf('r8'), ['p8']);
        return world.table.visits;
      });
      assert.equal(new Set(visits).size, 1, `pods visited: ${visits.join()}`);
    });
  }
});

/** The naive model: every pod against every resource. */
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
      const world = new World();
      const model = new Model();
      for (const action of actions) carryOut(action, world, model);
      for (const resource of RESOURCES) {
        assert.deepEqual([...world.podsOf(resource)].sort(), [...model.podsOf(resource)].sort());
      }
    }),
    { numRuns: 1_000 },
  );
});

/** Each change must name the resources that selected the pod before it and those that do after it, each once. */
function carryOut(action: Action, world: World, model: Model): void {
  switch (action.kind) {
    case 'pod': {
      const pod = podOf({ name: action.name, labels: action.labels });
      const before = model.resourcesOf(pod.name);
      model.pods.set(pod.name, pod);
      const concerned = new Set([...before, ...model.resourcesOf(pod.name)]);
      assert.deepEqual([...world.set(pod)].sort(), [...concerned].sort());
      return;
    }
    case 'pod gone': {
      const before = model.resourcesOf(action.name);
      model.pods.delete(action.name);
      assert.deepEqual([...world.delete(action.name)].sort(), [...before].sort());
      return;
    }
    case 'resource':
      model.selectors.set(action.name, action.selector);
      world.membership.setResource('edge', action.name, action.selector);
      return;
    case 'resource gone':
      model.selectors.delete(action.name);
      world.membership.removeResource('edge', action.name);
  }
}

const RESOURCES = ['web', 'api', 'constructor'] as const;

function anyAction(): fc.Arbitrary<Action> {
  const pod = fc.constantFrom('p1', 'p2', 'p3');
  const name = fc.constantFrom(...RESOURCES);
  const labels = fc.dictionary(
    fc.constantFrom('app', 'tier', 'constructor', 'dcred.dev/inject'),
    fc.constantFrom('web', 'api'),
  );
  const selector: fc.Arbitrary<PodSelector | undefined> = fc.constantFrom(
    undefined,
    {},
    { matchLabels: { app: 'web' } },
    { matchLabels: { constructor: 'web' } },
    { matchLabels: { app: 'web', tier: 'api' } },
    { matchLabels: { app: 'web', 'dcred.dev/inject': 'api' } },
    { matchLabels: { app: 'api' }, matchExpressions: [{ key: 'dcred.dev/inject', operator: 'DoesNotExist' as const }] },
    { matchExpressions: [{ key: 'app', operator: 'Exists' as const }] },
    {
      matchExpressions: [
        { key: 'app', operator: 'Exists' as const },
        { key: 'tier', operator: 'DoesNotExist' as const },
      ],
    },
    { matchExpressions: [{ key: 'app', operator: 'In' as const, values: ['api', 'web', 'api'] }] },
    {
      matchLabels: { tier: 'web' },
      matchExpressions: [{ key: 'app', operator: 'In' as const, values: ['api', 'web'] }],
    },
    { matchExpressions: [{ key: 'app', operator: 'In' as const, values: [] }] },
    { matchExpressions: [{ key: 'app', operator: 'NotIn' as const, values: ['api'] }] },
  );
  return fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('pod' as const), name: pod, labels }) },
    fc.record({ kind: fc.constant('pod gone' as const), name: pod }),
    fc.record({ kind: fc.constant('resource' as const), name, selector }),
    fc.record({ kind: fc.constant('resource gone' as const), name }),
  );
}
