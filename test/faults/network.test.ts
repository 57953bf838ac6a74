/** The reference workload over a network and an API server that misbehave all the way through. */
import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import { report } from '../../testing/support/fault-report.ts';
import type { Exchange } from './exchange.ts';
import { Ground, type OperatorFaults, type Site } from './ground.ts';
import { inParallel } from './pool.ts';
import type { Fault, Rule } from './proxy.ts';
import { pause, untilRight } from './recovery.ts';
import { chooseSeed, RUN_ALL, seeded } from './seeded.ts';
import { prepare, STEPS } from './workload.ts';

const RUNS = RUN_ALL ? 10 : 1;
/** Runs mostly wait; but on a busy machine, more of them would delay each other's calls. */
const AT_ONCE = RUN_ALL ? 12 : 6;
/** Twice what the workload needs without a fault: 15. */
const MOST_VERSIONS = 30;
const ALWAYS = Number.POSITIVE_INFINITY;
/**
 * Where a call in three fails for as long as the run takes, a pod may meet ten failures in a row, and then waits for as long as the
 * contract's back-off does at most: five minutes.
 */
const TIMEOUT_MS = 330_000;
/** A fault that ends hits this many calls after each change: by then the operator is backing off. */
const HITS = 12;
/** A net: calls that are never answered take long to add up to that many on a busy machine. */
const HITS_TIMEOUT_MS = 900_000;

interface NetworkFault {
  readonly name: string;
  readonly faults: (random: () => number) => OperatorFaults;
}

const isCall = ({ verb }: Exchange) => verb !== 'watch';
const isWatch = ({ verb }: Exchange) => verb === 'watch';
const isWrite = ({ verb }: Exchange) => verb !== 'watch' && verb !== 'get' && verb !== 'list';

function often(when: (exchange: Exchange) => boolean, share: number, fault: Fault) {
  return (random: () => number): OperatorFaults => ({
    rules: [{ when: (exchange) => when(exchange) && random() < share, times: ALWAYS, fault }],
    // All other faults keep the client's own timeout: on a busy machine an answer may be read late, and a call that times out because of
    // that would be a fault that is not in the rules, and that does not end.
    ...(fault.kind === 'stall' ? { timeoutMs: 5_000 } : {}),
  });
}

const refused = (status: number, reason: string, retryAfterSeconds?: number): Fault => ({
  kind: 'answer',
  status,
  reason,
  ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
});

/** Only the first watches: their replacements work. */
const watches =
  (fault: Omit<Extract<Fault, { kind: 'watch' }>, 'kind'>, times = 6) =>
  (): OperatorFaults => ({
    rules: [{ when: isWatch, times, fault: { kind: 'watch', ...fault } } satisfies Rule],
  });

/** Faults of calls. Each may last as long as a run, or end. */
const OF_CALLS: readonly NetworkFault[] = [
  { name: 'a third of the calls reset', faults: often(isCall, 0.33, { kind: 'reset' }) },
  { name: 'the answers to a third of the writes lost', faults: often(isWrite, 0.33, { kind: 'lose-answer' }) },
  { name: 'a tenth of the calls never answered', faults: often(isCall, 0.1, { kind: 'stall' }) },
  { name: 'a third of the answers cut', faults: often(isCall, 0.33, { kind: 'cut-answer' }) },
  { name: '429 with Retry-After to a third', faults: often(() => true, 0.33, refused(429, 'TooManyRequests', 1)) },
  { name: '500 to a third', faults: often(() => true, 0.33, refused(500, 'InternalError')) },
  { name: '503 to a third', faults: often(() => true, 0.33, refused(503, 'ServiceUnavailable')) },
];

/** Faults under which nothing can be right. */
const TOTAL: readonly NetworkFault[] = [
  { name: 'every call reset', faults: often(isCall, 1, { kind: 'reset' }) },
  { name: 'no write answered', faults: often(isWrite, 1, { kind: 'stall' }) },
  { name: '500 to every write', faults: often(isWrite, 1, refused(500, 'InternalError')) },
  // Like an API server that is starting and has not read the roles yet.
  { name: '403 to everything', faults: often(() => true, 1, refused(403, 'Forbidden')) },
  { name: '503 to everything', faults: often(() => true, 1, refused(503, 'ServiceUnavailable')) },
];

const OF_TIME_AND_WATCHES: readonly NetworkFault[] = [
  { name: 'every call 200 ms late', faults: often(isCall, 1, { kind: 'delay', ms: 200 }) },
  { name: 'watches cut inside a line', faults: watches({ cutInside: 3 }) },
  { name: 'every event twice', faults: watches({ duplicate: true }, ALWAYS) },
  { name: 'an event after its successor', faults: watches({ postpone: 4 }) },
  { name: 'every event 300 ms late', faults: watches({ delayMs: 300 }, ALWAYS) },
  { name: '410 in the middle of watches', faults: watches({ expireAt: 3 }) },
];

let ground: Ground;

before(async () => {
  ground = await Ground.start();
});
after(() => ground?.[Symbol.asyncDispose]());

interface Result {
  readonly name: string;
  readonly recoveryMs: number;
  readonly failure?: string;
}

async function runOnce(name: string, act: (site: Site) => Promise<number>): Promise<Result> {
  const site = await ground.site();
  try {
    await prepare(site);
    const recoveryMs = await act(site);
    const versions = ground.witness.versions(site.namespace);
    if (versions > MOST_VERSIONS) return { name, recoveryMs, failure: `${name}: ${versions} versions of Secrets` };
    return { name, recoveryMs };
  } catch (error) {
    return { name, recoveryMs: 0, failure: String(error) };
  } finally {
    await site.end();
  }
}

async function wholeLife(site: Site, name: string): Promise<number> {
  let worst = 0;
  for (const step of STEPS) {
    await step.change(site);
    const except = step.settled === true ? [] : ['status' as const];
    worst = Math.max(worst, await untilRight(site, `${name} in "${step.name}"`, { except, timeoutMs: TIMEOUT_MS }));
  }
  return worst;
}

/**
 * Each step begins with the fault, and with every watch cut, as by an API server that stops.
 * @returns the longest time from the end of a fault to everything right, in milliseconds
 */
async function lifeWithEndings(site: Site, name: string, faults: OperatorFaults): Promise<number> {
  let isOn = true;
  let hits = 0;
  const rules = faults.rules?.map((rule) => ({
    ...rule,
    when: (exchange: Exchange) => {
      const isHit = isOn && rule.when(exchange);
      if (isHit) hits += 1;
      return isHit;
    },
  }));
  const { proxy } = await site.startOperator({ ...faults, ...(rules === undefined ? {} : { rules }) });
  let worst = 0;
  for (const step of STEPS) {
    isOn = true;
    hits = 0;
    const what = `${name} in "${step.name}"`;
    const except = step.settled === true ? [] : ['status' as const];
    for (const watch of proxy.watches) watch.cut();
    await step.change(site);
    await untilRight(site, what, { except, timeoutMs: HITS_TIMEOUT_MS, giveUp: () => hits >= HITS });
    isOn = false;
    worst = Math.max(worst, await untilRight(site, `${what}, after its end`, { except }));
    // After that a watch has lived long enough to count as working: each fault is a new one, and not a flapping server.
    await pause(1_500);
  }
  return worst;
}

async function tryAll(
  t: TestContext,
  table: 'faults' | 'lasting',
  faults: readonly NetworkFault[],
  live: (site: Site, fault: NetworkFault, random: () => number) => Promise<number>,
): Promise<void> {
  const seed = chooseSeed(20_261_127);
  t.diagnostic(`seed ${seed} (DCRED_FAULTS_SEED)`);
  const runs = faults.flatMap((fault) => Array.from({ length: RUNS }, (_, run) => ({ fault, run })));
  const results = await inParallel(runs, AT_ONCE, ({ fault, run }) =>
    runOnce(fault.name, async (site) => await live(site, fault, seeded(seed + run))),
  );
  for (const { name } of faults) {
    const of = results.filter((result) => result.name === name);
    report(t, {
      table,
      fault: name,
      runs: of.length,
      violations: of.filter(({ failure }) => failure !== undefined).length,
      worstRecoveryMs: Math.max(...of.map(({ recoveryMs }) => recoveryMs)),
    });
  }
  assert.deepEqual(
    results.flatMap(({ failure }) => failure ?? []),
    [],
  );
}

/** With the whole suite, two tests at once are too much for two cores. */
const concurrency = RUN_ALL ? 1 : 2;

describe('the whole workload under every fault of the network and the API server', { concurrency }, () => {
  /** The baseline that the figures of all faults include. */
  test('none, for comparison', async (t) => {
    await tryAll(
      t,
      'faults',
      [{ name: 'none, for comparison', faults: () => ({}) }],
      async (site, { faults, name }, random) => {
        await site.startOperator(faults(random));
        return await wholeLife(site, name);
      },
    );
  });

  test('that ends', async (t) => {
    await tryAll(t, 'faults', RUN_ALL ? [...OF_CALLS, ...TOTAL] : TOTAL, async (site, { faults, name }, random) =>
      lifeWithEndings(site, name, faults(random)),
    );
  });

  test('that a cluster can live with', async (t) => {
    await tryAll(t, 'faults', OF_TIME_AND_WATCHES, async (site, { faults, name }, random) => {
      await site.startOperator(faults(random));
      return await wholeLife(site, name);
    });
  });

  test('that does not end', async (t) => {
    await tryAll(t, 'lasting', OF_CALLS, async (site, { faults, name }, random) => {
      await site.startOperator(faults(random));
      return await wholeLife(site, name);
    });
  });
});

describe('a half-open watch', { concurrency }, () => {
  for (const resource of ['pods', 'secrets', 'delegatedcredentials']) {
    test(`of ${resource} is noticed by its silence, and the operator catches up`, async (t) => {
      const name = `half-open watch of ${resource}`;
      const { failure, recoveryMs } = await runOnce(name, async (site) => {
        const operator = await site.startOperator();
        const [issue, ...rest] = STEPS;
        await issue?.change(site);
        await site.createPod('web-8');
        await untilRight(site, name);
        for (const watch of operator.proxy.watches) if (watch.exchange.resource === resource) watch.freeze();
        await site.createPod('web-9');
        await site.deletePod('web-8');
        await site.admin.delete(`/api/v1/namespaces/${site.namespace}/secrets/web-web-2`);
        // Longer than a watch may be silent.
        site.clock.pass(200_000);
        let worst = await untilRight(site, name);
        for (const step of rest) {
          await step.change(site);
          worst = Math.max(worst, await untilRight(site, `${name} in "${step.name}"`, { except: ['status'] }));
        }
        return worst;
      });
      report(t, {
        table: 'faults',
        fault: name,
        runs: 1,
        violations: failure === undefined ? 0 : 1,
        worstRecoveryMs: recoveryMs,
      });
      assert.equal(failure, undefined);
    });
  }
});

describe('two operators at once, without a lease', () => {
  test('waste work and break nothing', async (t) => {
    const name = 'two operators at once';
    const { failure, recoveryMs } = await runOnce(name, async (site) => {
      await Promise.all([site.startOperator(), site.startOperator()]);
      return await wholeLife(site, name);
    });
    report(t, {
      table: 'faults',
      fault: name,
      runs: 1,
      violations: failure === undefined ? 0 : 1,
      worstRecoveryMs: recoveryMs,
    });
    assert.equal(failure, undefined);
  });
});
