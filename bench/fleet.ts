/** The operator's memory as its fleet grows and after all of it was re-issued once, and what a restart costs then. */
import { setTimeout as delay } from 'node:timers/promises';
import { dcred, startContender, sumOf } from './lib/contender.ts';
import { Observer } from './lib/observer.ts';
import { memoryOf, usageOf } from './lib/process-usage.ts';
import { keep, row } from './lib/results.ts';
import { Stage } from './lib/stage.ts';

const LARGEST = Number(process.env['DCRED_BENCH_FLEET'] ?? process.env['DCRED_BENCH_PODS'] ?? 10_000);
const SIZES = [LARGEST / 10, LARGEST].map(Math.round);
const SETTLE_MS = 5_000;

interface Result {
  readonly pods: number;
  readonly rssMb: number;
  readonly peakMb: number;
  readonly heapUsedMb: number;
  readonly restart: { readonly syncedMs: number; readonly cpuSeconds: number; readonly reissued: number };
}

await using stage = await Stage.build();
const contender = dcred('dcred', stage.cluster.operatorKubeconfig);
await stage.createResource();
const results: Result[] = [];
let pods = 0;
for (const size of SIZES) {
  await stage.createPods(pods, size);
  using observer = Observer.start(stage.api, stage.namespace, 'web-web-');
  const running = await startContender(contender, stage.namespace);
  await observer.until(size);
  await delay(SETTLE_MS);
  observer.restart();
  await stage.putCertificate();
  await observer.until(size);
  await delay(SETTLE_MS);
  const { peakMb, rssMb } = await memoryOf(running.pid);
  const heap = (await running.metrics()).get('nodejs_heap_size_used_bytes') ?? 0;
  await running.stop();
  const again = await startContender(contender, stage.namespace);
  await delay(SETTLE_MS);
  const restart = {
    syncedMs: again.syncedMs,
    cpuSeconds: (await usageOf(again.pid)).cpuSeconds,
    reissued: sumOf(await again.metrics(), 'dcred_credentials_issued_total'),
  };
  await again.stop();
  results.push({ pods: size, rssMb, peakMb, heapUsedMb: heap / 2 ** 20, restart });
  pods = size;
  row(`${size} pods, all re-issued once: resident memory, MB`, `${rssMb.toFixed(0)}, at its peak ${peakMb.toFixed(0)}`);
  row(`${size} pods: JavaScript heap in use, MB`, (heap / 2 ** 20).toFixed(0));
  row(`${size} pods: restart, process to caches synced, ms`, restart.syncedMs.toFixed(0));
  row(`${size} pods: re-issued after the restart`, String(restart.reissued));
}
await keep('fleet', { results });
