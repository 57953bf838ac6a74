import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  covers,
  decideGrant,
  type GrantRequest,
  mostGenerous,
  needsNamespace,
  undominated,
} from '../../src/grant/decide.ts';
import { grant } from '../../testing/support/builders.ts';

const DAY = 86_400;

function request(overrides: Partial<GrantRequest> = {}): GrantRequest {
  return {
    certificate: { namespace: 'vault', name: 'web-tls' },
    usage: 'Server',
    consumer: { namespace: 'edge', uid: 'uid-of-edge', labels: { tier: 'edge' } },
    lifetimeSeconds: 2 * DAY,
    ...overrides,
  };
}

const here = (labels?: Record<string, string>) => ({ namespace: 'edge', uid: 'uid-of-edge', labels });

describe('a grant to a namespace', () => {
  const given = grant({ from: [{ namespace: 'edge' }] });
  const denied: Readonly<Record<string, Partial<GrantRequest>>> = {
    'another Secret': { certificate: { namespace: 'vault', name: 'api-tls' } },
    'the Secret of that name in another namespace': { certificate: { namespace: 'edge', name: 'web-tls' } },
    'another namespace': { consumer: { namespace: 'shop', uid: 'uid-of-edge', labels: { tier: 'edge' } } },
    'another usage': { usage: 'Client' },
    'the namespace of that name in another cluster': { consumer: { ...here(), cluster: 'eu-west' } },
  };

  test('covers it', () => assert.ok(decideGrant([given], request()) !== undefined));
  for (const [what, change] of Object.entries(denied)) {
    test(`does not cover ${what}`, () => assert.equal(decideGrant([given], request(change)), undefined));
  }
  test('covers its successor of the same name', () => {
    assert.ok(decideGrant([given], request({ consumer: { namespace: 'edge', uid: 'another' } })) !== undefined);
  });
});

test('a grant to a namespace with its uid covers neither a successor nor a namespace whose uid is not known', () => {
  const pinned = grant({ from: [{ namespace: 'edge', uid: 'uid-of-edge' }] });
  assert.ok(covers(pinned, request()));
  assert.ok(!covers(pinned, request({ consumer: { namespace: 'edge', uid: 'another' } })));
  assert.ok(!covers(pinned, request({ consumer: { namespace: 'edge' } })));
});

test('a selector covers the namespaces with its labels, and none whose labels are not known', () => {
  const selected = grant({ from: [{ namespaceSelector: { matchLabels: { tier: 'edge' } } }] });
  assert.ok(covers(selected, request({ consumer: here({ tier: 'edge' }) })));
  assert.ok(!covers(selected, request({ consumer: here({ tier: 'shop' }) })));
  assert.ok(!covers(selected, request({ consumer: here() })));
  const absent = grant({
    from: [{ namespaceSelector: { matchExpressions: [{ key: 'x', operator: 'DoesNotExist' }] } }],
  });
  assert.ok(!covers(absent, request({ consumer: here() })), 'absent labels are not unknown ones');
});

test('an empty selector covers every namespace of the cluster, and none of another', () => {
  const all = grant({ from: [{ namespaceSelector: {} }] });
  assert.ok(covers(all, request({ consumer: here({}) })));
  assert.ok(!covers(all, request({ consumer: { ...here({}), cluster: 'eu-west' } })));
});

test('a grant to a cluster covers every namespace of it, and none of this one', () => {
  const cluster = grant({ from: [{ cluster: 'eu-west' }] });
  assert.ok(covers(cluster, request({ consumer: { namespace: 'any', cluster: 'eu-west' } })));
  assert.ok(!covers(cluster, request({ consumer: { namespace: 'any', cluster: 'us-east' } })));
  assert.ok(!covers(cluster, request()));
});

test('Server is the usage where none is named', () => {
  assert.deepEqual(grant({}).spec.usages, ['Server']);
  assert.ok(covers(grant({ usages: ['Client'] }), request({ usage: 'Client' })));
  assert.ok(!covers(grant({ usages: ['Client'] }), request()));
});

describe('the terms', () => {
  test('are the smaller lifetime of the two', () => {
    const terms = (maxLifetimeSeconds?: number) =>
      decideGrant([grant({ maxLifetimeSeconds })], request())?.lifetimeSeconds;
    assert.deepEqual([terms(DAY), terms(7 * DAY - 3600), terms()], [DAY, 2 * DAY, 2 * DAY]);
  });

  const longer = grant({ name: 'longer', maxLifetimeSeconds: DAY, maxPods: 1, onWithdraw: 'Delete' });
  const wider = grant({ name: 'wider', maxLifetimeSeconds: 3600, maxPods: 500 });

  test('of two grants that overlap are those of the more generous one, never a mix', () => {
    for (const grants of [
      [longer, wider],
      [wider, longer],
    ]) {
      const terms = decideGrant(grants, request());
      assert.equal(terms?.grant, longer);
      assert.deepEqual([terms.lifetimeSeconds, terms.maxPods, terms.onWithdraw], [DAY, 1, 'Delete']);
    }
  });

  test('compare lifetimes only as far as the request goes', () => {
    assert.equal(decideGrant([longer, wider], request({ lifetimeSeconds: 600 }))?.grant, wider);
  });
});

test('only a grant with a selector or a uid needs to know the namespace', () => {
  assert.ok(!needsNamespace(grant({ from: [{ namespace: 'edge' }, { cluster: 'eu-west' }] })));
  assert.ok(needsNamespace(grant({ from: [{ namespace: 'edge' }, { namespaceSelector: {} }] })));
  assert.ok(needsNamespace(grant({ from: [{ namespace: 'edge', uid: 'u' }] })));
});

describe('for any grants and any request', () => {
  const name = fc.constantFrom('edge', 'shop', 'vault');
  const labels = fc.dictionary(fc.constantFrom('tier', 'team'), name, { noNullPrototype: true });
  const from = fc.oneof(
    fc.record({ namespace: name, uid: fc.constantFrom('1', '2') }, { requiredKeys: ['namespace'] }),
    fc.record({ cluster: fc.constantFrom('eu-west', 'us-east') }),
    fc.record({ namespaceSelector: fc.record({ matchLabels: labels }) }),
  );
  const grants = fc.uniqueArray(
    fc
      .record(
        {
          name: fc.stringMatching(/^[a-z]{1,3}$/),
          namespace: name,
          secret: fc.constantFrom('web-tls', 'api-tls'),
          from: fc.array(from, { minLength: 1, maxLength: 3 }),
          usages: fc.constantFrom<('Server' | 'Client')[]>(['Server'], ['Client'], ['Server', 'Client']),
          maxLifetimeSeconds: fc.integer({ min: 60, max: 601_200 }),
          maxPods: fc.integer({ min: 1, max: 5 }),
          onWithdraw: fc.constantFrom<('Keep' | 'Delete')[]>('Keep', 'Delete'),
        },
        { requiredKeys: ['name', 'namespace', 'secret', 'from'] },
      )
      .map(grant),
    { maxLength: 6, selector: ({ metadata }) => `${metadata.namespace}/${metadata.name}` },
  );
  const requests = fc.record({
    certificate: fc.record({ namespace: name, name: fc.constantFrom('web-tls', 'api-tls') }),
    usage: fc.constantFrom('Server' as const, 'Client' as const),
    consumer: fc.record(
      { namespace: name, cluster: fc.constantFrom('eu-west', 'us-east'), uid: fc.constantFrom('1', '2'), labels },
      { requiredKeys: ['namespace'] },
    ),
    lifetimeSeconds: fc.integer({ min: 60, max: 601_200 }),
  });

  test('the union permits, and the terms are those of one grant', () => {
    fc.assert(
      fc.property(grants, requests, (all, one) => {
        const terms = decideGrant(all, one);
        const alone = all.flatMap((each) => decideGrant([each], one) ?? []);
        assert.equal(terms !== undefined, alone.length > 0);
        if (terms !== undefined)
          assert.deepEqual(
            terms,
            alone.find(({ grant: { metadata } }) => metadata === terms.grant.metadata),
          );
      }),
    );
  });

  test('a client that knows only the terms that may be the most generous chooses the same for each lifetime', () => {
    fc.assert(
      fc.property(grants, requests, (all, one) => {
        const longest = { ...one, lifetimeSeconds: 601_200 };
        const known = undominated(all.flatMap((each) => decideGrant([each], longest) ?? []));
        const wanted = known.map((terms) => ({
          ...terms,
          lifetimeSeconds: Math.min(terms.lifetimeSeconds, one.lifetimeSeconds),
        }));
        const [chosen, decided] = [mostGenerous(wanted), decideGrant(all, one)];
        const facts = (terms = decided) => [terms?.lifetimeSeconds, terms?.maxPods, terms?.onWithdraw];
        assert.deepEqual(chosen === undefined ? facts(undefined) : facts(chosen), facts(decided));
        assert.equal(chosen === undefined, decided === undefined);
      }),
    );
  });

  test('no other grant that covers it gives a longer lifetime', () => {
    fc.assert(
      fc.property(grants, requests, (all, one) => {
        const longest = Math.max(0, ...all.map((each) => decideGrant([each], one)?.lifetimeSeconds ?? 0));
        assert.equal(decideGrant(all, one)?.lifetimeSeconds ?? 0, longest);
        assert.ok(longest <= one.lifetimeSeconds);
      }),
    );
  });

  test('their order does not matter', () => {
    fc.assert(
      fc.property(grants, requests, (all, one) => {
        assert.deepEqual(decideGrant([...all].reverse(), one), decideGrant(all, one));
      }),
    );
  });

  test('knowing less of the namespace never permits more', () => {
    fc.assert(
      fc.property(grants, requests, (all, one) => {
        const { labels: _labels, uid: _uid, ...less } = one.consumer;
        if (decideGrant(all, { ...one, consumer: less }) !== undefined) {
          assert.ok(decideGrant(all, one) !== undefined);
        }
      }),
    );
  });

  test('a grant of another namespace than the certificate permits nothing', () => {
    fc.assert(
      fc.property(grants, requests, (all, one) => {
        const foreign = all.filter(({ metadata }) => metadata.namespace !== one.certificate.namespace);
        assert.equal(decideGrant(foreign, one), undefined);
      }),
    );
  });
});
