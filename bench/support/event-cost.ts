/**
 * One measurement, in a separate process: the operator of one checkout over a fake API, with a fleet of a given size; then events
 * one at a time, each with the status update a second later. Prints microseconds an event as JSON.
 *
 *     node --expose-gc event-cost.ts CHECKOUT pods|resources COUNT
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Operator as OperatorType } from '../../src/operator/operator.ts';
import { delegation } from '../../testing/support/builders.ts';
import { FakeApi, issuedMetadata } from '../../testing/support/fake-api.ts';
import { FakeClock, settle } from '../../testing/support/fake-clock.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';

const [, , checkout = '', shape = 'pods', size = '1000'] = process.argv;
const COUNT = Number(size);
/** In a large fleet a few are enough to measure, and some versions of the operator take too long for more. */
const EVENTS = COUNT > 20_000 ? 4 : 20;
const LIFETIME = 172_800;
const NAMESPACE = 'edge';

const authority = delegation();
const clock = new FakeClock((authority.certificate.notBefore + 1_000) * 1000);
const api = new FakeApi();
const operatorModule = await import(join(checkout, 'src/operator/operator.ts'));
const metricsFile = join(checkout, 'src/operator/reporting/metrics.ts');
/** An older checkout has no such folder. */
const olderMetricsFile = join(checkout, 'src/operator/metrics.ts');
const metricsModule = await import(existsSync(metricsFile) ? metricsFile : olderMetricsFile);

/** Of the pod with this number. */
function resourceOf(index: number): string {
  return shape === 'pods' ? 'web' : `r${index}`;
}

function putPod(index: number, labels: Readonly<Record<string, string>> = {}): void {
  const name = `web-7c5ddbdf54-${index}`;
  api.put('pods', {
    metadata: {
      name,
      namespace: NAMESPACE,
      uid: `0d3f5a2e-6a0b-4d63-9a0e-${String(index).padStart(12, '0')}`,
      labels: { app: resourceOf(index), 'pod-template-hash': '7c5ddbdf54', ...labels },
    },
  });
}

function putSecret(index: number, foreign: Readonly<Record<string, string>> = {}): void {
  const pod = { name: `web-7c5ddbdf54-${index}`, uid: `0d3f5a2e-6a0b-4d63-9a0e-${String(index).padStart(12, '0')}` };
  const issuedAt = Math.floor(clock.now() / 1000) - (index % 10_000);
  const secret = issuedMetadata({
    namespace: NAMESPACE,
    resourceName: resourceOf(index),
    pod,
    certificate: authority.certificate,
    issuedAt,
    expiresAt: issuedAt + LIFETIME,
    renewAt: issuedAt + LIFETIME / 2,
  });
  api.put('secrets', { metadata: { ...secret.metadata, labels: { ...secret.metadata.labels, ...foreign } } });
}

function putResource(name: string, labels: Readonly<Record<string, string>> = {}): void {
  const found = api.find('delegatedcredentials', NAMESPACE, name);
  const status = found === undefined ? {} : { status: found['status' as never] };
  api.put('delegatedcredentials', {
    apiVersion: 'dcred.dev/v1alpha1',
    kind: 'DelegatedCredential',
    metadata: { name, namespace: NAMESPACE, uid: `uid-of-${name}`, generation: 1, labels },
    spec: {
      certificateRef: { name: 'web-tls' },
      podSelector: { matchLabels: { app: name } },
      lifetimeSeconds: LIFETIME,
    },
    ...status,
  } as never);
}

/** Everything that is due within the next second is done. */
async function second(): Promise<void> {
  await clock.advanceAsync(1_000);
  for (let turn = 0; turn < 4; turn += 1) await settle();
}

/** CPU time, which does not grow with the load of the machine. */
function cpuMicroseconds(): number {
  const { system, user } = process.cpuUsage();
  return system + user;
}

/** Microseconds of one event and what follows from it, without what an idle second costs. */
async function cost(act: (round: number) => void): Promise<number> {
  const rounds = async (body: (round: number) => void): Promise<number> => {
    const started = cpuMicroseconds();
    for (let round = 0; round < EVENTS; round += 1) {
      body(round);
      await second();
    }
    return cpuMicroseconds() - started;
  };
  await rounds(act);
  const idle = await rounds(() => {});
  const busy = await rounds(act);
  return Math.max(0, (busy - idle) / EVENTS);
}

api.put('secrets', {
  metadata: { name: 'web-tls', namespace: NAMESPACE, uid: 'uid-of-web-tls' },
  type: 'kubernetes.io/tls',
  data: {
    'tls.crt': Buffer.from(authority.chainPem).toString('base64'),
    'tls.key': Buffer.from(authority.keyPem).toString('base64'),
  },
} as never);
for (let index = 0; index < COUNT; index += 1) {
  putPod(index);
  putSecret(index);
}
if (shape === 'pods') putResource('web');
else for (let index = 0; index < COUNT; index += 1) putResource(`r${index}`);

const metrics = new metricsModule.OperatorMetrics('bench');
const operator: OperatorType = new operatorModule.Operator({
  client: api,
  namespaces: [],
  workers: 16,
  notifyPods: true,
  elector: undefined,
  metrics,
  clock,
  random: Math.random,
  log: recordingLogger(),
  instance: 'bench',
  namespace: 'dcred-system',
});
const stop = new AbortController();
const started = cpuMicroseconds();
const ended = operator.run(stop.signal);
await operator.settled();
for (let quiet = 0; quiet < 3; ) {
  const before = api.writes;
  for (let seconds = 0; seconds < 6; seconds += 1) await second();
  quiet = api.writes === before ? quiet + 1 : 0;
}
const startMs = (cpuMicroseconds() - started) / 1000;

let [pods, resources] = [0, 0];
const middle = Math.floor(COUNT / 2);
const results: Record<string, number> = { startMs };
results['podTouched'] = await cost(() => putPod(middle));
results['podChanged'] = await cost((round) => putPod(middle, { round: String(round) }));
results['secretChanged'] = await cost((round) => putSecret(middle, { round: String(round) }));
results['resourceChanged'] = await cost((round) => putResource(resourceOf(middle), { round: String(round) }));
results['resourceAdded'] = await cost(() => putResource(`new-${resources++}`));
const writesBefore = api.writes;
results['podIssued'] = await cost(() => putPod(COUNT + pods++, { app: resourceOf(middle) }));
results['writes'] = api.writes - writesBefore;
// The cost of a whole scrape, and the longest time for which it blocks everything else.
const delay = monitorEventLoopDelay({ resolution: 1 });
await metrics.registry.metrics();
delay.enable();
const scraping = cpuMicroseconds();
const text: string = await metrics.registry.metrics();
results['scrape'] = cpuMicroseconds() - scraping;
await settle();
delay.disable();
results['scrapeBlocks'] = delay.max / 1000;
results['scrapeBytes'] = text.length;
globalThis.gc?.();
results['heapMB'] = process.memoryUsage().heapUsed / 1e6;
stop.abort();
await clock.advanceAsync(10_000);
await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 2_000))]);
process.stdout.write(`${JSON.stringify(results)}\n`);
process.exit(0);
