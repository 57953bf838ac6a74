/** Acto over every field of the spec and everything of a pod that dcred reads. CI takes a few walks of a fixed seed. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { load } from 'js-yaml';
import { report } from '../../testing/support/fault-report.ts';
import { type Declared, declare, EMPTY, SPEC_VALUES, START, type WalkStep, walk, withoutUsableName } from './acto.ts';
import type { Observation } from './checker.ts';
import { Ground, type Site } from './ground.ts';
import { normalised } from './normalised.ts';
import { inParallel } from './pool.ts';
import { pause, untilRight } from './recovery.ts';
import { chooseSeed, RUN_ALL, seeded } from './seeded.ts';
import { leavesOf } from './workload.ts';

const CRD = join(import.meta.dirname, '..', '..', 'crds', 'dcred.dev_delegatedcredentials.yaml');
const WALKS = RUN_ALL ? 40 : 5;
const LENGTH = RUN_ALL ? 12 : 6;
const AT_ONCE = 5;
const TIMEOUT_MS = 300_000;

let ground: Ground;

before(async () => {
  ground = await Ground.start();
});
after(() => ground?.[Symbol.asyncDispose]());

test('walks change every field that the CRD has', () => {
  const crd = load(readFileSync(CRD, 'utf8')) as {
    readonly spec: {
      readonly versions: readonly {
        readonly schema: {
          readonly openAPIV3Schema: { readonly properties: { readonly spec: { readonly properties: object } } };
        };
      }[];
    };
  };
  const fields = Object.keys(crd.spec.versions[0]?.schema.openAPIV3Schema.properties.spec.properties ?? {});
  assert.deepEqual(Object.keys(SPEC_VALUES).sort(), fields.sort());
});

test('after each step the cluster is what a fresh operator makes of the same state', async (t) => {
  const seed = chooseSeed(20_261_128);
  t.diagnostic(`seed ${seed} (DCRED_FAULTS_SEED)`);
  const walks = Array.from({ length: WALKS }, (_, index) => walk(LENGTH, seeded(seed + index)));
  const results = await inParallel(walks, AT_ONCE, take);
  const compared = results.reduce((sum, one) => sum + one.compared, 0);
  t.diagnostic(`${compared} states compared with a fresh operator's`);
  const failures = results.flatMap(({ failure }) => failure ?? []);
  report(t, {
    table: 'faults',
    fault: 'Acto, a step of a walk through declared states',
    runs: results.reduce((sum, { steps }) => sum + steps, 0),
    violations: failures.length,
    worstRecoveryMs: Math.max(...results.map(({ worstMs }) => worstMs)),
  });
  assert.deepEqual(failures, []);
  assert.ok(compared > WALKS, `only ${compared} states were compared`);
});

interface Taken {
  readonly steps: number;
  /** Steps compared with what a fresh operator makes; the others were held to the checker's rules alone. */
  readonly compared: number;
  readonly worstMs: number;
  readonly failure?: string;
}

async function take(steps: readonly WalkStep[]): Promise<Taken> {
  const leaves = await leavesOf(ground);
  const site = await ground.site();
  let at: Declared = EMPTY;
  let taken = 0;
  let compared = 0;
  let worstMs = 0;
  const way: string[] = [];
  try {
    await site.plantForeign('stranger');
    await site.startOperator();
    for (const { to, what } of [{ what: 'the start', to: START }, ...steps]) {
      await declare(site, at, to, leaves);
      at = to;
      way.push(what);
      // Until the operator has seen the change, all may look right: the comparison below decides.
      worstMs = Math.max(worstMs, await untilRight(site, way.join('; '), { timeoutMs: TIMEOUT_MS }));
      taken += 1;
      if (!hasNoMemory(to)) continue;
      await sameAsFresh(site, to);
      compared += 1;
    }
    return { steps: taken, compared, worstMs };
  } catch (error) {
    return { steps: taken, compared, worstMs, failure: `after ${way.join('; ')}: ${String(error)}` };
  } finally {
    await site.end();
  }
}

/** What was issued before stays while a resource is suspended or has no usable certificate: then the state rightly depends on the path. */
function hasNoMemory({ certificates, specs }: Declared): boolean {
  return Object.values(specs).every((spec) => {
    const { name, namespace } = spec['certificateRef'] as { readonly name: string; readonly namespace?: string };
    return spec['suspend'] !== true && namespace === undefined && certificates[name] !== undefined;
  });
}

/** Without the Secrets that stay under a pod's earlier name because its new one is unusable: the pod may be serving with them. */
function withoutMemory(observation: Observation, declared: Declared): Observation {
  const secrets = observation.secrets.filter(({ metadata: { annotations = {}, labels = {} } }) => {
    const resource = labels['dcred.dev/delegated-credential'];
    return (
      resource === undefined || !withoutUsableName(declared, resource).has(annotations['dcred.dev/pod-name'] ?? '')
    );
  });
  return { ...observation, secrets };
}

async function sameAsFresh(site: Site, declared: Declared): Promise<void> {
  const fresh = await ground.site();
  try {
    await fresh.plantForeign('stranger');
    await declare(fresh, EMPTY, declared, await leavesOf(ground));
    await fresh.startOperator();
    const started = performance.now();
    for (;;) {
      const found = normalised(withoutMemory(await site.observe(), declared));
      const expected = normalised(withoutMemory(await fresh.observe(), declared));
      if (found === expected) return;
      if (performance.now() - started > TIMEOUT_MS) assert.equal(found, expected);
      await pause();
    }
  } finally {
    await fresh.end();
  }
}
