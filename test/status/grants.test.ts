import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMPONENT_LABEL } from '../../src/api/keys.ts';
import { checkGrant } from '../../src/check/certificate-check.ts';
import { readDeployment } from '../../src/check/installation.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import { formatTree } from '../../src/status/format.ts';
import { GrantReader } from '../../src/status/grants.ts';
import { overviews } from '../../src/status/overview.ts';
import { NOW, resource, specOf } from '../../testing/support/builders.ts';

const refusal = (reason: string) => new ApiError('refused', { status: 403, reason });
const metadata = { name: 'web', namespace: 'certs', uid: 'u', resourceVersion: '1' };
const grant = (from: readonly object[], more: object = {}) => ({
  metadata,
  spec: { certificateRef: { name: 'web-tls' }, from, ...more },
});

/** A fake of the API client, which counts its calls. */
function cluster(
  grants: readonly object[] | ApiError,
  labels: Readonly<Record<string, string>> | ApiError,
  ...args: readonly string[]
) {
  const calls = { get: 0, list: 0 };
  const operator = readDeployment({
    metadata: { labels: { [COMPONENT_LABEL]: 'operator' } },
    spec: { template: { spec: { containers: [{ args: ['operator', ...args] }] } } },
  });
  const client = {
    list: () => {
      calls.list += 1;
      return grants instanceof ApiError
        ? Promise.reject(grants)
        : Promise.resolve({ metadata: {}, items: grants as never[] });
    },
    get: () => {
      calls.get += 1;
      if (labels instanceof ApiError) return Promise.reject(labels);
      return Promise.resolve({ metadata: { name: 'edge', uid: 'uid-of-edge', labels } } as never);
    },
  };
  return { calls, reader: new GrantReader(client, [operator], new AbortController().signal) };
}

const crossing = resource({
  spec: specOf({ certificateRef: { name: 'web-tls', namespace: 'certs' }, lifetimeSeconds: 7200 }),
});

test("a certificate of the resource's own namespace needs no grant, and nothing is read", async () => {
  const { calls, reader } = cluster([], {});
  assert.equal(await reader.factOf(resource()), undefined);
  assert.deepEqual(calls, { get: 0, list: 0 });
});

test('the grant that the operator would choose is named, with its terms', async () => {
  const tier = { namespaceSelector: { matchLabels: { tier: 'edge' } } };
  const { calls, reader } = cluster([grant([tier], { maxLifetimeSeconds: 3600, maxPods: 5 })], { tier: 'edge' });
  const fact = { kind: 'granted', grant: 'certs/web', lifetimeSeconds: 3600, maxPods: 5 } as const;
  assert.deepEqual(await Promise.all([reader.factOf(crossing), reader.factOf(crossing)]), [fact, fact]);
  assert.deepEqual(calls, { get: 1, list: 1 });
  const grants = new Map([['edge/web', fact]]);
  const [one] = overviews({ resources: [crossing], pods: [], secrets: [], grants, now: NOW });
  assert.ok(one);
  const tree = formatTree(one, { now: NOW, colour: false });
  assert.match(tree, /^ {2}grant {8}certs\/web: lifetime at most 60m, at most 5 pods$/m);
  assert.match(tree, /^ {2}certificate {2}certs\/web-tls, not read$/m);
  assert.deepEqual(
    checkGrant('it', fact).map(({ level }) => level),
    ['ok'],
  );
});

test('no grant, and one that cannot be seen, are distinguished', async () => {
  const kinds = async (...given: Parameters<typeof cluster>) => (await cluster(...given).reader.factOf(crossing))?.kind;
  assert.equal(await kinds([grant([{ namespace: 'shop' }])], {}), 'refused');
  assert.equal(await kinds(refusal('Forbidden'), {}), 'unseen');
  // A grant by name is seen without the namespace; one by its labels is not.
  assert.equal(await kinds([grant([{ namespace: 'edge' }])], refusal('Forbidden')), 'granted');
  assert.equal(await kinds([], refusal('Forbidden')), 'unseen');
  await assert.rejects(kinds(refusal('InternalError'), {}), { reason: 'InternalError' });
  assert.deepEqual(
    (['refused', 'unseen'] as const).flatMap((kind) => checkGrant('it', { kind })).map(({ level }) => level),
    ['problem', 'warning'],
  );
});

test('what the operator is told counts: a grant for every certificate, or a signer with grants of its own', async () => {
  const factOf = async (one: typeof crossing, grants: readonly object[], ...args: readonly string[]) =>
    await cluster(grants, {}, ...args).reader.factOf(one);
  const toEdge = [grant([{ namespace: 'edge' }])];
  assert.deepEqual(await factOf(resource(), [], '--require-grant=true'), { kind: 'refused' });
  assert.equal(await factOf(resource(), [], '--require-grant=true', '--namespace=shop'), undefined);
  assert.equal(await factOf(resource(), [], '--require-grant=false'), undefined);
  const signer = '--signer=https://signer.invalid';
  assert.deepEqual(await factOf(crossing, [], signer), { kind: 'signer' });
  assert.equal((await factOf(crossing, toEdge, signer))?.kind, 'granted');
  assert.equal(await factOf(resource(), [], '--require-grant=true', signer), undefined);
  const [one] = overviews({
    resources: [crossing],
    pods: [],
    secrets: [],
    now: NOW,
    grants: new Map([['edge/web', { kind: 'signer' }]]),
  });
  assert.ok(one);
  assert.match(
    formatTree(one, { now: NOW, colour: false }),
    /^ {2}grant {8}the signer's: no DelegationGrant of this cluster/m,
  );
});
