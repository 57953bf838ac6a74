/** What happens to control planes: the API server and etcd die, come back, fill up, are restored to an older state; clocks are set. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { report } from '../../testing/support/fault-report.ts';
import { eventually } from '../../testing/support/processes.ts';
import { Admin, paths, readAccess } from './admin.ts';
import { Ground, type Site } from './ground.ts';
import { untilRight } from './recovery.ts';
import { prepare, STEPS, type Step } from './workload.ts';

const MB = 1024 * 1024;
const HOUR_MS = 3_600_000;
/** Watches wait up to half a minute between two attempts, and the machine may be busy. */
const LIMIT = { timeoutMs: 300_000 };
const ACCOUNT = { namespace: 'dcred-system', name: 'dcred' };
/** Long enough that a busy machine has all right with it, short enough to wait for its end. */
const TOKEN_SECONDS = 60;

let ground: Ground;

before(async () => {
  ground = await Ground.start({ etcdQuotaBytes: 64 * MB });
});
after(() => ground?.[Symbol.asyncDispose]());

const plane = () => ground.cluster.plane;

/** Runs the steps with the fault after each change; the namespace must recover every time. */
async function through(site: Site, steps: readonly Step[], name: string, fault: () => Promise<void>): Promise<number> {
  let worst = 0;
  for (const step of steps) {
    await step.change(site);
    await fault();
    const except = step.settled === true ? [] : ['status' as const];
    worst = Math.max(worst, await untilRight(site, `${name} in "${step.name}"`, { ...LIMIT, except }));
  }
  return worst;
}

async function faulted(t: TestContext, fault: string, act: (site: Site) => Promise<number>): Promise<void> {
  const site = await ground.site();
  let violations = 1;
  let worstRecoveryMs = 0;
  try {
    await prepare(site);
    worstRecoveryMs = await act(site);
    violations = 0;
  } finally {
    report(t, { table: 'faults', fault, runs: 1, violations, worstRecoveryMs });
    await site.end();
  }
}

describe('the API server', () => {
  test('is killed and started again after every change', (t) =>
    faulted(t, 'API server killed after every change', async (site) => {
      await site.startOperator();
      return await through(site, STEPS, 'API server killed', async () => {
        await plane().stopApiServer({ signal: 'SIGKILL' });
        await plane().startApiServer();
      });
    }));

  test('loses etcd after every change', (t) =>
    faulted(t, 'etcd killed after every change', async (site) => {
      await site.startOperator();
      return await through(site, STEPS, 'etcd killed', async () => {
        await plane().stopEtcd({ signal: 'SIGKILL' });
        await plane().startEtcd();
        await plane().untilReady();
      });
    }));
});

describe('etcd', () => {
  for (const bumpRevision of [undefined, 1_000_000]) {
    const how = bumpRevision === undefined ? 'versions going back' : 'versions going on';
    test(`is restored from a snapshot, ${how}`, (t) =>
      faulted(t, `etcd snapshot restored, ${how}`, async (site) => {
        await site.startOperator();
        const [issue, ...rest] = STEPS;
        await issue?.change(site);
        await untilRight(site, 'before the snapshot', LIMIT);
        const snapshot = await plane().saveSnapshot();
        await through(site, rest.slice(0, 4), 'before the restoration', async () => {});
        await plane().restoreSnapshot(snapshot, bumpRevision === undefined ? {} : { bumpRevision });
        await site.forgiveForeign();
        const restored = await untilRight(site, `${how}, just restored`, LIMIT);
        const later = await through(site, rest, `${how}, after the restoration`, async () => {});
        return Math.max(restored, later);
      }));
  }

  test('is full while every credential is due, and is given room again', (t) =>
    faulted(t, 'etcd full while renewals are due', async (site) => {
      await site.startOperator();
      await STEPS[0]?.change(site);
      await untilRight(site, 'before etcd is full', LIMIT);
      await plane().fillEtcd();
      // Past the latest renewal (six tenths of the lifetime), before the expiry.
      site.clock.pass(0.65 * 2 * HOUR_MS);
      const refused = async () => (site.journal.some(({ status = 0 }) => status >= 500) ? true : undefined);
      await eventually('a write that etcd refuses', refused, LIMIT);
      await plane().freeEtcd();
      return await untilRight(site, 'once etcd has room', LIMIT);
    }));
});

describe('the clock', () => {
  test('is set ahead by an hour, back by an hour, and back by half an hour', (t) =>
    faulted(t, 'clock stepped by an hour and back', async (site) => {
      await site.startOperator();
      await STEPS[0]?.change(site);
      let worst = await untilRight(site, 'before the clock is set', LIMIT);
      for (const hours of [1, -1, -0.5]) {
        site.clock.step(hours * HOUR_MS);
        worst = Math.max(worst, await untilRight(site, `clock set by ${hours} h`, LIMIT));
      }
      return worst;
    }));

  test('passes six tenths of a lifetime: every credential is renewed', (t) =>
    faulted(t, 'renewal by time', async (site) => {
      await site.startOperator();
      await STEPS[0]?.change(site);
      await untilRight(site, 'before the renewal', LIMIT);
      // The witness sees by its own watch.
      const seen = (versions: number) =>
        eventually(
          `${versions} versions`,
          async () => ground.witness.versions(site.namespace) >= versions || undefined,
          LIMIT,
        );
      await seen(3);
      site.clock.pass(0.65 * 2 * HOUR_MS);
      const ms = await untilRight(site, 'after the renewal', LIMIT);
      await seen(6);
      assert.equal(ground.witness.versions(site.namespace), 6);
      return ms;
    }));
});

/** A pod's service account, as the kubelet mounts it. */
class MountedAccount {
  readonly folder = join(plane().directory, randomUUID());

  /** What the kubelet does when it has a new token or CA. */
  async write(lifetimeSeconds?: number): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    const token = await plane().tokenFor(ACCOUNT, lifetimeSeconds === undefined ? {} : { lifetimeSeconds });
    const files = { token, 'ca.crt': await readFile(plane().trustFile, 'utf8'), namespace: ACCOUNT.namespace };
    await Promise.all(Object.entries(files).map(([name, text]) => writeFile(join(this.folder, name), text)));
  }
}

describe('what the operator connects with', () => {
  test('a token that expires, and is replaced', (t) =>
    faulted(t, 'token expired and replaced', async (site) => {
      const account = new MountedAccount();
      await account.write(TOKEN_SECONDS);
      await site.startOperator({ mountedAccount: account.folder });
      await STEPS[0]?.change(site);
      await untilRight(site, 'with the first token', LIMIT);
      const first = await readFile(join(account.folder, 'token'), 'utf8');
      using holder = new Admin({ ...readAccess(ground.cluster.operatorKubeconfig), token: first });
      const refused = async () =>
        (await holder.call('GET', paths.pods(site.namespace))).status === 401 ? true : undefined;
      await eventually('the token to expire', refused, LIMIT);
      await site.createPod('web-7');
      await account.write();
      return await untilRight(site, 'with the new token', LIMIT);
    }));

  test('the CA of the API server', (t) =>
    faulted(t, 'API server CA rotated', async (site) => {
      const account = new MountedAccount();
      await account.write();
      await site.startOperator({ mountedAccount: account.folder });
      await STEPS[0]?.change(site);
      await untilRight(site, 'under the first CA', LIMIT);
      await plane().rotateAuthority();
      ground.reconnect();
      await account.write();
      await site.createPod('web-8');
      return await untilRight(site, 'under the new CA', LIMIT);
    }));
});
