import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { catches, findByName, isAlive, readProcess, signalProcess, startedAt } from '../../src/agent/processes.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { eventually } from '../../testing/support/processes.ts';
import { freshName, startServer, WITH_WORKER, WITHOUT_HANDLER } from './server-process.ts';

const absent = process.platform === 'linux' ? false : 'needs /proc';

describe('processes', { skip: absent }, () => {
  test('are found by name, with the signals they handle', async (t) => {
    const name = freshName();
    assert.deepEqual(await findByName(name), []);
    const server = await startServer(t, name);
    const [found, ...more] = await findByName(name);
    assert.ok(found !== undefined && more.length === 0);
    assert.equal(found.pid, server.pid);
    assert.equal(found.uid, process.getuid?.());
    assert.ok(catches(found, 'HUP'));
    assert.ok(!catches(found, 'USR1'));
  });

  test('without a handler are recognized', async (t) => {
    const server = await startServer(t, freshName(), WITHOUT_HANDLER);
    const found = await readProcess(server.pid);
    assert.ok(found !== undefined && !catches(found, 'HUP'));
  });

  test('of one name are all found', async (t) => {
    const name = freshName();
    const servers = [await startServer(t, name), await startServer(t, name)];
    const pids = (await findByName(name)).map(({ pid }) => pid);
    assert.deepEqual(new Set(pids), new Set(servers.map(({ pid }) => pid)));
    assert.equal(pids.length, 2);
  });

  test('are the masters, not their workers', async (t) => {
    const name = freshName();
    const { pid } = await startServer(t, name, WITH_WORKER);
    assert.deepEqual(
      (await findByName(name)).map((found) => found.pid),
      [pid],
    );
  });

  test('that have exited are gone, even before their parent waits for them', async (t) => {
    const name = freshName();
    const server = await startServer(t, name);
    const found = await readProcess(server.pid);
    assert.ok(found !== undefined && (await isAlive(found)));
    await server.end();
    assert.ok(!(await isAlive(found)));
    // A copy of the shell that was about to become its next "sleep" was killed with it, and may take a moment longer.
    await eventually('no process of that name', async () => (await findByName(name)).length === 0 || undefined);
  });

  test('get no signal that is meant for an earlier process with their pid', async (t) => {
    const server = await startServer(t, freshName(), WITHOUT_HANDLER);
    const found = await readProcess(server.pid);
    assert.ok(found !== undefined);
    const earlier = { ...found, startTicks: found.startTicks - 1 };
    assert.equal(signalProcess(earlier, 'SIGKILL'), false);
    assert.ok(!(await isAlive(earlier)));
    assert.ok(await isAlive(found));
    assert.equal(signalProcess(found, 'SIGKILL'), true);
  });

  test('have a start time', async (t) => {
    const before = Date.now();
    const server = await startServer(t, freshName());
    const found = await readProcess(server.pid);
    assert.ok(found !== undefined);
    const at = startedAt(found, systemClock);
    // Ticks are 10 ms long.
    assert.ok(at >= before - 30 && at <= Date.now() + 30, `${at - before} ms after it was started`);
  });

  test('may have any name', async (t) => {
    const proc = await mkdtemp(join(tmpdir(), 'dcred-proc-'));
    t.after(() => rm(proc, { recursive: true }));
    const put = async (pid: number, comm: string, cmdline: string, state = 'S', parent = 1) => {
      const fields = [state, parent, ...Array.from({ length: 17 }, () => 0), 4242, 0].join(' ');
      await mkdir(join(proc, String(pid)));
      await writeFile(join(proc, String(pid), 'comm'), `${comm}\n`);
      await writeFile(join(proc, String(pid), 'cmdline'), cmdline);
      await writeFile(join(proc, String(pid), 'stat'), `${pid} (${comm}) ${fields}\n`);
      await writeFile(join(proc, String(pid), 'status'), 'Name:\tx\nUid:\t1\t101\t1\t1\nSigCgt:\t0000000000000001\n');
    };
    await put(7, 'a) S (b', '/bin/a) S (b\0-x\0');
    await put(8, 'nginx', 'nginx: master process nginx -g daemon off;\0');
    await put(9, 'nginx', 'nginx: worker process\0', 'S', 8);
    await put(10, 'nginx', '', 'Z');
    await put(11, 'a-name-that-is-', '/opt/a-name-that-is-too-long\0');
    await put(12, 'MainThread', '/usr/bin/node\0server.js\0');
    await mkdir(join(proc, 'self'));
    const pids = async (name: string) => (await findByName(name, proc)).map(({ pid }) => pid);
    assert.deepEqual(await pids('a) S (b'), [7]);
    assert.deepEqual(await pids('nginx'), [8]);
    assert.deepEqual(await pids('a-name-that-is-too-long'), [11]);
    assert.deepEqual(await pids('node'), [12]);
    assert.deepEqual(await pids('nosuch'), []);
    const one = await readProcess(7, proc);
    assert.deepEqual(one, { pid: 7, parent: 1, uid: 101, startTicks: 4242, caught: 1n });
  });
});
