/**
 * How fast credentials are issued, and re-issued for a new leaf, and what that costs: dcred, the reference in Go, and a bare loop that
 * only sends the same writes take turns in one run, on the same pods. Machines differ, and so does one machine from day to day: only ratios count.
 *
 * `DCRED_BENCH_BUNDLES='a=dist-a/dcred.js,b=dist-b/dcred.js --option-of-node VARIABLE=value'` lets several builds or settings take turns.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Contender, dcred, goReference, type Running, startContender, sumOf } from './lib/contender.ts';
import { Observer } from './lib/observer.ts';
import { difference, memoryOf, usageOf } from './lib/process-usage.ts';
import { RawLoop } from './lib/raw-loop.ts';
import { keep, median, plot, row, spread } from './lib/results.ts';
import { Stage } from './lib/stage.ts';

const PODS = Number(process.env['DCRED_BENCH_PODS'] ?? 2000);
const ROUNDS = Number(process.env['DCRED_BENCH_ROUNDS'] ?? 3);
/** Watch events, status and Events that follow the last write are part of the cost. */
const SETTLE_MS = 2_500;

interface Wave {
  readonly perSecond: number;
  /** Against the bare loop of the same round. */
  readonly ratio: number;
  /** CPU of the contender, then of the API server with its etcd. This and what follows is for 1,000 credentials. */
  readonly cpuSeconds: number;
  readonly serverCpuSeconds: number;
  readonly bytes: number;
  readonly requests: number;
  readonly eventLoopP99Ms: number;
  readonly eventLoopMaxMs: number;
}

interface Result {
  readonly contender: string;
  readonly round: number;
  readonly first: Wave;
  readonly again: Wave;
  readonly peakMb: number;
}

interface Yardstick {
  readonly create: number;
  readonly replace: number;
}

async function measure(
  stage: Stage,
  running: Running,
  observer: Observer,
  rate: number,
  begin: () => Promise<void>,
): Promise<Wave> {
  const pids = [running.pid, ...stage.serverPids];
  const before = await Promise.all(pids.map(usageOf));
  const metricsBefore = await running.metrics();
  observer.restart();
  const started = performance.now();
  await begin();
  const seconds = ((await observer.until(PODS)) - started) / 1000;
  await delay(SETTLE_MS);
  const after = await Promise.all(pids.map(usageOf));
  const metrics = await running.metrics();
  const [own, ...server] = after.map((one, index) => difference(before[index] ?? one, one));
  const per1000 = (value: number) => (value * 1000) / PODS;
  const requests = sumOf(metrics, 'rest_client_requests_total') - sumOf(metricsBefore, 'rest_client_requests_total');
  return {
    perSecond: PODS / seconds,
    ratio: PODS / seconds / rate,
    cpuSeconds: per1000(own?.cpuSeconds ?? 0),
    serverCpuSeconds: per1000(server.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0)),
    bytes: per1000(own?.bytes ?? 0),
    requests: per1000(requests),
    eventLoopP99Ms: 1000 * (metrics.get('nodejs_eventloop_lag_p99_seconds') ?? 0),
    eventLoopMaxMs: 1000 * (metrics.get('nodejs_eventloop_lag_max_seconds') ?? 0),
  };
}

async function run(stage: Stage, contender: Contender, round: number, rates: Yardstick): Promise<Result> {
  // The reference begins with the certificate, dcred with its resource.
  if (contender.needsResource) await stage.putCertificate();
  else await stage.deleteCertificate();
  const prefix = 'web-web-';
  using observer = Observer.start(stage.api, stage.namespace, prefix);
  let running: Running | undefined;
  let hasResource = false;
  try {
    const begin = async () => {
      hasResource = contender.needsResource;
      if (hasResource) await stage.createResource();
      else await stage.putCertificate();
    };
    running = await startContender(contender, stage.namespace);
    const first = await measure(stage, running, observer, rates.create, begin);
    const again = await measure(stage, running, observer, rates.replace, () => stage.putCertificate());
    const { peakMb } = await memoryOf(running.pid);
    return { contender: contender.name, round, first, again, peakMb };
  } finally {
    await running?.stop();
    if (hasResource) await stage.deleteResource();
    await stage.deleteIssuedSecrets();
  }
}

async function yardstick(raw: RawLoop, stage: Stage): Promise<Yardstick> {
  const create = PODS / (await raw.create(PODS));
  const replace = PODS / (await raw.replace(PODS));
  await stage.deleteIssuedSecrets();
  return { create, replace };
}

function report(name: string, results: readonly Result[]): void {
  const wave = (what: string, waves: readonly Wave[]) => {
    const of = (field: keyof Wave, digits: number) =>
      spread(
        waves.map((one) => one[field]),
        digits,
      );
    row(`${name}: ${what}, credentials a second`, of('perSecond', 0));
    row(`${name}: ${what}, against the bare loop`, of('ratio', 2));
    row(`${name}: ${what}, CPU seconds for 1,000`, of('cpuSeconds', 2));
    row(`${name}: ${what}, CPU seconds of the API server and etcd for 1,000`, of('serverCpuSeconds', 2));
    row(
      `${name}: ${what}, KB for each`,
      spread(
        waves.map(({ bytes }) => bytes / 1e6),
        1,
      ),
    );
    if (waves.some(({ requests }) => requests > 0)) {
      row(
        `${name}: ${what}, requests for each`,
        spread(
          waves.map(({ requests }) => requests / 1000),
          2,
        ),
      );
      row(`${name}: ${what}, event loop delay p99 ms`, of('eventLoopP99Ms', 1));
      row(`${name}: ${what}, event loop delay max ms`, of('eventLoopMaxMs', 1));
    }
  };
  wave(
    'first issue',
    results.map(({ first }) => first),
  );
  wave(
    're-issue',
    results.map(({ again }) => again),
  );
  row(
    `${name}: peak memory, MB`,
    spread(
      results.map(({ peakMb }) => peakMb),
      0,
    ),
  );
}

function bundles(kubeconfig: string): readonly Contender[] {
  const named = process.env['DCRED_BENCH_BUNDLES'];
  if (named === undefined) return [dcred('dcred', kubeconfig)];
  return named.split(',').map((one) => {
    const [name = ''] = one.split('=', 1);
    const [path = '', ...options] = one.slice(name.length + 1).split(' ');
    return dcred(name, kubeconfig, path, [], options);
  });
}

await using stage = await Stage.build();
const { operatorKubeconfig } = stage.cluster;
const contenders = [...bundles(operatorKubeconfig)];
if (process.env['DCRED_BENCH_REFERENCE'] !== 'off') contenders.push(await goReference(operatorKubeconfig));
await stage.createPods(0, PODS);
await using raw = await RawLoop.prepare(stage);
await yardstick(raw, stage); // Warms up the API server.
const results: Result[] = [];
const yardsticks: Yardstick[] = [];
for (let round = 0; round < ROUNDS; round += 1) {
  const rates = await yardstick(raw, stage);
  yardsticks.push(rates);
  // A different contender comes first after the bare loop in each round.
  const turn = contenders.map((_, index) => contenders[(index + round) % contenders.length]);
  for (const contender of turn) {
    if (contender === undefined) continue;
    const result = await run(stage, contender, round, rates);
    results.push(result);
    const { again, first, peakMb } = result;
    const figures = `first ${first.ratio.toFixed(2)}, CPU ${first.cpuSeconds.toFixed(2)}; again ${again.ratio.toFixed(2)}`;
    process.stderr.write(`round ${round + 1}: ${contender.name}: ${figures}; peak ${peakMb.toFixed(0)} MB\n`);
    // Kept after each contender, so that a long run that is cut short leaves what it measured.
    await keep('issuing', { pods: PODS, yardsticks, results });
  }
}
row(`bare loop: POSTs a second (${PODS} Secrets, ${ROUNDS} rounds)`, spread(yardsticks.map(({ create }) => create)));
row('bare loop: PUTs a second', spread(yardsticks.map(({ replace }) => replace)));
for (const { name } of contenders)
  report(
    name,
    results.filter(({ contender }) => contender === name),
  );
const cpu = (name: string, wave: 'again' | 'first') =>
  median(results.filter(({ contender }) => contender === name).map((result) => result[wave].cpuSeconds));
for (const { name } of contenders) {
  if (name === 'Go' || !contenders.some((one) => one.name === 'Go')) continue;
  row(`${name}: CPU of a first issue, against Go's`, (cpu(name, 'first') / cpu('Go', 'first')).toFixed(2));
  row(`${name}: CPU of a re-issue, against Go's`, (cpu(name, 'again') / cpu('Go', 'again')).toFixed(2));
}
const bars = (value: (result: Result) => number) =>
  contenders.map(({ name }) => ({
    label: name,
    values: results.filter(({ contender }) => contender === name).map(value),
  }));
const loop = { value: 1, label: 'the bare loop' };
await plot('issuing', [
  {
    title: `First issue of ${PODS} pods`,
    unit: 'rate against the bare loop',
    bars: bars(({ first }) => first.ratio),
    goal: loop,
  },
  {
    title: 'Re-issue for a new leaf',
    unit: 'rate against the bare loop',
    bars: bars(({ again }) => again.ratio),
    goal: loop,
  },
  { title: 'CPU of a first issue', unit: 'seconds for 1,000', bars: bars(({ first }) => first.cpuSeconds) },
  {
    title: 'CPU of the API server and etcd',
    unit: 'seconds for 1,000',
    bars: bars(({ first }) => first.serverCpuSeconds),
  },
  { title: 'Peak memory', unit: 'MB', bars: bars(({ peakMb }) => peakMb), goal: { value: 90, label: 'goal: 90 MB' } },
]);
