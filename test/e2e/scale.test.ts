import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { after, before, describe, type TestContext, test } from 'node:test';
import { ensureBinaries } from '../controlplane/binaries.ts';
import { PAUSE_IMAGE } from '../node/components.ts';
import type { Node } from '../node/node.ts';
import { createTestAuthority } from '../support/certificates.ts';
import { endChild } from '../support/processes.ts';
import { credentialObjects, SHOP, startNodeWithDcred } from './installation.ts';
import { whyNoNode } from './requirements.ts';
import { deployment, list, podSpec } from './workloads.ts';

/** Two cores for the control plane, the node and a hundred starting pods: now and then one mount comes first. */
const TODO = 'where the processor is short, some Secrets come after the first try of the kubelet';

/** A node takes 110 pods, and dcred's own four are among them. */
const PODS = 100;

describe('a Deployment that is scaled from none to a hundred', { skip: await whyNoNode() }, () => {
  let node: Node;
  const watches: ChildProcess[] = [];

  before(async () => {
    node = await startNodeWithDcred();
  });
  after(async () => {
    for (const watch of watches) await endChild(watch);
    await node?.stop();
  });

  /** When each object of a kind was first seen, by the pod that it is or belongs to. */
  async function firstSeen(kind: string, podName: string): Promise<ReadonlyMap<string, number>> {
    const { kubectl } = await ensureBinaries(['kubectl']);
    const seen = new Map<string, number>();
    const output = `jsonpath={${podName}}{"\\n"}`;
    const args = [
      'get',
      kind,
      '--namespace',
      SHOP,
      '--watch',
      '--output',
      output,
      '--kubeconfig',
      node.plane.kubeconfig,
    ];
    const watch = spawn(kubectl, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    watches.push(watch);
    createInterface({ input: watch.stdout }).on('line', (name) => {
      if (name !== '' && !seen.has(name)) seen.set(name, performance.now());
    });
    return seen;
  }

  test('the Secret of each pod is there before the kubelet asks for it', { todo: TODO }, async (t: TestContext) => {
    const apply = (input: string) => node.plane.kubectl(['apply', '--namespace', SHOP, '-f', '-'], { input });
    const text = async (...words: readonly string[]) =>
      (await node.plane.kubectl(['--namespace', SHOP, ...words], { timeoutMs: 700_000 })).stdout.trim();
    await apply(credentialObjects('web', await (await createTestAuthority()).issue()));
    const idle = podSpec({ name: 'idle', image: PAUSE_IMAGE });
    await apply(list(deployment('web', 0, idle, { 'dcred.dev/inject': 'web' })));
    const pods = await firstSeen('pods', '.metadata.name');
    const secrets = await firstSeen('secrets', '.metadata.annotations.dcred\\.dev/pod-name');

    const began = performance.now();
    await text('scale', 'deployment/web', `--replicas=${PODS}`);
    await text('rollout', 'status', 'deployment/web', '--timeout=600s');
    t.diagnostic(`${PODS} pods ready after ${((performance.now() - began) / 1_000).toFixed(1)} s`);

    const issued = await text('get', 'secrets', '-l', 'dcred.dev/delegated-credential=web', '--output', 'name');
    assert.equal(issued.split('\n').length, PODS);
    const waits = [...pods].map(([name, at]) => (secrets.get(name) ?? Number.NaN) - at).filter(Number.isFinite);
    waits.sort((a, b) => a - b);
    const percentile = (share: number) => `${Math.round(waits[Math.ceil(waits.length * share) - 1] ?? Number.NaN)} ms`;
    t.diagnostic(
      `from pod to Secret, as two watches saw ${waits.length}: p50 ${percentile(0.5)}, p99 ${percentile(0.99)}`,
    );
    const messages = 'jsonpath={range .items[*]}{.message}{"\\n"}{end}';
    const failed = (await text('get', 'events', '--field-selector=reason=FailedMount', '--output', messages)).split(
      '\n',
    );
    // A hundred pods at once on a small machine: a kubelet also waits for its own watches, and says so in the same Event.
    const [missing, others] = [
      failed.filter((line) => / not found/.test(line)),
      failed.filter((line) => / sync /.test(line)),
    ];
    t.diagnostic(`mounts for which the kubelet had to wait for its own cache: ${others.length}`);
    assert.deepEqual(missing, []);
  });
});
