import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { Agent, type AgentOptions } from '../../src/agent/agent.ts';
import { AgentMetrics } from '../../src/agent/metrics.ts';
import { formatReload, parseReload } from '../../src/api/reload-spec.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { eventually } from '../../testing/support/processes.ts';
import { type LogLine, recordingLogger } from '../../testing/support/recording-logger.ts';
import { credential, emptyMount, type Mount, type SecretFiles } from './mount.ts';
import { freshName, startServer } from './server-process.ts';

/** A server that is told by a request. It answers with `status`, and remembers who came. */
async function toldByHttp(t: TestContext) {
  const state = { told: 0, status: 200, how: '' };
  const server = createServer((_, response) => {
    state.told += 1;
    response.writeHead(state.status).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  state.how = `http:POST:http://127.0.0.1:${(server.address() as AddressInfo).port}/reload`;
  return state;
}

function start(t: TestContext, mounts: readonly Mount[], how: readonly string[], options: Partial<AgentOptions> = {}) {
  const log = recordingLogger();
  const targets = how.map(parseReload);
  const metrics = new AgentMetrics('test', targets.map(formatReload));
  const agent = new Agent({
    directories: mounts.map(({ directory }) => directory),
    targets,
    usage: 'Server',
    reloadAtStart: false,
    confirm: undefined,
    timeoutMs: 5_000,
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

const REFUSED = 'what is mounted cannot be used: the server is told nothing';
const mixed = async (): Promise<SecretFiles> =>
  new Map([...(await credential()), ['dc.key', (await credential()).get('dc.key') ?? '']]);

/** Of the error that a line carries. */
const codeOf = ({ fields }: LogLine) => (fields['error'] as { readonly code?: string } | undefined)?.code;

const untilTold = (server: { readonly told: number }, times: number) =>
  eventually(`the server to be told ${times} times`, async () => (server.told >= times ? true : undefined), {
    intervalMs: 5,
  });

describe('the agent', () => {
  test('is ready when what is there at the start is good, and tells nobody of it', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const server = await toldByHttp(t);
    const { agent } = start(t, [mount], [server.how]);
    await agent.firstReady;
    assert.equal(agent.problem(), undefined);
    assert.equal(server.told, 0);
  });

  test('tells of what is there at the start when asked to', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const server = await toldByHttp(t);
    const { agent } = start(t, [mount], [server.how], { reloadAtStart: true });
    await agent.firstReady;
    assert.equal(server.told, 1);
  });

  test('tells the server of every new credential, once, within a second', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const server = await toldByHttp(t);
    const { agent } = start(t, [mount], [server.how], { pollMs: 60_000 });
    await agent.firstReady;
    for (let times = 1; times <= 3; times += 1) {
      const swapped = performance.now();
      await mount.put(await credential());
      await untilTold(server, times);
      t.diagnostic(`told ${(performance.now() - swapped).toFixed(0)} ms after the swap`);
      assert.ok(performance.now() - swapped < 1_000);
    }
    assert.equal(server.told, 3);
  });

  test('notices a change also where the kernel sends no notice', async (t) => {
    const mount = await emptyMount(t);
    const server = await toldByHttp(t);
    // The directory comes after the agent: there was nothing to be noticed in.
    const { rename } = await import('node:fs/promises');
    await rename(mount.directory, `${mount.directory}-later`);
    const { agent, logged } = start(t, [mount], [server.how], { pollMs: 50 });
    const line = await logged(REFUSED);
    assert.equal(line.fields['reason'], 'NotThere');
    await rename(`${mount.directory}-later`, mount.directory);
    await mount.put(await credential());
    await agent.firstReady;
    await mount.put(await credential());
    await untilTold(server, 1);
  });

  test('does not tell of the same content under another name', async (t) => {
    const mount = await emptyMount(t);
    const files = await credential();
    await mount.put(files);
    const server = await toldByHttp(t);
    const { agent, log } = start(t, [mount], [server.how]);
    await agent.firstReady;
    await mount.put(files);
    await eventually('the second generation to be looked at', async () =>
      log.lines.filter(({ message }) => message === 'a credential is there and verified').length === 2
        ? true
        : undefined,
    );
    await mount.put(await credential());
    await untilTold(server, 1);
    assert.equal(server.told, 1);
  });

  for (const [what, make] of Object.entries<() => Promise<SecretFiles>>({
    'a key of another credential': mixed,
    'a credential for a client': () => credential({ usage: 'Client' }),
    'no key': async () => new Map([...(await credential())].filter(([name]) => name !== 'dc.key')),
    'a cut credential': async () => new Map([...(await credential()), ['dc.bin', new Uint8Array(50)]]),
  })) {
    test(`never tells of ${what}, says so, and stays ready`, async (t) => {
      const mount = await emptyMount(t);
      await mount.put(await credential());
      const server = await toldByHttp(t);
      const { agent, log, logged, metrics } = start(t, [mount], [server.how], { pollMs: 20 });
      await agent.firstReady;
      await mount.put(await make());
      const { fields, level } = await logged(REFUSED);
      assert.equal(level, 'error');
      assert.equal(fields['directory'], mount.directory);
      assert.equal(agent.problem(), undefined, 'what the server has is as good as before');
      await mount.put(await credential());
      await untilTold(server, 1);
      assert.equal(server.told, 1);
      assert.equal(log.lines.filter(({ message }) => message === REFUSED).length, 1, 'it is said once');
      assert.match(metrics.render(true), /dcred_agent_checks_total\{outcome="(refused|unreadable)"\} 1/);
    });
  }

  test('is not ready while there is nothing good, and says why', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await mixed());
    const { agent, logged } = start(t, [mount], []);
    await logged(REFUSED);
    assert.match(agent.problem() ?? '', /web: the credential is for another key/);
    await mount.put(await credential());
    await agent.firstReady;
  });

  test('tells again, with pauses, until the server has taken it', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const server = await toldByHttp(t);
    const { agent, log, metrics } = start(t, [mount], [server.how]);
    await agent.firstReady;
    server.status = 500;
    await mount.put(await credential());
    await untilTold(server, 1);
    const first = performance.now();
    await untilTold(server, 2);
    assert.ok(performance.now() - first > 400, 'after a pause');
    server.status = 200;
    await untilTold(server, 3);
    await eventually('the success to be counted', async () =>
      metrics.render(true).includes(`dcred_agent_reloads_total{target="${server.how}",outcome="ok"} 1`)
        ? true
        : undefined,
    );
    assert.match(metrics.render(true), /outcome="failed"\} 2/);
    const failure = log.lines.find(({ message }) => message.startsWith('the server did not take'));
    assert.ok(failure !== undefined);
    assert.equal(codeOf(failure), 'HttpFailed');
  });

  test('forgets a credential that the server would not take when there is a newer one', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const server = await toldByHttp(t);
    const { agent } = start(t, [mount], [server.how], { random: () => 0.999 });
    await agent.firstReady;
    server.status = 500;
    await mount.put(await credential());
    await untilTold(server, 1);
    server.status = 200;
    const swapped = performance.now();
    await mount.put(await credential());
    await untilTold(server, 2);
    assert.ok(performance.now() - swapped < 900, 'it does not wait for the pause to be over');
  });

  test('tells each of several servers until each has taken it, and none twice', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const servers = [await toldByHttp(t), await toldByHttp(t)] as const;
    const { agent } = start(
      t,
      [mount],
      servers.map(({ how }) => how),
    );
    await agent.firstReady;
    servers[1].status = 500;
    await mount.put(await credential());
    await untilTold(servers[1], 1);
    servers[1].status = 200;
    await untilTold(servers[1], 2);
    assert.equal(servers[0].told, 1);
  });

  test('tells of several directories at once, and of none while one is bad', async (t) => {
    const mounts = [await emptyMount(t), await emptyMount(t)] as const;
    for (const mount of mounts) await mount.put(await credential());
    const server = await toldByHttp(t);
    const { agent, logged } = start(t, mounts, [server.how], { pollMs: 20 });
    await agent.firstReady;
    for (const mount of mounts) await mount.put(await credential());
    await untilTold(server, 1);
    await mounts[0].put(await mixed());
    await logged(REFUSED);
    await mounts[1].put(await credential());
    await eventually('the good one to be seen', async () => (agent.problem() === undefined ? true : undefined));
    const told = server.told;
    await mounts[0].put(await credential());
    await untilTold(server, told + 1);
    assert.ok(told <= 2 && server.told === told + 1);
  });

  test('is not ready any more when what the server has expires', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential({ lifetimeSeconds: 60 }));
    let ahead = 0;
    const clock = { ...systemClock, now: () => Date.now() + ahead };
    const { agent, logged } = start(t, [mount], [], { clock, pollMs: 20 });
    await agent.firstReady;
    ahead = 61_000;
    assert.match(agent.problem() ?? '', /expired at/);
    assert.equal((await logged(REFUSED)).fields['reason'], 'Expired');
  });

  test('signals a server that is older than the files: the agent was away when they changed', async (t) => {
    const name = freshName();
    const server = await startServer(t, name);
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const { agent } = start(t, [mount], [`signal:HUP:${name}`]);
    await agent.firstReady;
    assert.equal(await server.nextLine(), 'told');
  });

  test('does not signal one that is younger: it has read them', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    // Starts are known to a hundredth of a second.
    await new Promise((resolve) => setTimeout(resolve, 150));
    const name = freshName();
    const server = await startServer(t, name);
    const { agent } = start(t, [mount], [`signal:HUP:${name}`]);
    await agent.firstReady;
    await mount.put(await credential());
    assert.equal(await server.nextLine(), 'told');
    assert.deepEqual(server.lines, [], 'once, for the second pair');
  });

  test('waits for a server that is not there yet', async (t) => {
    const name = freshName();
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const { agent, logged } = start(t, [mount], [`signal:HUP:${name}`]);
    await agent.firstReady;
    await mount.put(await credential());
    const failure = await logged('the server did not take the new credential: it is told again');
    assert.equal(codeOf(failure), 'ProcessNotFound');
    const server = await startServer(t, name);
    assert.equal(await server.nextLine(), 'told');
  });

  test('logs nothing of a key', async (t) => {
    const mount = await emptyMount(t);
    const generations = [await credential(), await mixed(), await credential()];
    const server = await toldByHttp(t);
    const [first, ...more] = generations;
    await mount.put(first ?? new Map());
    const { agent, log, metrics } = start(t, [mount], [server.how], { pollMs: 20 });
    await agent.firstReady;
    for (const files of more) await mount.put(files);
    await untilTold(server, 1);
    const said = JSON.stringify(log.lines) + metrics.render(true);
    for (const files of generations) {
      const body = String(files.get('dc.key')).split('\n')[1] ?? '';
      assert.ok(body.length > 40 && !said.includes(body));
    }
  });

  test('ends when it is told to, also in the middle of telling', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const begun = join(mount.directory, '..', 'begun');
    const command = ['/bin/sh', '-c', `touch ${begun}; exec sleep 30`];
    const how = `exec:${JSON.stringify(command)}`;
    const { running, stop } = start(t, [mount], [how], { reloadAtStart: true, timeoutMs: 60_000 });
    await eventually('the command to run', async () => (existsSync(begun) ? true : undefined));
    stop.abort();
    await running;
  });
});
