/**
 * Sieve over the reference workload. CI runs a sample chosen by a fixed seed; `make faults` runs every request of the reference
 * run with every perturbation.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { report } from '../../testing/support/fault-report.ts';
import { Ground } from './ground.ts';
import { inParallel } from './pool.ts';
import { chooseSeed, RUN_ALL, sample, seeded } from './seeded.ts';
import { PERTURBATIONS, reference, run, type SieveCase, type SieveRun } from './sieve.ts';

const AT_ONCE = 6;
const SAMPLE = 24;
/** The writes that a fault may waste: one more for each of the five pods. */
const EXTRA_WRITES = 5;

let ground: Ground;
let clean: SieveRun;

before(async () => {
  ground = await Ground.start();
});
after(() => ground?.[Symbol.asyncDispose]());

test('the reference workload without a fault', async (t) => {
  clean = await reference(ground);
  t.diagnostic(
    `${clean.keys.length} requests, ${new Set(clean.keys).size} keys, ${clean.secretWrites} writes of Secrets`,
  );
  assert.ok(clean.secretWrites > 0);
});

test('every request as the moment of a fault', async (t) => {
  const seed = chooseSeed(20_261_126);
  t.diagnostic(`seed ${seed} (DCRED_FAULTS_SEED)`);
  const every = clean.keys.flatMap((key): SieveCase[] => PERTURBATIONS.map((perturbation) => ({ perturbation, key })));
  const cases = RUN_ALL ? every : sample(every, SAMPLE, seeded(seed));
  const outcomes = await inParallel(cases, AT_ONCE, (one) => outcome(one));
  const failures = outcomes.flatMap(({ failure }) => failure ?? []);
  for (const perturbation of PERTURBATIONS) {
    const of = outcomes.filter((one) => one.case.perturbation === perturbation);
    report(t, {
      table: 'faults',
      fault: `Sieve, ${perturbation}`,
      runs: of.filter(({ reached }) => reached).length,
      violations: of.filter(({ failure }) => failure !== undefined).length,
      worstRecoveryMs: Math.max(0, ...of.map(({ recoveryMs }) => recoveryMs)),
    });
  }
  const missed = outcomes.filter(({ reached }) => !reached).length;
  t.diagnostic(`${missed} of ${cases.length} requests were not made in the run that was to fail at them`);
  assert.deepEqual(failures, []);
  assert.ok(missed < cases.length / 3, `${missed} of ${cases.length} cases tested nothing`);
});

interface Outcome {
  readonly case: SieveCase;
  readonly reached: boolean;
  readonly recoveryMs: number;
  readonly failure?: string;
}

async function outcome(sieveCase: SieveCase): Promise<Outcome> {
  const what = `${sieveCase.perturbation} "${sieveCase.key}"`;
  try {
    const { reached, recoveryMs, secretWrites } = await run(ground, sieveCase);
    const bound = clean.secretWrites + EXTRA_WRITES;
    const failure =
      secretWrites > bound ? { failure: `${what}: ${secretWrites} writes of Secrets, at most ${bound}` } : {};
    return { case: sieveCase, reached, recoveryMs, ...failure };
  } catch (error) {
    return { case: sieveCase, reached: true, recoveryMs: 0, failure: String(error) };
  }
}
