import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type ReloadErrorCode, type ReloadOptions, reload } from '../../src/agent/reload.ts';
import { parseReload } from '../../src/api/reload-spec.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';
import { temporaryDirectory } from '../cli/run-command.ts';
import { EXITING, freshName, startServer, WITH_WORKER, WITHOUT_HANDLER } from './server-process.ts';

/** Moves a fake clock on until the promise settles. */
async function advanceUntilSettled(clock: FakeClock, promise: Promise<unknown>): Promise<void> {
  let settled = false;
  const done = promise.finally(() => {
    settled = true;
  });
  while (!settled) await clock.advanceAsync(50);
  await done;
}

const { signal } = new AbortController();
const OPTIONS: ReloadOptions = { clock: systemClock, timeoutMs: 120_000, settleMs: 150, confirm: undefined };

const trigger = (how: string, options: Partial<ReloadOptions> = {}) =>
  reload(parseReload(how), { ...OPTIONS, ...options }, signal);

const refused = (how: string, code: ReloadErrorCode, message: RegExp, options: Partial<ReloadOptions> = {}) =>
  assert.rejects(trigger(how, options), { name: 'ReloadError', code, message });

/** A server that answers with one status; its address, and the requests it got. */
async function httpServer(
  t: TestContext,
  status: number,
): Promise<{ url: string; requests: string[]; server: Server }> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    if (status > 0) response.writeHead(status, { location: '/elsewhere' }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/reload`, requests, server };
}

describe('a signal', { skip: process.platform === 'linux' ? false : 'needs /proc' }, () => {
  test('reaches the process of that name', async (t) => {
    const name = freshName();
    const server = await startServer(t, name);
    await trigger(`signal:HUP:${name}`);
    assert.equal(await server.nextLine(), 'reloaded');
  });

  test('reaches both of two processes of one name', async (t) => {
    const name = freshName();
    const servers = [await startServer(t, name), await startServer(t, name)];
    await trigger(`signal:HUP:${name}`);
    for (const server of servers) assert.equal(await server.nextLine(), 'reloaded');
  });

  test('is sent to the master, not to its workers', async (t) => {
    const name = freshName();
    const server = await startServer(t, name, WITH_WORKER);
    await trigger(`signal:HUP:${name}`);
    assert.equal(await server.nextLine(), 'reloaded');
    await trigger(`signal:HUP:${name}`);
    assert.equal(await server.nextLine(), 'reloaded');
    assert.deepEqual(server.lines, []);
  });

  test('reaches the process that a pid file names', async (t) => {
    const server = await startServer(t, freshName());
    const path = join(temporaryDirectory(t), 'server.pid');
    await writeFile(path, `${server.pid}\n`);
    await trigger(`signal:HUP:pid:${path}`);
    assert.equal(await server.nextLine(), 'reloaded');
  });

  for (const content of ['', '0', '-1', 'nginx', '4194305', '1 2']) {
    test(`is sent to no process for a pid file with "${content}"`, async (t) => {
      const path = join(temporaryDirectory(t), 'server.pid');
      await writeFile(path, content);
      await refused(`signal:HUP:pid:${path}`, 'ProcessNotFound', /names no running process/);
    });
  }

  test('is not sent to the agent itself, whose number in its own namespace a pid file of another may hold', async (t) => {
    const path = join(temporaryDirectory(t), 'server.pid');
    await writeFile(path, `${process.pid}`);
    let signals = 0;
    const count = () => {
      signals += 1;
    };
    process.on('SIGWINCH', count);
    t.after(() => process.off('SIGWINCH', count));
    await refused(`signal:WINCH:pid:${path}`, 'ProcessNotFound', /names no running process/);
    assert.equal(signals, 0);
  });

  test('fails when no process has that name', async () => {
    await refused(`signal:HUP:${freshName()}`, 'ProcessNotFound', /no process called "dcred-[0-9a-f]+" is running/);
  });

  test('is not sent to a process without a handler, which it would terminate', async (t) => {
    const name = freshName();
    const server = await startServer(t, name, WITHOUT_HANDLER);
    await refused(`signal:HUP:${name}`, 'SignalNotCaught', /no handler for SIGHUP/);
    assert.doesNotThrow(() => process.kill(server.pid, 0));
  });

  test('after which the server exits is a failure', async (t) => {
    const name = freshName();
    const server = await startServer(t, name, EXITING);
    const clock = new FakeClock();
    const reloading = refused(`signal:HUP:${name}`, 'ProcessExited', /exited after SIGHUP/, { clock });
    await server.exited;
    await advanceUntilSettled(clock, reloading);
  });

  test('is confirmed by a request to the server', async (t) => {
    const name = freshName();
    await startServer(t, name);
    const good = await httpServer(t, 204);
    await trigger(`signal:HUP:${name}`, { confirm: good.url });
    assert.deepEqual(good.requests, ['GET /reload']);
    const bad = await httpServer(t, 503);
    await refused(`signal:HUP:${name}`, 'NotConfirmed', /answered with 503/, { confirm: bad.url });
  });
});

describe('a command', () => {
  test('that exits with 0 succeeds, and gets its arguments unchanged', async (t) => {
    const path = join(temporaryDirectory(t), 'out');
    await trigger(`exec:${JSON.stringify(['/bin/sh', '-c', `printf '%s|' "$@" > ${path}`, 'x', 'a b', '$HOME', ''])}`);
    const { readFile } = await import('node:fs/promises');
    assert.equal(await readFile(path, 'utf8'), 'a b|$HOME||');
  });

  test('that exits with another status fails', async () => {
    await refused('exec:["/bin/sh","-c","exit 7"]', 'CommandFailed', /\/bin\/sh exited with status 7/);
  });

  test('that is killed by a signal fails', async () => {
    await refused('exec:["/bin/sh","-c","kill -9 $$"]', 'CommandFailed', /was killed by SIGKILL/);
  });

  test('that does not exist or is not executable fails', async (t) => {
    const path = join(temporaryDirectory(t), 'file');
    await writeFile(path, '');
    await chmod(path, 0o644);
    await refused('exec:/no/such/command', 'CommandFailed', /cannot be started \(ENOENT\)/);
    await refused(`exec:${path}`, 'CommandFailed', /cannot be started \(EACCES\)/);
  });

  test('that takes too long is killed', async () => {
    await refused('exec:/bin/sleep 30', 'TimedOut', /took more than 0.1 s/, { timeoutMs: 100 });
  });
});

describe('a request', () => {
  test('that is answered with 2xx succeeds', async (t) => {
    const { requests, url } = await httpServer(t, 202);
    await trigger(`http:POST:${url}`);
    await trigger(`http:GET:${url}?now`);
    assert.deepEqual(requests, ['POST /reload', 'GET /reload?now']);
  });

  for (const status of [302, 404, 500]) {
    test(`that is answered with ${status} fails`, async (t) => {
      const { url } = await httpServer(t, status);
      await refused(`http:POST:${url}`, 'HttpFailed', new RegExp(`answered with ${status}, not 2xx`));
    });
  }

  test('that is refused a connection fails', async (t) => {
    const { server, url } = await httpServer(t, 200);
    await new Promise((resolve) => server.close(resolve));
    await refused(`http:POST:${url}`, 'HttpFailed', /ECONNREFUSED/);
  });

  test('that is not answered times out', async (t) => {
    const { url } = await httpServer(t, 0);
    await refused(`http:POST:${url}`, 'TimedOut', /took more than 0.1 s/, { timeoutMs: 100 });
  });

  for (const status of [200, 500]) {
    test(`leaves no connection behind where an answer of ${status} goes on for ever`, async (t) => {
      const { server, url } = await httpServer(t, 0);
      const [answered, closed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      server.on('request', (_, response) => {
        response.writeHead(status).write('still reloading', () => answered.resolve());
        response.once('close', closed.resolve);
      });
      const clock = new FakeClock();
      const code = status === 200 ? 'TimedOut' : 'HttpFailed';
      const failed = assert.rejects(trigger(`http:POST:${url}`, { clock }), { code });
      await answered.promise;
      if (status === 200) await clock.advanceAsync(OPTIONS.timeoutMs);
      await failed;
      await closed.promise;
    });
  }

  test('whose answer is cut off fails', async (t) => {
    const { server, url } = await httpServer(t, 0);
    server.on('request', (_, response) => {
      response.writeHead(200).write('reload', () => response.destroy());
    });
    await refused(`http:POST:${url}`, 'HttpFailed', /ECONNRESET/);
  });

  test('is aborted with the agent', async (t) => {
    const { url } = await httpServer(t, 0);
    const stop = new AbortController();
    const reloading = reload(parseReload(`http:POST:${url}`), OPTIONS, stop.signal);
    stop.abort();
    await assert.rejects(reloading, { name: 'AbortError' });
  });
});
