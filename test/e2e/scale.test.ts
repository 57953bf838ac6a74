import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import { type AuditEvent, type AuditRule, answeredAt } from '../../testing/controlplane/audit.ts';
import { PAUSE_IMAGE } from '../../testing/node/components.ts';
import type { Node } from '../../testing/node/node.ts';
import { whyNoNode } from '../../testing/node/requirements.ts';
import { createTestAuthority } from '../../testing/support/certificates.ts';
import { eventually } from '../../testing/support/processes.ts';
import { credentialObjects, failedMounts, SHOP, startNodeWithDcred } from './installation.ts';
import { deployment, list, podSpec } from './workloads.ts';

/** With DCRED_E2E_YARDSTICK=on as many pods without dcred are measured first: a minute more, and nothing is asserted on it. */
const HAS_YARDSTICK = process.env['DCRED_E2E_YARDSTICK'] === 'on';
/** A node takes 110 pods, and dcred's own four are among them. */
const PODS = 100;
/** No pod is late: beside a whole test run and four busy loops, one node has started a hundred at two a minute. */
const HUNG_MS = 5_400_000;

const inShop = { namespaces: [SHOP], verbs: ['create'] };
/** Logs nothing secret: of a Secret, only that it was created. */
const CREATIONS: readonly AuditRule[] = [
  { level: 'Metadata', ...inShop, resources: [{ group: '', resources: ['secrets', 'pods/binding'] }] },
  // The API server generates a pod's name, which is only in the response.
  { level: 'RequestResponse', ...inShop, resources: [{ group: '', resources: ['pods'] }] },
  { level: 'None' },
];

/** The creations so far, in the order in which they were answered. */
async function creations({ plane }: Node): Promise<readonly AuditEvent[]> {
  const done = (await plane.auditLog()).filter(({ responseStatus }) => responseStatus?.code === 201);
  return done.sort((a, b) => answeredAt(a) - answeredAt(b));
}

interface StoredPod {
  readonly metadata?: { readonly name?: string; readonly annotations?: Readonly<Record<string, string>> };
}

describe('a Deployment that is scaled from none to a hundred', { skip: await whyNoNode() }, () => {
  let node: Node;

  before(async () => {
    node = await startNodeWithDcred({ audit: CREATIONS });
  });
  after(() => node?.stop());

  test('the Secret of each pod is there before the kubelet reads it', async (t: TestContext) => {
    const apply = (input: string) => node.plane.kubectl(['apply', '--namespace', SHOP, '-f', '-'], { input });
    const text = async (...words: readonly string[]) =>
      (await node.plane.kubectl(['--namespace', SHOP, ...words], { timeoutMs: HUNG_MS })).stdout.trim();
    await apply(credentialObjects('web', await (await createTestAuthority()).issue()));
    const idle = podSpec({ name: 'idle', image: PAUSE_IMAGE });
    await apply(list(deployment('plain', 0, idle), deployment('web', 0, idle, { 'dcred.dev/inject': 'web' })));

    const scale = async (name: string) => {
      const earlier = (await creations(node)).length;
      const began = performance.now();
      await text('scale', `deployment/${name}`, `--replicas=${PODS}`);
      // kubectl costs as much as a dozen pods: it is not called again before the API server's log has all of them.
      const all = async () => {
        const found = livesOf((await creations(node)).slice(earlier));
        return found.length === PODS ? found : undefined;
      };
      const lives = await eventually(`${PODS} pods with a node`, all, { timeoutMs: HUNG_MS, intervalMs: 1_000 });
      await text('rollout', 'status', `deployment/${name}`, '--timeout=0s');
      t.diagnostic(`${name}: ${PODS} pods ready after ${((performance.now() - began) / 1_000).toFixed(1)} s`);
      return lives;
    };

    if (HAS_YARDSTICK) {
      // What Kubernetes' own scheduler takes to notice a pod and to act, on the same machine in the same state.
      const plain = await scale('plain');
      t.diagnostic(`plain: from a pod to its node:   ${spread(plain.map(({ bound, created }) => bound - created))}`);
      await text('scale', 'deployment/plain', '--replicas=0');
      await text('wait', '--for=delete', 'pod', '--selector=app=plain', '--timeout=-1s');
    }

    const lives = await scale('web');
    t.diagnostic(`web:   from a pod to its Secret: ${spread(lives.map(({ created, issued }) => issued - created))}`);
    t.diagnostic(`web:   from there to its node:   ${spread(lives.map(({ bound, issued }) => bound - issued))}`);
    assert.deepEqual(
      // Negated, so that a missing time (NaN) fails too.
      lives.filter(({ bound, issued }) => !(issued < bound)),
      [],
      'no pod had a node before it had a Secret',
    );
    const failed = await failedMounts(node);
    const others = failed.filter(({ isSecretMissing }) => !isSecretMissing);
    t.diagnostic(
      `FailedMount Events for other reasons than a missing Secret: ${others.length} ${others[0]?.message ?? ''}`,
    );
    assert.deepEqual(
      failed.filter(({ isSecretMissing }) => isSecretMissing),
      [],
    );
  });
});

interface Life {
  /** When the API server answered, in seconds; `issued` is NaN for a pod that never had a Secret. */
  readonly created: number;
  readonly issued: number;
  readonly bound: number;
}

/** One for each pod that has a node. */
function livesOf(requests: readonly AuditEvent[]): readonly Life[] {
  const times = (resource: string, subresource?: string) =>
    new Map(
      requests
        .filter(({ objectRef }) => objectRef?.resource === resource && objectRef.subresource === subresource)
        .map((request) => [request.objectRef?.name ?? '', answeredAt(request)]),
    );
  const [issued, bound] = [times('secrets'), times('pods', 'binding')];
  return requests.flatMap((request) => {
    const { metadata } = (request.responseObject ?? {}) as StoredPod;
    const boundAt = bound.get(metadata?.name ?? '');
    if (boundAt === undefined) return [];
    const secret = metadata?.annotations?.['secret.dcred.dev/web'] ?? '';
    return [{ created: answeredAt(request), issued: issued.get(secret) ?? Number.NaN, bound: boundAt }];
  });
}

function spread(seconds: readonly number[]): string {
  const sorted = seconds.toSorted((a, b) => a - b);
  const at = (share: number) =>
    `${((sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN) * 1_000).toFixed(0)} ms`;
  return `p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}, max ${at(1)}`;
}
