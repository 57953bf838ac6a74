/**
 * Many resources of one pod each, on a real API server, with the heap and the memory limit that the chart gives the operator: whether
 * all are served, and what it takes. 200 resources unless DCRED_BENCH_RESOURCES says more; the limit is checked, time is reported.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DELEGATED_CREDENTIALS } from '../src/api/resource-types.ts';
import { listAll } from '../src/kubernetes/client/list-all.ts';
import { PODS, SECRETS } from '../src/kubernetes/resource-type.ts';
import { type Cluster, startCluster } from '../testing/cluster/cluster.ts';
import { type OperatorProcess, startOperator } from '../testing/cluster/operator-process.ts';
import { createTestAuthority } from '../testing/support/certificates.ts';
import { memoryOf } from './lib/process-usage.ts';
import { row } from './lib/results.ts';

const RESOURCES = Number(process.env['DCRED_BENCH_RESOURCES'] ?? 200);
const PER_NAMESPACE = 100;
const AT_ONCE = 16;
/** As the chart's deployment sets them for its default limit of 256 MiB. */
const CHART_HEAP = '--max-old-space-size=128 --max-semi-space-size=4';
const LIMIT_MB = 256;
/** As often as an impatient Prometheus. */
const SCRAPE_MS = 5_000;

async function inParallel(count: number, act: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) await act(index);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

async function populate(cluster: Cluster): Promise<readonly string[]> {
  const authority = await createTestAuthority();
  const namespaces: string[] = [];
  for (let index = 0; index < Math.ceil(RESOURCES / PER_NAMESPACE); index += 1) {
    const namespace = await cluster.namespace(`team-${index}`);
    await cluster.putCertificate(namespace, 'web-tls', await authority.issue());
    namespaces.push(namespace);
  }
  const { client, signal } = cluster;
  await inParallel(RESOURCES, async (index) => {
    const namespace = namespaces[Math.floor(index / PER_NAMESPACE)] ?? '';
    const name = `r${index}`;
    const metadata = { namespace, name, labels: { app: name } };
    const spec = { certificateRef: { name: 'web-tls' }, podSelector: { matchLabels: { app: name } } };
    const containers = [{ name: 'web', image: 'example.test/web' }];
    await client.create(PODS, { metadata, spec: { containers } } as never, { signal, metadataOnly: true });
    await client.create(DELEGATED_CREDENTIALS, { metadata, spec } as never, { signal, metadataOnly: true });
  });
  return namespaces;
}

async function ready(operator: OperatorProcess): Promise<number> {
  const text = await operator.metrics();
  return text.split('\n').filter((line) => line.startsWith('dcred_ready{') && line.endsWith(' 1')).length;
}

async function watches(cluster: Cluster): Promise<number> {
  const { stdout } = await cluster.plane.kubectl(['get', '--raw', '/metrics']);
  const lines = stdout.split('\n').filter((line) => /^apiserver_longrunning_requests\{.*verb="WATCH"/.test(line));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

await using cluster = await startCluster();
await populate(cluster);
const watchesBefore = await watches(cluster);
const env = { NODE_OPTIONS: CHART_HEAP };
const started = performance.now();
await using operator = await startOperator({
  kubeconfig: cluster.operatorKubeconfig,
  logLevel: 'info',
  env,
  main: join(import.meta.dirname, '..', 'dist', 'app', 'dcred.mjs'),
});
while ((await ready(operator)) < RESOURCES) {
  if (operator.exitCode !== null)
    throw new Error(`the operator ended with status ${operator.exitCode}:\n${operator.log.slice(-2_000)}`);
  await delay(SCRAPE_MS);
}
row(`${RESOURCES} resources of one pod each: served after`, `${((performance.now() - started) / 1000).toFixed(1)} s`);
const selection = { labelSelector: 'app.kubernetes.io/managed-by=dcred', metadataOnly: true };
const issued = await listAll(cluster.client, SECRETS, selection, cluster.signal);
row('issued Secrets', String(issued.length));
const { peakMb, rssMb } = await memoryOf(operator.pid);
row('resident memory now; at its highest', `${rssMb.toFixed(0)} MB; ${peakMb.toFixed(0)} MB (limit ${LIMIT_MB} MB)`);
row('watches of the operator', String((await watches(cluster)) - watchesBefore));
const scraped = performance.now();
row(
  'a scrape',
  `${((await operator.metrics()).length / 1e6).toFixed(1)} MB in ${(performance.now() - scraped).toFixed(0)} ms`,
);
if (issued.length !== RESOURCES || peakMb > LIMIT_MB) process.exitCode = 1;
