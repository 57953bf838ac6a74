import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { PAUSE_IMAGE } from '../node/components.ts';
import type { Node } from '../node/node.ts';
import { createTestAuthority } from '../support/certificates.ts';
import { type AuditedRequest, AuditLog, answeredAt } from './audit.ts';
import { credentialObjects, SHOP, startNodeWithDcred } from './installation.ts';
import { whyNoNode } from './requirements.ts';
import { deployment, list, podSpec } from './workloads.ts';

/** A node takes 110 pods, and dcred's own four are among them. */
const PODS = 100;

describe('a Deployment that is scaled from none to a hundred', { skip: await whyNoNode() }, () => {
  let directory: string;
  let audit: AuditLog;
  let node: Node;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'dcred-scale-'));
    audit = await AuditLog.create(directory, SHOP);
    node = await startNodeWithDcred({ extraArgs: { 'kube-apiserver': audit.args } });
  });
  after(async () => {
    await node?.stop();
    await rm(directory, { recursive: true });
  });

  test('the Secret of each pod is there before the kubelet asks for it', async (t: TestContext) => {
    const apply = (input: string) => node.plane.kubectl(['apply', '--namespace', SHOP, '-f', '-'], { input });
    const text = async (...words: readonly string[]) =>
      (await node.plane.kubectl(['--namespace', SHOP, ...words], { timeoutMs: 700_000 })).stdout.trim();
    await apply(credentialObjects('web', await (await createTestAuthority()).issue()));
    const idle = podSpec({ name: 'idle', image: PAUSE_IMAGE });
    await apply(list(deployment('web', 0, idle, { 'dcred.dev/inject': 'web' })));

    const began = performance.now();
    await text('scale', 'deployment/web', `--replicas=${PODS}`);
    await text('rollout', 'status', 'deployment/web', '--timeout=600s');
    t.diagnostic(`${PODS} pods ready after ${((performance.now() - began) / 1_000).toFixed(1)} s`);

    const lives = livesOf(await audit.read());
    assert.equal(lives.length, PODS);
    t.diagnostic(
      `from a pod's creation to its Secret: ${spread(lives.map(({ created, issued }) => issued - created))}`,
    );
    t.diagnostic(`from there to its node:              ${spread(lives.map(({ bound, issued }) => bound - issued))}`);
    assert.deepEqual(
      // So that a time which is not there counts too.
      lives.filter(({ bound, issued }) => !(issued < bound)),
      [],
      'no pod had a node before it had a Secret',
    );
    const messages = 'jsonpath={range .items[*]}{.message}{"\\n"}{end}';
    const failed = (await text('get', 'events', '--field-selector=reason=FailedMount', '--output', messages)).split(
      '\n',
    );
    // A kubelet also waits for its own watches, when a hundred pods come at once, and says so in the same Event.
    t.diagnostic(`mounts for which the kubelet had to wait for its own cache: ${failed.filter(isSync).length}`);
    assert.deepEqual(
      failed.filter((line) => line !== '' && !isSync(line)),
      [],
    );
  });
});

const isSync = (line: string) => / sync /.test(line);

interface Life {
  readonly pod: string;
  /** When the API server had answered, in seconds. */
  readonly created: number;
  readonly issued: number;
  readonly bound: number;
}

function livesOf(requests: readonly AuditedRequest[]): readonly Life[] {
  const times = (resource: string, subresource?: string) =>
    new Map(
      requests
        .filter(({ objectRef }) => objectRef.resource === resource && objectRef.subresource === subresource)
        .map((request) => [request.objectRef.name ?? '', answeredAt(request)]),
    );
  const [issued, bound] = [times('secrets'), times('pods', 'binding')];
  return requests.flatMap((request) => {
    const { metadata } = request.responseObject ?? {};
    const secret = metadata?.annotations?.['secret.dcred.dev/web'];
    if (metadata?.name === undefined || secret === undefined) return [];
    const { name: pod } = metadata;
    const never = Number.NaN;
    return [{ pod, created: answeredAt(request), issued: issued.get(secret) ?? never, bound: bound.get(pod) ?? never }];
  });
}

function spread(seconds: readonly number[]): string {
  const sorted = seconds.toSorted((a, b) => a - b);
  const at = (share: number) =>
    `${((sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN) * 1_000).toFixed(0)} ms`;
  return `p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}, max ${at(1)}`;
}
