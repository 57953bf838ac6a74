import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SECRETS } from '../../src/kubernetes/resource-type.ts';
import type { Secret } from '../../testing/cluster/cluster.ts';
import { scenario, servedNamespace } from './scenario.ts';
import { assertServes } from './verification.ts';

const running = scenario();

const PODS = 20;
const LIFETIME = 60;
const RENEWALS = 3;

interface Issue {
  readonly issuedAt: number;
  readonly renewAt: number;
  readonly expiresAt: number;
  readonly publicKey: string;
}

function seconds({ metadata }: Secret, name: string): number {
  return Date.parse(metadata.annotations?.[`dcred.dev/${name}`] ?? '') / 1000;
}

/** Every credential that is published, in order, by pod: a watch sees each version, whatever the speed of this process. */
async function issuesOf(namespace: string): Promise<ReadonlyMap<string, readonly Issue[]>> {
  const { client } = running().cluster;
  const selection = { namespace, labelSelector: 'app.kubernetes.io/managed-by=dcred', sendInitialEvents: true };
  const stop = new AbortController();
  const byPod = new Map<string, Issue[]>();
  for await (const { object, type } of client.watch<Secret>(SECRETS, selection, { signal: stop.signal })) {
    if (type === 'BOOKMARK') continue;
    assert.notEqual(type, 'DELETED');
    const secret = object as Secret;
    const pod = secret.metadata.annotations?.['dcred.dev/pod-name'] ?? '';
    const issues = byPod.get(pod) ?? [];
    byPod.set(pod, issues);
    const issuedAt = seconds(secret, 'issued-at');
    const { expiresAt, publicKey } = assertServes(secret, 'Server', issuedAt);
    if (issues.at(-1)?.publicKey === publicKey) continue;
    issues.push({ issuedAt, renewAt: seconds(secret, 'renew-at'), expiresAt, publicKey });
    if (byPod.size === PODS && [...byPod.values()].every(({ length }) => length > RENEWALS)) break;
  }
  stop.abort();
  return byPod;
}

test(`credentials that live for a minute: each of ${PODS} pods is renewed in time, ${RENEWALS} times, and not early`, async (t) => {
  const { cluster, operator } = running();
  const namespace = await servedNamespace(running(), { lifetimeSeconds: LIFETIME });
  await cluster.createPods(namespace, PODS);
  const byPod = await issuesOf(namespace);
  assert.equal(byPod.size, PODS);
  for (const [pod, issues] of byPod) {
    assert.ok(issues.length > RENEWALS, pod);
    for (const [index, issue] of issues.entries()) {
      assert.ok(issue.renewAt > issue.issuedAt && issue.renewAt < issue.expiresAt);
      const previous = issues[index - 1];
      if (previous === undefined) continue;
      assert.ok(issue.issuedAt >= previous.renewAt, `${pod} was renewed before its renew-at`);
      assert.ok(issue.issuedAt < previous.expiresAt, `${pod} was renewed after its credential had expired`);
    }
  }
  const shares = [...byPod.values()].map(([first]) => (first === undefined ? 0 : first.renewAt - first.issuedAt));
  t.diagnostic(`first renewals are due ${Math.min(...shares)} to ${Math.max(...shares)} s after the issue`);
  assert.ok(new Set(shares).size >= 6, 'renewals of pods that were issued together are spread');
  // Of one moment: renewals go on.
  const metrics = await operator.metrics();
  const issued = [...metrics.matchAll(/^dcred_credentials_issued_total\{reason="(\w+)"\} (\d+)$/gm)]
    .map(([, reason, count]) => [reason, Number(count)] as const)
    .filter(([reason, count]) => reason !== 'RenewalDue' && count > 0);
  assert.deepEqual(issued, [['Missing', PODS]], 'no credential was re-issued for any other reason');
});
