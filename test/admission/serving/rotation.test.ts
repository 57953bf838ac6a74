/** Certificates that live for seconds, two replicas, and pods all the while: not one is refused, though the webhook may refuse all. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { WebhookMetrics } from '../../../src/admission/metrics.ts';
import { Webhook } from '../../../src/admission/webhook.ts';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import { systemClock } from '../../../src/kubernetes/clock.ts';
import type { KubernetesObject } from '../../../src/kubernetes/objects.ts';
import { PODS } from '../../../src/kubernetes/resource-type.ts';
import { type Cluster, startCluster } from '../../../testing/cluster/cluster.ts';
import { CERT_SECRET, CONFIGURATION, pointAt, SYSTEM } from '../../../testing/cluster/webhook-process.ts';
import { eventually } from '../../../testing/support/processes.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';
import { clientFor } from '../../kubernetes/clients.ts';

const LIFETIME_MS = 9_000;
const TRUST_DELAY_MS = 1_000;
const LOAD_MS = 20_000;
const WORKERS = 8;

interface Replica {
  readonly webhook: Webhook;
  readonly log: ReturnType<typeof recordingLogger>;
  readonly client: ApiClient;
  stop(): Promise<void>;
}

let cluster: Cluster;
const replicas: Replica[] = [];

before(async () => {
  cluster = await startCluster({ controllerManager: true, webhook: true });
});
after(async () => {
  await Promise.all(replicas.map((replica) => replica.stop()));
  await cluster?.[Symbol.asyncDispose]();
});

async function startReplica(): Promise<Replica> {
  const serviceAccount = { namespace: SYSTEM, name: 'dcred-webhook' };
  const client = await clientFor(await cluster.plane.kubeconfigFor({ serviceAccount }));
  const log = recordingLogger();
  const webhook = new Webhook({
    client,
    address: { host: '127.0.0.1', port: 0 },
    secret: { namespace: SYSTEM, name: CERT_SECRET },
    configuration: CONFIGURATION,
    names: ['127.0.0.1'],
    metrics: new WebhookMetrics('test'),
    clock: systemClock,
    random: Math.random,
    randomBytes,
    log,
    shutdownDelayMs: 0,
    lifetimeMs: LIFETIME_MS,
    trustDelayMs: TRUST_DELAY_MS,
  });
  await webhook.listen();
  const ending = new AbortController();
  const running = webhook.run(ending.signal);
  const replica: Replica = {
    webhook,
    log,
    client,
    stop: async () => {
      ending.abort();
      await running;
      await client.close();
    },
  };
  replicas.push(replica);
  await eventually('a replica to serve', async () =>
    log.lines.some(({ message }) => message === 'serving a certificate') ? true : undefined,
  );
  return replica;
}

test('certificates are replaced again and again, and every pod is admitted and injected', async (t) => {
  const [first, second] = [await startReplica(), await startReplica()];
  await pointAt(cluster, first.webhook.port, 'Fail');
  await eventually('both to be ready', async () =>
    first.webhook.problem === undefined && second.webhook.problem === undefined ? true : undefined,
  );
  const end = performance.now() + LOAD_MS;
  const names = new Set<string>();
  let admitted = 0;
  const createPods = async (worker: number): Promise<void> => {
    for (let number = 0; performance.now() < end; number += 1) {
      const pod = {
        metadata: { namespace: 'default', name: `web-${worker}-${number}`, labels: { 'dcred.dev/inject': 'web' } },
        spec: { containers: [{ name: 'main', image: 'localhost/none' }] },
      };
      const created = await cluster.client.create<KubernetesObject>(PODS, pod, { signal: cluster.signal });
      names.add(created.metadata.annotations?.['secret.dcred.dev/web'] ?? 'none');
      admitted += 1;
      await pause(100);
    }
  };
  // The API server keeps a connection and would never see a new certificate: so the other replica is asked in between.
  const switchOver = async (): Promise<void> => {
    for (let number = 1; performance.now() < end; number += 1) {
      await pause(1_500);
      await pointAt(cluster, [first, second][number % 2]?.webhook.port ?? 0, 'Fail');
    }
  };
  await Promise.all([switchOver(), ...Array.from({ length: WORKERS }, (_, worker) => createPods(worker))]);
  const count = (replica: Replica, message: string) =>
    replica.log.lines.filter((line) => line.message === message).length;
  const issued = count(first, 'issued a serving certificate') + count(second, 'issued a serving certificate');
  const served = [first, second].map((replica) => count(replica, 'serving a certificate'));
  t.diagnostic(
    `${admitted} pods admitted, ${issued} certificates issued, served one after another: ${served.join(' and ')}`,
  );
  assert.equal(names.size, admitted, 'no two pods share a name');
  assert.ok(!names.has('none'));
  assert.ok(issued >= 3 && served.every((each) => each >= 3));
  for (const { log } of replicas)
    assert.deepEqual(
      log.lines.filter(({ level }) => level === 'error' || level === 'warn'),
      [],
    );
});
