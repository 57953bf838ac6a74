/** Two replicas whose certificate is replaced several times while pods are created: none is refused, with failurePolicy Fail. */
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

/** For the API server to load a bundle, on a busy machine too. */
const TRUST_DELAY_MS = 5_000;
const ROTATIONS = 3;
const WORKERS = 8;
const DAMAGE = JSON.stringify({ data: { 'tls.crt': Buffer.from('garbage').toString('base64') } });

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

test('certificates are replaced several times, and every pod is admitted and injected', async (t) => {
  const [first, second] = [await startReplica(), await startReplica()];
  await pointAt(cluster, first.webhook.port, 'Fail');
  await eventually('both to be ready', async () =>
    first.webhook.problem === undefined && second.webhook.problem === undefined ? true : undefined,
  );
  let rotating = true;
  const names = new Set<string>();
  let admitted = 0;
  const createPods = async (worker: number): Promise<void> => {
    for (let number = 0; rotating; number += 1) {
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
  // The API server keeps its connection, on which it never sees a new certificate: switching replicas makes it connect again.
  const switchOver = async (): Promise<void> => {
    for (let number = 1; rotating; number += 1) {
      await pause(1_500);
      await pointAt(cluster, [first, second][number % 2]?.webhook.port ?? 0, 'Fail');
    }
  };
  const count = (replica: Replica, message: string) =>
    replica.log.lines.filter((line) => line.message === message).length;
  const served = () => [first, second].map((replica) => count(replica, 'serving a certificate'));
  // A certificate that cannot be parsed is due at once, like one that is old enough: the test need not wait for one to age.
  const rotate = async (): Promise<void> => {
    for (let rotation = 1; rotation <= ROTATIONS; rotation += 1) {
      await cluster.plane.kubectl(['patch', 'secret', CERT_SECRET, '-n', SYSTEM, '--type=merge', '-p', DAMAGE]);
      await eventually(`both replicas to serve certificate ${rotation + 1}`, async () =>
        served().every((times) => times > rotation) ? true : undefined,
      );
    }
    rotating = false;
  };
  const stopOnError = (error: unknown): never => {
    rotating = false;
    throw error;
  };
  const load = [switchOver(), ...Array.from({ length: WORKERS }, (_, worker) => createPods(worker))];
  await Promise.all([rotate(), ...load].map((task) => task.catch(stopOnError)));
  const issued = count(first, 'issued a serving certificate') + count(second, 'issued a serving certificate');
  t.diagnostic(`${admitted} pods admitted, ${issued} certificates issued, served in turn: ${served().join(' and ')}`);
  assert.equal(names.size, admitted, 'no two pods share a name');
  assert.ok(!names.has('none'));
  assert.ok(issued > ROTATIONS);
  for (const { log } of replicas)
    assert.deepEqual(
      log.lines.filter(({ level }) => level === 'error' || level === 'warn'),
      [],
    );
});

test('the webhook backs off from a client that keeps removing the CA, and restores it once the client stops', async () => {
  const [replica] = replicas;
  assert.ok(replica);
  const backedOff = () => replica.log.lines.some(({ message }) => /keeps changing the caBundle/.test(message));
  const removal = JSON.stringify([{ op: 'remove', path: '/webhooks/0/clientConfig/caBundle' }]);
  await eventually('the webhook to back off', async () => {
    // Fails where there is nothing to remove: the webhook has not written again yet.
    await cluster.plane
      .kubectl(['patch', 'mutatingwebhookconfiguration', CONFIGURATION, '--type=json', '-p', removal])
      .catch(() => {});
    return backedOff() || undefined;
  });
  await eventually('the CA to be trusted again', async () =>
    replica.webhook.problem === undefined ? true : undefined,
  );
});
