import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { UsageError } from '../../../src/cli/command.ts';
import { agentCommand } from '../../../src/cli/services/agent.ts';
import { startAgent } from '../../agent/agent-process.ts';
import { credential, emptyMount } from '../../agent/mount.ts';
import { freshName, startServer } from '../../agent/server-process.ts';
import { runCommand } from '../run-command.ts';

const once = (directory: string, ...argv: string[]) =>
  runCommand(agentCommand, ['--once', '--dir', directory, '--poll=1s', '--log-level=error', ...argv]);

describe('dcred agent --once', () => {
  test('exits with 0 as soon as every directory holds a valid credential', async (t) => {
    const mount = await emptyMount(t);
    const running = once(mount.directory);
    await mount.put(await credential());
    assert.equal((await running).status, 0);
  });

  test('exits with 1 on timeout, and says why', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential({ usage: 'Client' }));
    const { status, stderr } = await once(mount.directory, '--usage=Server', '--timeout=5s');
    assert.equal(status, 1);
    assert.match(stderr, /dcred agent: not ready after 5s: .*signed for the usage Client, not Server/);
    assert.equal((await once(mount.directory, '--usage=Client')).status, 0);
    assert.equal((await once(mount.directory)).status, 0);
  });

  test('reloads no server', async (t) => {
    const name = freshName();
    const server = await startServer(t, name);
    const mount = await emptyMount(t);
    await mount.put(await credential());
    assert.equal((await once(mount.directory, '--reload', `signal:HUP:${name}`, '--reload-at-start')).status, 0);
    assert.deepEqual(server.lines, []);
  });
});

describe('dcred agent', () => {
  test('answers probes and scrapes, and exits on SIGTERM', async (t) => {
    const mount = await emptyMount(t);
    // Of no process: there is nothing to reload.
    const target = `signal:HUP:${freshName()}`;
    const agent = await startAgent(t, ['--dir', mount.directory, '--reload', target]);
    await agent.logged('mounted credential is not valid, not reloading');
    assert.equal((await agent.get('/healthz')).status, 200);
    const notReady = await agent.get('/readyz');
    assert.equal(notReady.status, 503);
    assert.match(notReady.body, /has no "\.\.data"/);
    await mount.put(await credential());
    await agent.untilReady();
    const { body } = await agent.get('/metrics');
    for (const line of [
      'dcred_agent_ready 1',
      'dcred_agent_checks_total{outcome="verified"} 1',
      `dcred_agent_reloads_total{target="${target}",outcome="failed"} 0`,
    ]) {
      assert.ok(body.includes(`${line}\n`), `${line} in:\n${body}`);
    }
    assert.match(body, /^dcred_agent_served_expiry_timestamp_seconds \d{10}$/m);
    assert.match(body, /^process_resident_memory_bytes \d+$/m);
    assert.equal(await agent.stop(), 0);
  });

  const notRoot = process.getuid?.() === 0 ? false : 'needs root, to run the agent as another user';
  test('says what to change when it may not signal the server', { skip: notRoot }, async (t) => {
    const name = freshName();
    const server = await startServer(t, name);
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const how = ['--dir', mount.directory, '--reload', `signal:HUP:${name}`, '--reload-at-start'];
    const agent = await startAgent(t, how, { uid: 65_532 });
    const { err } = await agent.logged('failed to reload the server, retrying');
    const { code, message } = err as { code: string; message: string };
    assert.equal(code, 'NotPermitted');
    assert.match(message, /runs as uid 0, which uid 65532 may not signal: run both as the same user/);
    assert.deepEqual(server.lines, []);
    assert.equal((await agent.get('/readyz')).body, 'the server has not been reloaded yet\n');
  });

  for (const [argv, message] of [
    [[], /--dir DIRECTORY is required/],
    [['--dir', 'relative'], /absolute path/],
    [['--dir', '/x', '--reload', 'nginx'], /--reload: expected signal:HUP:nginx/],
    [['--dir', '/x', '--confirm', 'nginx'], /--confirm: expected a URL/],
    [['--dir', '/x', '--poll', '0s'], /--poll takes a duration of a second or more/],
    [['--dir', '/x', '--bind-address', 'x'], /--bind-address/],
  ] as const) {
    test(`refuses ${JSON.stringify(argv)}`, async () => {
      await assert.rejects(runCommand(agentCommand, argv), (error) => {
        assert.ok(error instanceof UsageError);
        assert.match(error.message, message);
        return true;
      });
    });
  }
});
