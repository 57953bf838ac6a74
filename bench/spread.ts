/** The cost of spreading pods: 50 resources in 50 namespaces against one resource in one, in turn on as many pods. */

import { setTimeout as delay } from 'node:timers/promises';
import { dcred, startContender, sumOf } from './lib/contender.ts';
import { memoryOf, usageOf } from './lib/process-usage.ts';
import { keep, median, row, spread } from './lib/results.ts';
import { Stage } from './lib/stage.ts';

const PODS = Number(process.env['DCRED_BENCH_PODS'] ?? 1000);
const ROUNDS = Number(process.env['DCRED_BENCH_ROUNDS'] ?? 3);
const MANY = Math.min(50, PODS);
const POLL_MS = 50;

interface Figures {
  /** Credentials a second. */
  readonly rate: number;
  /** CPU seconds of the operator for 1,000 credentials. */
  readonly cpu: number;
  readonly peakMb: number;
}

await using stage = await Stage.build();
const others = await Promise.all(Array.from({ length: MANY }, () => stage.another()));
const perNamespace = Math.floor(PODS / MANY);
const pods = perNamespace * MANY;
await stage.createPods(0, pods);
for (const other of others) await other.createPods(0, perNamespace);

async function firstIssue(stages: readonly Stage[]): Promise<Figures> {
  const running = await startContender(dcred('dcred', stage.cluster.operatorKubeconfig), stage.namespace);
  const before = await usageOf(running.pid);
  const started = performance.now();
  await Promise.all(stages.map((one) => one.createResource()));
  while (sumOf(await running.metrics(), 'dcred_credentials_issued_total') < pods) await delay(POLL_MS);
  const seconds = (performance.now() - started) / 1000;
  const cpuSeconds = (await usageOf(running.pid)).cpuSeconds - before.cpuSeconds;
  const { peakMb } = await memoryOf(running.pid);
  await running.stop();
  for (const one of stages) {
    await one.deleteResource();
    await one.deleteIssuedSecrets();
  }
  return { rate: pods / seconds, cpu: (cpuSeconds * 1000) / pods, peakMb };
}

const layouts = [
  { name: 'one resource', stages: [stage], figures: [] as Figures[] },
  { name: `${MANY} resources in ${MANY} namespaces`, stages: others, figures: [] as Figures[] },
];
for (let round = 0; round < ROUNDS; round += 1) {
  for (const { figures, stages } of round % 2 === 0 ? layouts : layouts.toReversed()) {
    figures.push(await firstIssue(stages));
  }
}
for (const { figures, name } of layouts) {
  row(`${pods} pods of ${name}: credentials a second`, spread(figures.map(({ rate }) => rate)));
  row(
    `${pods} pods of ${name}: CPU seconds for 1,000`,
    spread(
      figures.map(({ cpu }) => cpu),
      2,
    ),
  );
  row(`${pods} pods of ${name}: peak memory, MB`, spread(figures.map(({ peakMb }) => peakMb)));
}
const [one, many] = layouts.map(({ figures }) => median(figures.map(({ rate }) => rate)));
row(`the rate of ${MANY} against that of one`, ((many ?? 0) / (one ?? 1)).toFixed(2));
await keep('spread', { pods, layouts: layouts.map(({ figures, name }) => ({ name, figures })) });
