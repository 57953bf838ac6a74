import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { lstat, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { Agent, type AgentOptions } from '../../src/agent/agent.ts';
import { AgentMetrics } from '../../src/agent/metrics.ts';
import { formatReload, parseReload } from '../../src/api/reload-spec.ts';
import { type Clock, systemClock } from '../../src/kubernetes/clock.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';
import { eventually } from '../../testing/support/processes.ts';
import { type LogLine, recordingLogger } from '../../testing/support/recording-logger.ts';
import { credential, emptyMount, type Mount, type SecretFiles } from './mount.ts';
import { freshName, startServer } from './server-process.ts';

/** A server with a reload endpoint. Answers with `status` and counts the requests. */
async function httpServer(t: TestContext) {
  const state = { reloads: 0, status: 200, how: '' };
  const server = createServer((_, response) => {
    state.reloads += 1;
    response.writeHead(state.status).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  state.how = `http:POST:http://127.0.0.1:${(server.address() as AddressInfo).port}/reload`;
  return state;
}

/** Longer than any test. */
const NEVER_MS = 3_600_000;

/** Steps a fake clock until its timers have had an effect outside, in real time. */
async function advanceUntil(clock: FakeClock, done: () => boolean): Promise<void> {
  await eventually('the agent to act', async () => {
    if (done()) return true;
    await clock.advanceAsync(50);
    return undefined;
  });
}

/** The system's clock, on which timers of this length or more never fire. */
function withoutTimersFrom(limitMs: number): Clock {
  const setTimeout: Clock['setTimeout'] = (callback, ms) =>
    ms >= limitMs ? { cancel: () => {} } : systemClock.setTimeout(callback, ms);
  return { ...systemClock, setTimeout };
}

function start(t: TestContext, mounts: readonly Mount[], how: readonly string[], options: Partial<AgentOptions> = {}) {
  const log = recordingLogger();
  const targets = how.map(parseReload);
  const metrics = new AgentMetrics('test', targets.map(formatReload));
  const agent = new Agent({
    directories: mounts.map(({ directory }) => directory),
    targets,
    usage: undefined,
    reloadAtStart: false,
    confirm: undefined,
    timeoutMs: 120_000,
    settleMs: 50,
    pollMs: 200,
    clock: systemClock,
    random: () => 0,
    log,
    metrics,
    ...options,
  });
  const stop = new AbortController();
  const running = agent.run(stop.signal);
  t.after(async () => {
    stop.abort();
    await running;
  });
  const logged = (message: string) =>
    eventually(`"${message}" to be logged`, async () => log.lines.find((line) => line.message === message));
  return { agent, log, logged, metrics, running, stop };
}

const REFUSED = 'mounted credential is not valid, not reloading';
const RETRYING = 'failed to reload the server, retrying';
const mixed = async (): Promise<SecretFiles> =>
  new Map([...(await credential()), ['dc.key', (await credential()).get('dc.key') ?? '']]);

/** The code of the error in a log line. */
const codeOf = ({ fields }: LogLine) => (fields['err'] as { readonly code?: string } | undefined)?.code;

const untilReloaded = (server: { readonly reloads: number }, times: number) =>
  eventually(`${times} reloads of the server`, async () => (server.reloads >= times ? true : undefined), {
    intervalMs: 5,
  });

describe('the agent', () => {
  test('is ready when the credential mounted at the start is valid, and does not reload for it', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const server = await httpServer(t);
    const { agent } = start(t, [mount], [server.how]);
    await agent.firstReady;
    assert.equal(agent.problem(), undefined);
    assert.equal(server.reloads, 0);
  });

  test('reloads for the credential mounted at the start with --reload-at-start', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const server = await httpServer(t);
    const { agent } = start(t, [mount], [server.how], { reloadAtStart: true });
    await agent.firstReady;
    assert.equal(server.reloads, 1);
  });

  test('reloads the server for every new credential, once, without waiting for a poll', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const server = await httpServer(t);
    const { agent } = start(t, [mount], [server.how], { pollMs: NEVER_MS });
    await agent.firstReady;
    for (let times = 1; times <= 3; times += 1) {
      await mount.put(await credential());
      await untilReloaded(server, times);
    }
    assert.equal(server.reloads, 3);
  });

  test('notices a change by polling where the kernel sends no event', async (t) => {
    const mount = await emptyMount(t);
    const server = await httpServer(t);
    // The directory is created after the agent starts: there was nothing to watch.
    const { rename } = await import('node:fs/promises');
    await rename(mount.directory, `${mount.directory}-later`);
    const { agent, logged } = start(t, [mount], [server.how], { pollMs: 50 });
    const line = await logged(REFUSED);
    assert.equal(line.fields['reason'], 'NotFound');
    await rename(`${mount.directory}-later`, mount.directory);
    await mount.put(await credential());
    await agent.firstReady;
    await mount.put(await credential());
    await untilReloaded(server, 1);
  });

  test('does not reload for the same content in another mounted version', async (t) => {
    const mount = await emptyMount(t);
    const files = await credential();
    await mount.put(files);
    const server = await httpServer(t);
    const { agent, log } = start(t, [mount], [server.how]);
    await agent.firstReady;
    await mount.put(files);
    await eventually('the second version to be checked', async () =>
      log.lines.filter(({ message }) => message === 'verified the mounted credential').length === 2 ? true : undefined,
    );
    await mount.put(await credential());
    await untilReloaded(server, 1);
    assert.equal(server.reloads, 1);
  });

  test('takes credentials for clients where the first is one, and none for servers after it', async (t) => {
    const [clients, servers] = [await emptyMount(t), await emptyMount(t)];
    await clients.put(await credential({ usage: 'Client' }));
    await servers.put(await credential());
    const server = await httpServer(t);
    const { agent, logged } = start(t, [clients, servers], [server.how], { pollMs: 20 });
    await agent.firstReady;
    await clients.put(await credential());
    assert.equal((await logged(REFUSED)).fields['reason'], 'BadSignature');
    await clients.put(await credential({ usage: 'Client' }));
    await untilReloaded(server, 1);
    assert.equal(server.reloads, 1);
  });

  for (const [what, make] of Object.entries<() => Promise<SecretFiles>>({
    'a key of another credential': mixed,
    'a credential for a client': () => credential({ usage: 'Client' }),
    'no key': async () => new Map([...(await credential())].filter(([name]) => name !== 'dc.key')),
    'a cut credential': async () => new Map([...(await credential()), ['dc.bin', new Uint8Array(50)]]),
  })) {
    test(`never reloads for ${what}, logs it, and stays ready`, async (t) => {
      const mount = await emptyMount(t);
      await mount.put(await credential());
      const server = await httpServer(t);
      const { agent, log, logged, metrics } = start(t, [mount], [server.how], { pollMs: 20 });
      await agent.firstReady;
      await mount.put(await make());
      const { fields, level } = await logged(REFUSED);
      assert.equal(level, 'error');
      assert.equal(fields['directory'], mount.directory);
      assert.equal(agent.problem(), undefined, 'what the server has loaded still works');
      await mount.put(await credential());
      await untilReloaded(server, 1);
      assert.equal(server.reloads, 1);
      assert.equal(log.lines.filter(({ message }) => message === REFUSED).length, 1, 'logged once');
      assert.match(metrics.render(true), /dcred_agent_checks_total\{outcome="(refused|unreadable)"\} 1/);
    });
  }

  test('is not ready while nothing valid is mounted, and says why', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await mixed());
    const { agent, logged } = start(t, [mount], []);
    await logged(REFUSED);
    assert.match(agent.problem() ?? '', /web: the credential is for another key/);
    await mount.put(await credential());
    await agent.firstReady;
  });

  test('reloads for the first valid credential where another was mounted at the start: the server may have loaded that', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await mixed());
    const server = await httpServer(t);
    const { agent, logged } = start(t, [mount], [server.how], { pollMs: 20 });
    await logged(REFUSED);
    assert.equal(server.reloads, 0);
    await mount.put(await credential());
    await agent.firstReady;
    assert.equal(server.reloads, 1);
  });

  test('reloads once more after a restart where the mount was swapped before: the last reload may have failed', async (t) => {
    const mounts = [await emptyMount(t), await emptyMount(t)] as const;
    for (const mount of mounts) await mount.put(await credential());
    await mounts[1].put(await credential());
    const server = await httpServer(t);
    const ran = join(mounts[0].directory, '..', 'ran');
    const command = ['/bin/sh', '-c', `echo reload >> ${ran}`];
    const { agent, metrics } = start(t, mounts, [server.how, `exec:${JSON.stringify(command)}`]);
    await agent.firstReady;
    assert.equal(server.reloads, 1);
    assert.equal(await readFile(ran, 'utf8'), 'reload\n');
    assert.match(metrics.render(true), /dcred_agent_served_expiry_timestamp_seconds \d/);
  });

  test('is not ready after a restart until the server has loaded what was mounted last', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    await mount.put(await credential());
    const server = await httpServer(t);
    server.status = 500;
    const { agent, logged, metrics } = start(t, [mount], [server.how]);
    await logged(RETRYING);
    assert.equal(agent.problem(), 'the server has not been reloaded yet');
    assert.doesNotMatch(metrics.render(false), /dcred_agent_served_expiry_timestamp_seconds \d/);
    server.status = 200;
    await agent.firstReady;
  });

  test('reloads for the credential before the last where the last was not confirmed: the server may have loaded it', async (t) => {
    const mount = await emptyMount(t);
    const [first, second] = [await credential(), await credential()];
    await mount.put(first);
    const server = await httpServer(t);
    const { agent, logged } = start(t, [mount], [server.how], { pollMs: 20 });
    await agent.firstReady;
    server.status = 500;
    await mount.put(second);
    await logged(RETRYING);
    server.status = 200;
    await mount.put(first);
    await logged('reloaded the server');
  });

  test('retries with back-off until the server has reloaded', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const server = await httpServer(t);
    const clock = new FakeClock(Date.now());
    const { agent, log, logged, metrics } = start(t, [mount], [server.how], { clock });
    await agent.firstReady;
    server.status = 500;
    await mount.put(await credential());
    await advanceUntil(clock, () => server.reloads === 1);
    await logged(RETRYING);
    const failedAt = clock.monotonic();
    await advanceUntil(clock, () => server.reloads === 2);
    assert.ok(clock.monotonic() - failedAt >= 500, `retried after ${clock.monotonic() - failedAt} ms`);
    await eventually('the second failure', async () =>
      log.lines.filter(({ message }) => message === RETRYING).length === 2 ? true : undefined,
    );
    server.status = 200;
    await advanceUntil(clock, () => server.reloads === 3);
    await eventually('the success to be counted', async () =>
      metrics.render(true).includes(`dcred_agent_reloads_total{target="${server.how}",outcome="ok"} 1`)
        ? true
        : undefined,
    );
    assert.match(metrics.render(true), /outcome="failed"\} 2/);
    const failure = log.lines.find(({ message }) => message === RETRYING);
    assert.ok(failure !== undefined);
    assert.equal(codeOf(failure), 'HttpFailed');
  });

  test('drops the retry of an older credential when a newer one is mounted', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const server = await httpServer(t);
    const { agent, logged } = start(t, [mount], [server.how], { clock: withoutTimersFrom(500), random: () => 0.999 });
    await agent.firstReady;
    server.status = 500;
    await mount.put(await credential());
    await logged(RETRYING);
    server.status = 200;
    await mount.put(await credential());
    await logged('reloaded the server');
  });

  test('retries each of several servers until it has reloaded, and reloads none twice', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const servers = [await httpServer(t), await httpServer(t)] as const;
    const { agent } = start(
      t,
      [mount],
      servers.map(({ how }) => how),
    );
    await agent.firstReady;
    servers[1].status = 500;
    await mount.put(await credential());
    await untilReloaded(servers[1], 1);
    servers[1].status = 200;
    await untilReloaded(servers[1], 2);
    assert.equal(servers[0].reloads, 1);
  });

  test('reloads once for several directories, and not while one is invalid', async (t) => {
    const mounts = [await emptyMount(t), await emptyMount(t)] as const;
    for (const mount of mounts) await mount.put(await credential());
    const server = await httpServer(t);
    let settled = 0;
    const { agent, log, logged } = start(t, mounts, [server.how], {
      pollMs: 20,
      onStatus: async () => {
        settled = log.lines.filter(({ message }) => message === 'verified the mounted credential').length;
      },
    });
    /** What is verified is reloaded in the same pass, or not at all. */
    const untilSettled = (versions: number) =>
      eventually(`a pass after ${versions} versions`, async () => settled === versions || undefined);
    await agent.firstReady;
    for (const mount of mounts) await mount.put(await credential());
    await untilSettled(4);
    const { reloads } = server;
    // Two, where the agent was faster than the second put.
    assert.ok(reloads === 1 || reloads === 2);
    await mounts[0].put(await mixed());
    await logged(REFUSED);
    await mounts[1].put(await credential());
    await untilSettled(5);
    assert.equal(server.reloads, reloads, 'one is invalid');
    await mounts[0].put(await credential());
    await untilSettled(6);
    assert.equal(server.reloads, reloads + 1);
  });

  test('stops being ready when the credential that the server loaded expires', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    let ahead = 0;
    const clock = { ...systemClock, now: () => Date.now() + ahead };
    const { agent, logged } = start(t, [mount], [], { clock, pollMs: 20 });
    await agent.firstReady;
    ahead = 3_601_000;
    assert.match(agent.problem() ?? '', /expired at/);
    assert.equal((await logged(REFUSED)).fields['reason'], 'Expired');
  });

  test('signals a server that is older than the files, as after a restart of the agent', async (t) => {
    const name = freshName();
    const server = await startServer(t, name);
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const { agent } = start(t, [mount], [`signal:HUP:${name}`]);
    await agent.firstReady;
    assert.equal(await server.nextLine(), 'reloaded');
  });

  test('does not signal a server that is younger than the files', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    // Starts and file times are known to a clock tick: the server's is later beyond doubt.
    const { ctimeMs } = await lstat(join(mount.directory, '..data'));
    await eventually('the clock to move on', async () => (Date.now() > ctimeMs + 200 ? true : undefined));
    const name = freshName();
    const server = await startServer(t, name);
    const { agent } = start(t, [mount], [`signal:HUP:${name}`]);
    await agent.firstReady;
    await mount.put(await credential());
    assert.equal(await server.nextLine(), 'reloaded');
    assert.deepEqual(server.lines, [], 'once, for the second pair');
  });

  test('retries until the server has started', async (t) => {
    const name = freshName();
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const { agent, logged } = start(t, [mount], [`signal:HUP:${name}`]);
    await agent.firstReady;
    await mount.put(await credential());
    const failure = await logged(RETRYING);
    assert.equal(codeOf(failure), 'ProcessNotFound');
    const server = await startServer(t, name);
    assert.equal(await server.nextLine(), 'reloaded');
  });

  test('logs no key material', async (t) => {
    const mount = await emptyMount(t);
    const versions = [await credential(), await mixed(), await credential()];
    const server = await httpServer(t);
    const [first, ...more] = versions;
    await mount.put(first ?? new Map());
    const { agent, log, metrics } = start(t, [mount], [server.how], { pollMs: 20 });
    await agent.firstReady;
    for (const files of more) await mount.put(files);
    await untilReloaded(server, 1);
    const output = JSON.stringify(log.lines) + metrics.render(true);
    for (const files of versions) {
      const body = String(files.get('dc.key')).split('\n')[1] ?? '';
      assert.ok(body.length > 40 && !output.includes(body));
    }
  });

  test('stops on its signal, even in the middle of a reload', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const begun = join(mount.directory, '..', 'begun');
    const command = ['/bin/sh', '-c', `touch ${begun}; exec sleep 30`];
    const how = `exec:${JSON.stringify(command)}`;
    const { running, stop } = start(t, [mount], [how], { reloadAtStart: true });
    await eventually('the command to run', async () => (existsSync(begun) ? true : undefined));
    stop.abort();
    await running;
  });
});
