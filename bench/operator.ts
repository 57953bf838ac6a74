/** How long the operator takes to start, and what it takes when there is nothing to do. */
import { setTimeout as delay } from 'node:timers/promises';
import { dcred, startContender } from './lib/contender.ts';
import { memoryOf } from './lib/process-usage.ts';
import { keep, row, spread } from './lib/results.ts';
import { Stage } from './lib/stage.ts';

const STARTS = 5;

await using stage = await Stage.build();
const contender = dcred('dcred', stage.cluster.operatorKubeconfig);
const syncedMs: number[] = [];
const idleMb: number[] = [];
for (let round = 0; round < STARTS; round += 1) {
  const running = await startContender(contender, stage.namespace);
  syncedMs.push(running.syncedMs);
  await delay(5_000);
  idleMb.push((await memoryOf(running.pid)).rssMb);
  await running.stop();
}
row('start: process to caches synced, empty cluster, ms', spread(syncedMs));
row('idle: resident memory after 5 s, MB', spread(idleMb));
await keep('operator', { syncedMs, idleMb });
