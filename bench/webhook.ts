/**
 * The webhook under load, with a real API server: pods at an even 200 a second, with the label and, for comparison, without. What
 * the API server waits for the webhook comes from its own metrics, whose finest step is 5 ms; the difference between the two runs
 * says the same from outside.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { PODS } from '../src/kubernetes/resource-type.ts';
import { type Cluster, startCluster } from '../testing/cluster/cluster.ts';
import { pointAt, startWebhook } from '../testing/cluster/webhook-process.ts';

const PER_SECOND = Number(process.env['DCRED_BENCH_ADMISSIONS'] ?? 200);
const SECONDS = Number(process.env['DCRED_BENCH_SECONDS'] ?? 15);

const SERVER_SERIES =
  /^apiserver_admission_webhook_admission_duration_seconds_bucket\{.*name="inject\.dcred\.dev".*le="([^"]+)".*\} (\d+)$/gm;
const WEBHOOK_SERIES = /^dcred_admission_duration_seconds_bucket\{le="([^"]+)",outcome="injected"\} (\d+)$/gm;

type Histogram = ReadonlyMap<number, number>;

const say = (text: string) => process.stdout.write(`${text}\n`);

function histogram(text: string, series: RegExp): Histogram {
  const buckets = new Map<number, number>();
  for (const [, le = '', count = ''] of text.matchAll(series)) {
    const bound = le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le);
    buckets.set(bound, (buckets.get(bound) ?? 0) + Number(count));
  }
  return buckets;
}

/** What happened between two scrapes, as shares: `99.8 % within 5 ms`. */
function shares(before: Histogram, after: Histogram): string {
  const total = (after.get(Number.POSITIVE_INFINITY) ?? 0) - (before.get(Number.POSITIVE_INFINITY) ?? 0);
  const parts = [...after].flatMap(([bound, count]) => {
    const share = (100 * (count - (before.get(bound) ?? 0))) / total;
    return share < 50 || !Number.isFinite(bound) || bound > 0.1
      ? []
      : [`${share.toFixed(2)} % within ${bound * 1000} ms`];
  });
  return `${parts.join(', ')} (${total} admissions)`;
}

function percentiles(milliseconds: readonly number[]): string {
  const sorted = milliseconds.toSorted((a, b) => a - b);
  const at = (share: number) =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);
  return `p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`;
}

/** At an even pace, without waiting for the ones before: a queue then shows as latency, not as fewer pods. */
async function createPods({ client, signal }: Cluster, prefix: string, labels: Readonly<Record<string, string>>) {
  const milliseconds: number[] = [];
  let failed = 0;
  const createOne = async (number: number): Promise<void> => {
    const started = performance.now();
    const metadata = { namespace: 'default', name: `${prefix}-${number}`, labels };
    const spec = { automountServiceAccountToken: false, containers: [{ name: 'main', image: 'localhost/none' }] };
    try {
      await client.create(PODS, { metadata, spec } as never, { signal });
      milliseconds.push(performance.now() - started);
    } catch {
      failed += 1;
    }
  };
  const all: Promise<void>[] = [];
  const started = performance.now();
  for (let number = 0; number < PER_SECOND * SECONDS; number += 1) {
    const waitMs = started + (number * 1000) / PER_SECOND - performance.now();
    if (waitMs > 1) await delay(waitMs);
    all.push(createOne(number));
  }
  await Promise.all(all);
  const rate = milliseconds.length / ((performance.now() - started) / 1000);
  return { text: `${rate.toFixed(0)}/s, ${failed} failed, ${percentiles(milliseconds)}` };
}

const cluster = await startCluster({ webhook: true });
const webhook = await startWebhook(cluster, ['--log-level=info']);
const look = async () => ({
  server: histogram((await cluster.plane.kubectl(['get', '--raw', '/metrics'])).stdout, SERVER_SERIES),
  webhook: histogram(await webhook.metrics(), WEBHOOK_SERIES),
});
try {
  await pointAt(cluster, webhook.port);
  await webhook.ready();
  const labels = { 'dcred.dev/inject': 'web' };
  await createPods(cluster, 'warm', labels);
  const before = await look();
  const injected = await createPods(cluster, 'injected', labels);
  const after = await look();
  const plain = await createPods(cluster, 'plain', {});
  say(`a pod with the label, as its creator sees it:    ${injected.text}`);
  say(`a pod without:                                   ${plain.text}`);
  say(`what the API server waits for the webhook:       ${shares(before.server, after.server)}`);
  say(`what the webhook takes by its own clock:         ${shares(before.webhook, after.webhook)}`);
} finally {
  await webhook.stop();
  await cluster[Symbol.asyncDispose]();
}
