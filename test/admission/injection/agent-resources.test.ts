import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  AgentResourcesError,
  agentResources,
  DEFAULT_RESOURCES,
  parseAgentResources,
  resourcesFor,
} from '../../../src/admission/injection/agent-resources.ts';
import { type LimitRangeItem, readLimitRanges } from '../../../src/admission/injection/limit-range.ts';
import type { AdmittedPod, Container, Resources } from '../../../src/admission/injection/pod.ts';
import { formatQuantity, parseQuantity } from '../../../src/admission/injection/quantity.ts';
import { container, podWith } from '../pods.ts';

const NAMES = ['cpu', 'memory', 'ephemeral-storage'] as const;

function chosen(containers: readonly Container[], items: readonly LimitRangeItem[] = [], spec: object = {}): Resources {
  const found = agentResources(podWith({ spec: { containers, ...spec } }), DEFAULT_RESOURCES, items);
  return typeof found === 'string' ? assert.fail(found) : found;
}

const NOTHING = { requests: { cpu: '0', memory: '0' }, limits: { cpu: '0', memory: '0' } };
const using = (resources: Resources): Container => container('main', { resources });

describe('a quantity', () => {
  for (const [text, thousandths] of [
    ['100m', 100n],
    ['1', 1_000n],
    ['0.5', 500n],
    ['.5', undefined],
    ['1.', 1_000n],
    ['64Mi', 67_108_864_000n],
    ['1e3', 1_000_000n],
    ['1E-3', 1n],
    ['1E', 1_000_000_000_000_000_000_000n],
    ['1n', 1n],
    ['1500u', 2n],
    ['-1', undefined],
    ['1 Gi', undefined],
    ['1e99', undefined],
    ['9'.repeat(40), undefined],
    ['', undefined],
  ] as const) {
    test(`"${text}" is ${thousandths ?? 'not one'}`, () => assert.equal(parseQuantity(text), thousandths));
  }

  test('is read back from its canonical text', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 20n }), (amount) => {
        assert.equal(parseQuantity(formatQuantity(amount)), amount);
      }),
    );
  });
});

describe('configured resources', () => {
  test('are requests and limits by name', () => {
    assert.deepEqual(parseAgentResources('requests.cpu=10m, limits.memory=1Gi,requests.ephemeral-storage=1M'), {
      requests: { cpu: '10m', 'ephemeral-storage': '1M' },
      limits: { memory: '1Gi' },
    });
    assert.deepEqual(parseAgentResources(''), { requests: {}, limits: {} });
  });

  for (const text of ['cpu=1', 'requests.gpu=1', 'limits.memory=much', 'requests.cpu=-1', 'limits.memory', '{}']) {
    test(`"${text}" is refused with an example`, () => {
      assert.throws(
        () => parseAgentResources(text),
        (error) => error instanceof AgentResourcesError && /such as requests\.cpu=5m/.test(error.message),
      );
    });
  }

  test('parse from any text, or throw that error', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 2_000 }), (text) => {
        try {
          parseAgentResources(text);
        } catch (error) {
          assert.ok(error instanceof AgentResourcesError && error.message.length < 300);
        }
      }),
    );
  });
});

describe('an agent', () => {
  test('has the configured resources where nothing requires more', () => {
    assert.deepEqual(chosen([container('main')]), DEFAULT_RESOURCES_AS_NUMBERS);
  });

  test('keeps a Guaranteed pod Guaranteed', () => {
    const resources = { requests: { cpu: '1', memory: '1Gi' }, limits: { cpu: '1', memory: '1024Mi' } };
    const { limits, requests } = chosen([using(resources)]);
    assert.deepEqual(requests, limits);
    assert.deepEqual(Object.keys(limits ?? {}).sort(), ['cpu', 'memory']);
  });

  for (const [what, spec] of Object.entries<Partial<AdmittedPod['spec']>>({
    'no amounts': { containers: [container('main')], initContainers: [container('first')] },
    'amounts of 0': { containers: [using(NOTHING)] },
    'amounts of storage alone': { containers: [using({ limits: { 'ephemeral-storage': '1Gi' } })] },
    'amounts of 0 for the pod as a whole': { containers: [container('main')], resources: NOTHING },
  })) {
    test(`of a pod with ${what} has no CPU and no memory: the pod stays BestEffort`, () => {
      const pod = podWith({ spec });
      const found = agentResources(pod, resourcesFor(pod, DEFAULT_RESOURCES), []);
      if (typeof found === 'string') assert.fail(found);
      const all = [found.requests, found.limits].flatMap((entries) => [entries?.['cpu'], entries?.['memory']]);
      assert.ok(
        all.every((amount = '0') => amount === '0'),
        JSON.stringify(found),
      );
    });
  }

  test('sets amounts of 0 where every container has those, because a quota may require them', () => {
    assert.deepEqual(agentResources(podWith({ spec: { containers: [using(NOTHING)] } }), {}, []), NOTHING);
  });

  test("has the pod's own choice in any pod, and the webhook's where a container has an amount", () => {
    const idle = podWith();
    assert.deepEqual(agentResources(idle, DEFAULT_RESOURCES, []), DEFAULT_RESOURCES_AS_NUMBERS);
    const first = { ...container('first'), resources: { requests: { memory: '1Mi' } } };
    const busy = podWith({ spec: { initContainers: [first] } });
    assert.equal(resourcesFor(busy, DEFAULT_RESOURCES), DEFAULT_RESOURCES);
  });

  test('sets what every container of the pod sets, because a quota may require it', () => {
    const resources = { limits: { cpu: '2', 'ephemeral-storage': '1Gi' } };
    const { limits } = chosen([using(resources), using(resources)]);
    assert.deepEqual(Object.keys(limits ?? {}).sort(), ['cpu', 'ephemeral-storage', 'memory']);
    assert.equal(chosen([using(resources), container('other')]).limits?.['cpu'], undefined);
  });

  test('shares the resources of a pod that has its own', () => {
    const own = { resources: { requests: { cpu: '1' } } };
    assert.deepEqual(chosen([container('main')], [], own), { requests: {}, limits: {} });
    const items: readonly LimitRangeItem[] = [{ type: 'Container', min: { cpu: '200m' } }];
    const full = podWith({ spec: { containers: [using({ requests: { cpu: '900m' } })], ...own } });
    assert.match(
      JSON.stringify(agentResources(full, DEFAULT_RESOURCES, items)),
      /leave no room for the agent \(requests\.cpu is 1\)/,
    );
  });

  test("takes none of a LimitRange's defaults, which are for servers", () => {
    const item: LimitRangeItem = {
      type: 'Container',
      default: { cpu: '2', memory: '8Gi' },
      defaultRequest: { cpu: '1' },
    };
    const { limits, requests } = chosen([container('main')], [item]);
    assert.deepEqual(requests, { cpu: '5m', memory: '67108864' });
    assert.deepEqual(limits, { cpu: '100m', memory: '134217728' });
  });

  describe('under a LimitRange of pods', () => {
    const memory = (request: string, limit?: string): Resources => ({
      requests: { memory: request },
      ...(limit === undefined ? {} : { limits: { memory: limit } }),
    });
    const cpu = (request: string, limit: string): Resources => ({ requests: { cpu: request }, limits: { cpu: limit } });
    const of = (...all: readonly Resources[]) => ({ containers: all.map(using) });
    const first = (resources: Resources) => ({ initContainers: [container('first', { resources })] });
    const sidecar = (resources: Resources) => ({
      initContainers: [container('side', { resources, restartPolicy: 'Always' })],
    });
    const ofItem = (item: Omit<LimitRangeItem, 'type'>, spec: Partial<AdmittedPod['spec']>) =>
      agentResources(podWith({ spec }), DEFAULT_RESOURCES, [{ type: 'Pod', ...item }]);
    const most = { max: { memory: '1Gi' } };
    const ratio = { maxLimitRequestRatio: { cpu: '2' } };

    for (const [what, item, spec, why] of [
      ['limits above the maximum', most, of(memory('100Mi', '1000Mi')), /\(memory: at most 1073741824 for/],
      ['requests above the maximum', most, of(memory('512Mi', '512Mi'), memory('512Mi')), /\(memory: at most/],
      [
        'limits above the maximum, with a sidecar',
        most,
        { ...of(memory('1Mi', '500Mi')), ...sidecar(memory('1Mi', '500Mi')) },
        /\(memory: at most/,
      ],
      [
        'a limit of its own below the minimum',
        { min: { memory: '1Gi' } },
        of(memory('2Gi')),
        /\(memory: at least 1073741824 for/,
      ],
      [
        'limits above the ratio, where an init container requests most',
        ratio,
        { ...of(cpu('100m', '2')), ...first(cpu('1', '1')) },
        /\(cpu: limits at most 2 times the requests of/,
      ],
    ] as const) {
      test(`is left out where it makes for ${what}`, () => {
        const found = ofItem(item, spec);
        assert.match(JSON.stringify(found), /the namespace's LimitRange would refuse the pod/);
        assert.match(JSON.stringify(found), why);
      });
    }

    for (const [what, item, spec] of [
      ['that the pod meets with it', most, of(memory('512Mi', '512Mi'), memory('256Mi', '384Mi'))],
      [
        'where an init container before it needs more',
        most,
        { ...of(memory('100Mi', '100Mi')), ...first(memory('1Gi', '1Gi')) },
      ],
      [
        "where the pod's own resources count, not the sum of its containers'",
        most,
        { ...of(memory('100Mi', '600Mi'), memory('100Mi', '600Mi')), resources: memory('512Mi', '1Gi') },
      ],
      ['that refuses the pod without it too', most, of(memory('2Gi', '2Gi'))],
    ] as const) {
      test(`is added ${what}`, () => assert.notEqual(typeof ofItem(item, spec), 'string'));
    }

    test("is left out where the sum of the containers counts, not the pod's own resources", () => {
      const spec = { ...of(memory('100Mi', '500Mi'), memory('100Mi', '500Mi')), resources: memory('400Mi', '600Mi') };
      assert.match(JSON.stringify(ofItem(most, spec)), /\(memory: at most/);
    });
  });
});

const DEFAULT_RESOURCES_AS_NUMBERS = {
  requests: { cpu: '5m', memory: '67108864' },
  limits: { memory: '134217728' },
};

/** As LimitRanger checks one container (plugin/pkg/admission/limitranger). */
function violations({ limits, requests }: Resources, { max, maxLimitRequestRatio, min }: LimitRangeItem): string[] {
  const found: string[] = [];
  for (const name of NAMES) {
    const [request, limit] = [requests?.[name], limits?.[name]].map((text) => parseQuantity(text ?? ''));
    const [least, most, ratio] = [min, max, maxLimitRequestRatio].map((one) => parseQuantity(one?.[name] ?? ''));
    if (least !== undefined && (request === undefined || request < least)) found.push(`${name}: request below min`);
    if (least !== undefined && limit !== undefined && limit < least) found.push(`${name}: limit below min`);
    if (most !== undefined && (limit === undefined || limit > most)) found.push(`${name}: limit above max`);
    if (most !== undefined && request !== undefined && request > most) found.push(`${name}: request above max`);
    if (ratio === undefined) continue;
    if (request === undefined || limit === undefined || request === 0n) found.push(`${name}: ratio without both`);
    // LimitRanger compares with three decimals: integer division in thousandths.
    else if ((limit * 1_000n) / request > ratio) found.push(`${name}: ratio`);
  }
  for (const name of NAMES) {
    const [request, limit] = [requests?.[name], limits?.[name]].map((text) => parseQuantity(text ?? ''));
    if (request !== undefined && limit !== undefined && request > limit) found.push(`${name}: request above limit`);
  }
  return found;
}

const UNIT = { cpu: 1n, memory: 1_048_576_000n, 'ephemeral-storage': 1_048_576_000n };
/** min <= max, and a ratio that both allow. */
const constraint = (name: (typeof NAMES)[number]) =>
  fc
    .record(
      {
        min: fc.bigInt({ min: 1n, max: 4_000n }),
        room: fc.bigInt({ min: 0n, max: 4_000n }),
        hasMax: fc.boolean(),
        ratio: fc.constantFrom('1', '1500m', '2', '10'),
      },
      { requiredKeys: ['room', 'hasMax'] },
    )
    .map(({ hasMax, min, ratio, room }) => ({
      name,
      ...(min === undefined ? {} : { min: formatQuantity(min * UNIT[name]) }),
      ...(hasMax ? { max: formatQuantity(((min ?? 1n) + room) * UNIT[name]) } : {}),
      ...(ratio === undefined ? {} : { ratio }),
    }));

const anyItem = fc.subarray([...NAMES], { minLength: 1 }).chain((names) =>
  fc.tuple(...names.map(constraint)).map((all): LimitRangeItem => {
    const collect = (key: 'min' | 'max' | 'ratio') =>
      Object.fromEntries(all.flatMap((one) => (one[key] === undefined ? [] : [[one.name, one[key]]])));
    return { type: 'Container', min: collect('min'), max: collect('max'), maxLimitRequestRatio: collect('ratio') };
  }),
);

const anyResources = fc.record({
  requests: fc.dictionary(fc.constantFrom(...NAMES), fc.constantFrom('10m', '1', '64Mi', '2Gi')),
  limits: fc.dictionary(fc.constantFrom(...NAMES), fc.constantFrom('2', '4Gi', '8Gi')),
});

test('the agent meets whatever a LimitRange requires of containers', () => {
  fc.assert(
    fc.property(anyItem, fc.array(anyResources, { minLength: 1, maxLength: 3 }), (item, all) => {
      assert.deepEqual(violations(chosen(all.map(using), [item]), item), []);
    }),
    { numRuns: 2_000 },
  );
});

test('objects that are not LimitRanges are ignored', () => {
  fc.assert(
    fc.property(fc.array(fc.anything()), (objects) => {
      assert.ok(Array.isArray(readLimitRanges(objects)));
    }),
  );
});
