/**
 * How fast the operator starts, how much memory it takes, and how fast it issues, against a bare loop that only writes Secrets of
 * the same size. Every comparison is a ratio of one run: machines differ, and so do their days.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'undici';
import { loadConnection } from '../src/kubernetes/connection/load-connection.ts';
import { type Cluster, startCluster } from '../testing/cluster/cluster.ts';
import { createTestAuthority } from '../testing/support/certificates.ts';
import { endChild } from '../testing/support/processes.ts';

const BUNDLE = join(import.meta.dirname, '..', 'dist', 'dcred.js');
const STARTS = 5;
const PODS = Number(process.env['DCRED_BENCH_PODS'] ?? 1000);
const CONNECTIONS = 32;

interface Running {
  readonly child: ChildProcess;
  /** From the start of the process to its caches being filled. */
  readonly syncedMs: number;
}

async function startOperator(cluster: Cluster, workers: number): Promise<Running> {
  const args = [
    'operator',
    `--kubeconfig=${cluster.operatorKubeconfig}`,
    '--leader-elect=false',
    `--workers=${workers}`,
  ];
  const silent = ['--metrics-bind-address=0', '--health-probe-bind-address=0'];
  const started = performance.now();
  const child = spawn(process.execPath, [BUNDLE, ...args, ...silent], { stdio: ['ignore', 'ignore', 'pipe'] });
  const { stderr } = child;
  if (stderr === null) throw new TypeError('the operator has no standard error');
  return await new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the operator ended with status ${code}`)));
    createInterface({ input: stderr }).on('line', (line) => {
      if (line.includes('"msg":"caches synced"')) resolve({ child, syncedMs: performance.now() - started });
    });
  });
}

/** Resident memory in MB; Linux only. */
async function memory({ child }: Running): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
}

async function startAndIdle(cluster: Cluster): Promise<void> {
  const starts: number[] = [];
  const idle: number[] = [];
  for (let round = 0; round < STARTS; round += 1) {
    const running = await startOperator(cluster, 16);
    starts.push(running.syncedMs);
    await delay(5_000);
    idle.push(await memory(running));
    await endChild(running.child);
  }
  row('start: process to caches synced, empty cluster', `${spread(starts)} ms`);
  row('idle: resident memory after 5 s', `${spread(idle)} MB`);
}

async function issuing(cluster: Cluster): Promise<void> {
  const namespace = await cluster.namespace();
  await cluster.putCertificate(namespace, 'web-tls', await (await createTestAuthority()).issue());
  for (let first = 0; first < PODS; first += 100) {
    await Promise.all(
      Array.from({ length: Math.min(100, PODS - first) }, (_, number) =>
        cluster.createPod(namespace, `web-${first + number}`),
      ),
    );
  }
  const bare = await bareWrites(cluster, await cluster.namespace());
  const running = await startOperator(cluster, CONNECTIONS);
  const spec = { certificateRef: { name: 'web-tls' }, podSelector: { matchLabels: { app: 'web' } } };
  const started = performance.now();
  await cluster.createResource(namespace, 'web', spec);
  await untilIssued(cluster, namespace);
  const issued = PODS / ((performance.now() - started) / 1000);
  row(`first issue of ${PODS} pods`, `${issued.toFixed(0)} Secrets/s`);
  row('the same Secrets by a bare loop of POSTs', `${bare.toFixed(0)} Secrets/s`);
  row('ratio', `${((100 * issued) / bare).toFixed(0)} %`);
  row(`memory after ${PODS} pods`, `${(await memory(running)).toFixed(0)} MB`);
  await endChild(running.child);
}

/** Counts by the last page's remainder: a whole list of Secrets each time would be the benchmark. */
async function untilIssued(cluster: Cluster, namespace: string): Promise<void> {
  for (;;) {
    const { stdout } = await cluster.plane.kubectl([
      'get',
      'dcred',
      'web',
      '-n',
      namespace,
      '-o',
      'jsonpath={.status.pods.issued}',
    ]);
    if (Number(stdout) === PODS) return;
    await delay(100);
  }
}

/** What the API server takes from a client that does nothing else. */
async function bareWrites(cluster: Cluster, namespace: string): Promise<number> {
  const connection = await loadConnection({ kubeconfig: cluster.plane.kubeconfig, env: {} });
  const { headers, tls } = await connection.credentials();
  const pool = new Pool(connection.server, { connections: CONNECTIONS, pipelining: 1, connect: { ...tls } as object });
  const content = Buffer.alloc(600, 'x').toString('base64');
  const data = Object.fromEntries(
    ['tls.crt', 'dc.key', 'dc.bin', 'dc.hex', 'dc.pem', 'fizz.pem'].map((key) => [key, content]),
  );
  let next = 0;
  const started = performance.now();
  const worker = async (): Promise<void> => {
    while (next < PODS) {
      const name = `bare-${next}`;
      next += 1;
      const body = JSON.stringify({ apiVersion: 'v1', kind: 'Secret', metadata: { name }, data });
      const { body: answer, statusCode } = await pool.request({
        method: 'POST',
        path: `/api/v1/namespaces/${namespace}/secrets`,
        headers: { ...headers, 'content-type': 'application/json' },
        body,
      });
      await answer.dump();
      if (statusCode !== 201) throw new Error(`the API server answered ${statusCode}`);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, worker));
  const rate = PODS / ((performance.now() - started) / 1000);
  await pool.close();
  return rate;
}

function spread(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (index: number) => (sorted[index] ?? 0).toFixed(0);
  return `${at(Math.floor(sorted.length / 2))} (${at(0)} to ${at(sorted.length - 1)})`;
}

function row(what: string, figure: string): void {
  process.stdout.write(`${what.padEnd(52)} ${figure}\n`);
}

await using cluster = await startCluster();
await startAndIdle(cluster);
await issuing(cluster);
