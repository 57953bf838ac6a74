/** DelegationGrants on a real API server: what it refuses, and that dcred reads everything that it accepts. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { grantDefinition } from '../../src/api/crd.ts';
import { isReadableGrant, readDelegationGrant } from '../../src/api/read-grant.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { operatorsClient } from '../operator/cluster.ts';
import { describePath, fields, specSchemaOf, valueAt, values, withValue } from './wrong-values.ts';

const CRDS = join(import.meta.dirname, '..', '..', 'crds');
const GRANTS = {
  group: 'dcred.dev',
  version: 'v1alpha1',
  plural: 'delegationgrants',
  kind: 'DelegationGrant',
  namespaced: true,
};
const signal = new AbortController().signal;

let plane: ControlPlane;
let client: ApiClient;
let count = 0;

before(async () => {
  plane = await startControlPlane();
  await plane.kubectl(['apply', '--server-side', '-f', CRDS]);
  await plane.untilServed('delegationgrants.dcred.dev');
  client = await operatorsClient(plane);
});
after(async () => {
  await client?.close();
  await plane?.stop();
});

/** Creates it; the error where the API server refuses. */
async function create(spec: unknown) {
  count += 1;
  const object = { metadata: { namespace: 'default', name: `grant-${count}` }, spec };
  return await client.create(GRANTS, object, { signal }).catch((error: unknown) => {
    assert.ok(error instanceof ApiError && ['Invalid', 'BadRequest'].includes(error.reason), String(error));
    return error;
  });
}

const SHORTEST = { certificateRef: { name: 'web-tls' }, from: [{ namespace: 'edge' }] };
const from = (...entries: readonly object[]) => ({ ...SHORTEST, from: entries });

interface Refused {
  readonly what: string;
  readonly spec: object;
  readonly says: string;
}

const REFUSED: readonly Refused[] = [
  {
    what: 'an entry that names neither a namespace nor a cluster',
    spec: from({}),
    says: 'exactly one of namespace, namespaceSelector and cluster',
  },
  {
    what: 'an entry with a namespace and a cluster',
    spec: from({ namespace: 'edge', cluster: 'eu-west' }),
    says: 'write one entry for each of them',
  },
  { what: 'an entry with a uid alone', spec: from({ uid: 'u' }), says: 'exactly one of namespace' },
  {
    what: 'a uid beside a selector',
    spec: from({ uid: 'u', namespaceSelector: {} }),
    says: 'uid needs namespace beside it: the name of the namespace with this uid',
  },
  {
    what: 'an impossible cluster name',
    spec: from({ cluster: 'EU West' }),
    says: 'must be the name of a cluster: lower-case letters, digits, "-" and ".", such as eu-west',
  },
  {
    what: 'an impossible namespace',
    spec: from({ namespace: 'a.b' }),
    says: 'must be the name of a namespace: lower-case letters, digits and "-", such as edge',
  },
  {
    what: 'a Secret of another namespace',
    spec: { ...SHORTEST, certificateRef: { name: 'shop/web-tls' } },
    says: 'must be the name of a Secret',
  },
  {
    what: 'a lifetime of 59 s',
    spec: { ...SHORTEST, maxLifetimeSeconds: 59 },
    says: 'maxLifetimeSeconds must be from 60 to 601200',
  },
  {
    what: 'a lifetime of seven days',
    spec: { ...SHORTEST, maxLifetimeSeconds: 604_800 },
    says: 'omit it to set no limit',
  },
  { what: 'no pods', spec: { ...SHORTEST, maxPods: 0 }, says: 'maxPods must be at least 1' },
  { what: 'nobody', spec: from(), says: 'spec.from: Invalid value' },
  {
    what: '33 entries',
    spec: from(...Array.from({ length: 33 }, () => ({ namespace: 'a' }))),
    says: 'spec.from: Too many',
  },
  { what: 'no usage', spec: { ...SHORTEST, usages: [] }, says: 'spec.usages: Invalid value' },
  { what: 'a usage twice', spec: { ...SHORTEST, usages: ['Server', 'Server'] }, says: 'spec.usages[1]: Duplicate' },
  { what: 'an unknown usage', spec: { ...SHORTEST, usages: ['Peer'] }, says: 'supported values: "Server", "Client"' },
  { what: 'another onWithdraw', spec: { ...SHORTEST, onWithdraw: 'Wait' }, says: 'supported values: "Keep", "Delete"' },
];

describe('the API server refuses a grant', () => {
  for (const { what, spec, says } of REFUSED) {
    test(`of ${what}, and says what to write`, async () => {
      const answer = await create(spec);
      assert.ok(answer instanceof ApiError, 'it was accepted');
      assert.ok(answer.message.includes(says), answer.message);
    });
  }
});

test('the shortest grant gets its defaults', async () => {
  const made = (await create(SHORTEST)) as { spec?: unknown };
  assert.deepEqual(made.spec, { ...SHORTEST, usages: ['Server'], onWithdraw: 'Keep' });
});

test('the largest grant stays within the cost budget of CEL', async () => {
  const labels = Object.fromEntries(
    Array.from({ length: 8 }, (_, index) => [`${'d'.repeat(250)}/k${index}`, 'v'.repeat(63)]),
  );
  const expression = { key: 'tier', operator: 'In', values: Array.from({ length: 8 }, () => 'v'.repeat(63)) };
  const namespaceSelector = { matchLabels: labels, matchExpressions: Array.from({ length: 8 }, () => expression) };
  const answer = await create(from(...Array.from({ length: 32 }, () => ({ namespaceSelector }))));
  assert.ok(!(answer instanceof ApiError), answer instanceof ApiError ? answer.message : '');
});

test('kubectl shows what is granted', async () => {
  await create({ ...SHORTEST, usages: ['Server', 'Client'], maxLifetimeSeconds: 3600, maxPods: 5 });
  const { stdout } = await plane.kubectl(['get', 'dcgrant', `grant-${count}`, '-o', 'wide']);
  const [head = '', row = ''] = stdout.split('\n');
  assert.match(
    head,
    /^NAME +CERTIFICATE +USAGES +ACCEPTED +REASON +NAMESPACES +PODS +AGE +MAX LIFETIME +MAX PODS +ON WITHDRAW/,
  );
  assert.match(row, /web-tls +\["Server","Client"\] .* 3600 +5 +Keep/);
});

/** One for each kind of entry, so that every field is set in one of them. */
const FULL: readonly object[] = [
  { namespace: 'edge', uid: 'u' },
  { namespaceSelector: { matchLabels: { a: 'b' }, matchExpressions: [{ key: 'a', operator: 'In', values: ['b'] }] } },
  { cluster: 'eu-west' },
].map((entry) => ({ ...from(entry), usages: ['Server'], maxLifetimeSeconds: 3600, maxPods: 5, onWithdraw: 'Delete' }));

describe('what the API server accepts, dcred reads', () => {
  const isSet = (spec: object, path: readonly (string | number)[]) => {
    try {
      return valueAt(spec, path) !== undefined;
    } catch {
      return false;
    }
  };

  for (const [path, field] of fields(specSchemaOf(grantDefinition()), [])) {
    test(describePath(path), async () => {
      const full = FULL.find((spec) => isSet(spec, path));
      assert.ok(full !== undefined, 'no example sets it');
      const tried = [valueAt(full, path), ...values(field)];
      const accepted = await Promise.all(
        tried.map(async (value) => {
          const made = await create(withValue(full, path, value));
          if (made instanceof ApiError) return false;
          const read = readDelegationGrant(made);
          const shown = JSON.stringify(value)?.slice(0, 100);
          assert.ok(isReadableGrant(read), `${shown} is accepted, and then: ${isReadableGrant(read) || read.problem}`);
          return true;
        }),
      );
      assert.ok(accepted[0], 'the good value is accepted');
      assert.ok(accepted.includes(false), 'some values are refused');
    });
  }
});
