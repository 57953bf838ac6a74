import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CONDITION_TYPES } from '../../src/operator/core/status.ts';
import { ageBar, formatTable, formatTree, relative } from '../../src/status/format.ts';
import { overviews } from '../../src/status/overview.ts';
import { facts, issuedSecret, LIFETIME, NOW, podOf, resource, SHA256, specOf } from '../../testing/support/builders.ts';

const certificate = {
  sha256: SHA256,
  subject: 'CN=web',
  dnsNames: [] as string[],
  notAfter: '2027-03-01T00:00:00Z',
  keyAlgorithm: 'ECDSAP256',
} as const;
const ready = {
  type: 'Ready',
  status: 'True',
  reason: 'Issued',
  message: '5 of 5',
  lastTransitionTime: '2027-01-15T08:00:00Z',
} as const;
const web = resource({ status: { certificate, conditions: [ready], pods: { selected: 5, issued: 2, failed: 1 } } });
const options = { now: NOW + LIFETIME / 4, colour: false };

/** One pod in each state. */
const pods = ['expired', 'missing', 'unknown', 'outdated', 'current'].map((name) => podOf({ name }));
const secretOf = (podName: string, change: object = {}) => issuedSecret({ name: `web-${podName}`, podName, ...change });
const secrets = [
  secretOf('current'),
  secretOf('outdated', { facts: facts({ certificateSha256: 'b2'.repeat(32) }) }),
  secretOf('unknown', { facts: undefined }),
  secretOf('expired', { facts: facts({ issuedAt: NOW - 2 * LIFETIME }) }),
  // Of an earlier pod with this name: not a credential of this one.
  secretOf('missing', { podUid: 'another' }),
];

describe('an overview', () => {
  test('shows every state of a pod, what needs attention first', () => {
    const [one] = overviews({ resources: [web], pods, secrets, now: options.now });
    assert.deepEqual(
      one?.pods.map(({ name, state }) => [name, state]),
      ['expired', 'missing', 'unknown', 'outdated', 'current'].map((state) => [state, state]),
    );
  });

  test('has the pods that the resource selects in its own namespace, and no others', () => {
    const others = [podOf({ name: 'a', labels: {} }), podOf({ name: 'b', namespace: 'shop' })];
    const [one] = overviews({ resources: [web], pods: [...pods, ...others], secrets, now: NOW });
    assert.equal(one?.pods.length, 5);
  });

  test('of a resource without a status says so', () => {
    const [one] = overviews({ resources: [resource()], pods: [], secrets: [], now: NOW });
    assert.deepEqual([one?.ready, one?.reason], ['Unknown', 'NotReported']);
    assert.match(one?.message ?? '', /is dcred running/);
  });
});

describe('what the conditions warn of is shown', () => {
  for (const type of CONDITION_TYPES) {
    if (type === 'Ready') continue;
    const bad = type === 'CertificateExpiring' ? 'True' : 'False';
    test(`${type} where it is ${bad}, and not where it is ${bad === 'True' ? 'False' : 'True'}`, () => {
      for (const status of ['True', 'False'] as const) {
        const condition = { ...ready, type, status, reason: 'AsItIs', message: 'in words' };
        const resources = [resource({ status: { certificate, conditions: [ready, condition] } })];
        const [one] = overviews({ resources, pods: [], secrets: [], now: NOW });
        assert.ok(one);
        assert.equal(formatTree(one, options).includes(`\n  ${type}: AsItIs: in words\n`), status === bad, status);
      }
    });
  }
});

describe('as text', () => {
  test('a tree has every pod with its reason', () => {
    const [one] = overviews({ resources: [web], pods, secrets, now: options.now });
    assert.ok(one);
    const tree = formatTree(one, options);
    assert.match(tree, /^edge\/web {2}Ready=True Issued$/m);
    assert.match(tree, /certificate {2}web-tls, CN=web, ECDSAP256, expires 2027-03-01$/m);
    assert.match(tree, /pods {9}5: 1 expired, 1 missing, 1 unknown, 1 outdated, 1 current$/m);
    assert.match(tree, /├─ missing .* no credential$/m);
    assert.match(tree, /├─ outdated .*of an earlier certificate$/m);
    assert.match(tree, /└─ current +█+░*│░+ +12h old, renews in \d+h, expires in 36h$/m);
  });

  test('the row of a pod of a Deployment fits 80 columns', () => {
    const [one] = overviews({ resources: [web], pods, secrets, now: options.now });
    const [current] = one?.pods.filter(({ state }) => state === 'current') ?? [];
    assert.ok(one !== undefined && current !== undefined);
    const tree = formatTree({ ...one, pods: [{ ...current, name: 'web-5d85b7b85b-jc2lg' }] }, options);
    assert.match(tree, /jc2lg .* old, /);
    for (const line of tree.split('\n')) assert.ok(line.length <= 80, line);
  });

  test('a pod that waits unscheduled says why, and a suspended resource says that it is', () => {
    const gated = podOf({ name: 'gated', gated: ['web'] });
    const suspended = resource({ spec: specOf({ suspend: true }), status: web.status });
    const [one] = overviews({ resources: [suspended], pods: [gated], secrets: [], now: NOW });
    assert.ok(one);
    const tree = formatTree(one, options);
    assert.match(tree, /not scheduled until it has one/);
    assert.match(tree, /suspended: nothing is issued/);
  });

  test('a table explains below what is not Ready', () => {
    const bad = { ...ready, status: 'False', reason: 'CertificateNotFound', message: 'create it\u202e' } as const;
    const shop = resource({ namespace: 'shop', status: { conditions: [bad] } });
    const table = formatTable(overviews({ resources: [web, shop], pods: [], secrets: [], now: NOW }), options);
    assert.match(table, /^edge +web +True +Issued +5 +2 +1 /m);
    assert.match(table, /^shop\/web: create it\\u202e$/m);
    assert.ok(!table.includes('\u001b'));
    const coloured = formatTable(overviews({ resources: [shop], pods: [], secrets: [], now: NOW }), {
      now: NOW,
      colour: true,
    });
    assert.ok(coloured.includes('\u001b[31m'));
  });

  test('an age bar has the same width whatever the times', () => {
    const time = fc.integer({ min: 0, max: 4_000_000_000 });
    fc.assert(
      fc.property(time, time, time, time, (issuedAt, renewAt, expiresAt, now) => {
        const pod = { name: 'a', state: 'current', secret: 's', gated: false, issuedAt, renewAt, expiresAt } as const;
        assert.equal(ageBar(pod, now).length, 12);
      }),
    );
  });

  test('times near and far', () => {
    assert.equal(relative(NOW + 90, NOW), 'in 90s');
    assert.equal(relative(NOW - 7_200, NOW), '2h ago');
    assert.equal(relative(NOW + 3 * 86_400, NOW), 'in 3d');
    assert.equal(relative(NOW + 90 * 86_400, NOW), '2027-04-15');
    assert.equal(relative(undefined, NOW), '-');
  });
});
