/** From the request that creates a pod to its Secret being readable, at an even pace of pods. */
import { setTimeout as delay } from 'node:timers/promises';
import { dcred, startContender } from './lib/contender.ts';
import { Observer } from './lib/observer.ts';
import { keep, percentile, row } from './lib/results.ts';
import { Stage } from './lib/stage.ts';

const RATES = [50, 200];
const SECONDS = Number(process.env['DCRED_BENCH_SECONDS'] ?? 15);

await using stage = await Stage.build();
await stage.createResource();
const running = await startContender(dcred('dcred', stage.cluster.operatorKubeconfig), stage.namespace);
using observer = Observer.start(stage.api, stage.namespace, 'web-web-');
const results: { readonly perSecond: number; readonly milliseconds: readonly number[] }[] = [];
let pods = 0;
for (const perSecond of RATES) {
  observer.restart();
  const first = pods;
  const sentMs: number[] = [];
  const requests: Promise<void>[] = [];
  const started = performance.now();
  // Without waiting for the ones before: a queue then shows as latency, not as fewer pods.
  for (let number = 0; number < perSecond * SECONDS; number += 1) {
    const waitMs = started + (number * 1000) / perSecond - performance.now();
    if (waitMs > 1) await delay(waitMs);
    sentMs.push(performance.now());
    requests.push(stage.createPod(first + number));
  }
  await Promise.all(requests);
  await observer.until(sentMs.length);
  pods += sentMs.length;
  const seen = observer.seenMs;
  const milliseconds = sentMs.map((sent, number) => (seen.get(`web-web-${first + number}`) ?? Number.NaN) - sent);
  const at = (share: number) => percentile(milliseconds, share).toFixed(0);
  const figures = `p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)} (${pods - first} pods)`;
  row(`pod to Secret at ${perSecond} pods/s, ms`, figures);
  results.push({ perSecond, milliseconds });
}
await running.stop();
await keep('latency', { results });
