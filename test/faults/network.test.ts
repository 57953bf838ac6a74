/** The reference workload over a network and an API server that misbehave all the way through. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { report } from '../../testing/support/fault-report.ts';
import type { Exchange } from './exchange.ts';
import { Ground, type OperatorFaults, type Site } from './ground.ts';
import { inParallel } from './pool.ts';
import type { Fault, Rule } from './proxy.ts';
import { untilRight } from './recovery.ts';
import { chooseSeed, RUN_ALL, seeded } from './seeded.ts';
import { prepare, STEPS } from './workload.ts';

const RUNS = RUN_ALL ? 10 : 1;
const AT_ONCE = 5;
/** Twice what the workload needs without a fault: 15. */
const MOST_VERSIONS = 30;
const ALWAYS = Number.POSITIVE_INFINITY;
/**
 * Where a call in three fails for as long as the run takes, a pod may meet ten failures in a row, and then waits for as long as the
 * contract's back-off does at most: five minutes.
 */
const TIMEOUT_MS = 330_000;

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
    timeoutMs: 2_000,
  });
}

const refused = (status: number, reason: string, retryAfterSeconds?: number): Fault => ({
  kind: 'answer',
  status,
  reason,
  ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
});

/** Only the first watches: those that are made in their place work. */
const watches =
  (fault: Omit<Extract<Fault, { kind: 'watch' }>, 'kind'>, times = 6) =>
  (): OperatorFaults => ({
    rules: [{ when: isWatch, times, fault: { kind: 'watch', ...fault } } satisfies Rule],
  });

const FAULTS: readonly NetworkFault[] = [
  { name: 'a third of the calls reset', faults: often(isCall, 0.33, { kind: 'reset' }) },
  { name: 'the answers to a third of the writes lost', faults: often(isWrite, 0.33, { kind: 'lose-answer' }) },
  { name: 'a tenth of the calls never answered', faults: often(isCall, 0.1, { kind: 'stall' }) },
  { name: 'a third of the answers cut', faults: often(isCall, 0.33, { kind: 'cut-answer' }) },
  { name: 'every call 200 ms late', faults: often(isCall, 1, { kind: 'delay', ms: 200 }) },
  { name: '429 with Retry-After to a third', faults: often(() => true, 0.33, refused(429, 'TooManyRequests', 1)) },
  { name: '500 to a third', faults: often(() => true, 0.33, refused(500, 'InternalError')) },
  { name: '503 to a third', faults: often(() => true, 0.33, refused(503, 'ServiceUnavailable')) },
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

test('the whole life under every fault of the network and the API server', async (t) => {
  const seed = chooseSeed(20_261_127);
  t.diagnostic(`seed ${seed} (DCRED_FAULTS_SEED)`);
  const runs = FAULTS.flatMap((fault) => Array.from({ length: RUNS }, (_, run) => ({ fault, run })));
  const results = await inParallel(runs, AT_ONCE, ({ fault: { faults, name }, run }) =>
    runOnce(name, async (site) => {
      await site.startOperator(faults(seeded(seed + run)));
      return await wholeLife(site, name);
    }),
  );
  for (const { name } of FAULTS) {
    const of = results.filter((result) => result.name === name);
    report(t, {
      table: 'faults',
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
});

describe('a half-open watch', () => {
  for (const resource of ['pods', 'secrets', 'delegatedcredentials']) {
    test(`of ${resource} is noticed by its silence, and what happened meanwhile is made good`, async (t) => {
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
        // Longer than any silence that is believed.
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
