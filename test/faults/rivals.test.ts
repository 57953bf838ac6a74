/**
 * Other clients that work against the operator. While they do, it neither gives up nor races them: its writes stay few. When they stop,
 * everything recovers by itself.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { report } from '../../testing/support/fault-report.ts';
import { paths } from './admin.ts';
import { isIssued } from './checker.ts';
import { Ground, type RunningOperator, type Site } from './ground.ts';
import { pause, untilRight } from './recovery.ts';
import { prepare } from './workload.ts';

const PODS = ['web-0', 'web-1', 'web-2'];
/** How often a rival acts. */
const RIVAL_MS = 20;
/** How long it goes on: long enough for hundreds of writes by an operator that answers each. */
const RIVALRY_MS = 8_000;
/** Three at once and then ever fewer, for each of three pods: about six, with waits that double from one second. */
const MOST_PER_POD = 10;

const SPEC = {
  certificateRef: { name: 'web-tls' },
  podSelector: { matchLabels: { app: 'web' } },
  lifetimeSeconds: 7200,
  secretTemplate: { annotations: { team: 'edge' } },
};

let ground: Ground;

before(async () => {
  ground = await Ground.start();
});
after(() => ground?.[Symbol.asyncDispose]());

interface Rival {
  readonly name: string;
  /** Once, before it begins. */
  readonly begin?: (site: Site, operator: RunningOperator) => Promise<void>;
  /** Again and again. */
  readonly act: (site: Site) => Promise<void>;
  /** Once, when it has stopped. */
  readonly end?: (site: Site) => Promise<void>;
}

const secretPath = (site: Site, name: string) => `${paths.secrets(site.namespace)}/${name}`;

async function eachIssued(site: Site, act: (name: string) => Promise<unknown>): Promise<void> {
  const issued = (await site.secrets()).filter(isIssued);
  await Promise.all(issued.map(({ metadata }) => act(metadata.name)));
}

/** A patch of something that may be gone by now. */
const tryPatch = (site: Site, name: string, patch: object) =>
  site.admin.call('PATCH', secretPath(site, name), patch, 'application/merge-patch+json');

const RIVALS: readonly Rival[] = [
  {
    name: 'a rival that deletes every Secret on sight',
    act: (site) => eachIssued(site, (name) => site.admin.delete(secretPath(site, name))),
  },
  {
    name: 'a rival that changes the template annotation back',
    act: (site) => eachIssued(site, (name) => tryPatch(site, name, { metadata: { annotations: { team: 'rival' } } })),
  },
  {
    name: "a rival that edits dcred's own annotations",
    act: (site) => {
      const annotations = { 'dcred.dev/renew-at': '2040-01-01T00:00:00Z' };
      return eachIssued(site, (name) => tryPatch(site, name, { metadata: { annotations } }));
    },
  },
  {
    name: 'a garbage collector, and a half-open watch of pods that hides which are gone',
    begin: async (site, { proxy }) => {
      for (const watch of proxy.watches) if (watch.exchange.resource === 'pods') watch.freeze();
      await Promise.all(PODS.map((name) => site.deletePod(name)));
    },
    act: (site) => eachIssued(site, (name) => site.admin.delete(secretPath(site, name))),
    end: async (site) => site.clock.pass(200_000),
  },
  {
    name: "a stranger's finalizer on the Secret of a pod that was replaced",
    begin: async (site) => {
      for (const pod of PODS) await tryPatch(site, `web-${pod}`, { metadata: { finalizers: ['example.com/keep'] } });
      for (const pod of PODS) {
        await site.deletePod(pod);
        await site.createPod(pod);
      }
    },
    act: async () => {},
    end: (site) => eachIssued(site, (name) => tryPatch(site, name, { metadata: { finalizers: null } })),
  },
];

for (const { act, begin, end, name } of RIVALS) {
  test(name, async (t) => {
    const site = await ground.site();
    try {
      await prepare(site);
      const operator = await site.startOperator();
      await site.createResource(SPEC);
      await Promise.all(PODS.map((pod) => site.createPod(pod)));
      await untilRight(site, name);
      const before = ground.witness.versions(site.namespace);
      await begin?.(site, operator);
      const until = performance.now() + RIVALRY_MS;
      let acts = 0;
      while (performance.now() < until) {
        await act(site);
        acts += 1;
        await pause(RIVAL_MS);
      }
      const calls = operator.proxy.journal.filter(({ resource, verb }) => resource === 'secrets' && verb !== 'watch');
      const writes = calls.filter(({ verb }) => verb !== 'get' && verb !== 'list').length;
      await end?.(site);
      const recoveryMs = await untilRight(site, name);
      const bound = MOST_PER_POD * PODS.length;
      const failed = writes - before > bound;
      t.diagnostic(`${acts} acts of the rival, ${writes - before} writes of Secrets`);
      report(t, { table: 'faults', fault: name, runs: 1, violations: failed ? 1 : 0, worstRecoveryMs: recoveryMs });
      assert.ok(!failed, `${writes - before} writes of Secrets in ${RIVALRY_MS} ms, at most ${bound}`);
    } finally {
      await site.end();
    }
  });
}
