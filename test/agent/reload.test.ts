import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type ReloadErrorCode, type ReloadOptions, reload } from '../../src/agent/reload.ts';
import { parseReload } from '../../src/api/reload-spec.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { temporaryDirectory } from '../cli/run-command.ts';
import { DEAF, FRAIL, freshName, startServer, WITH_WORKER } from './server-process.ts';

const { signal } = new AbortController();
const OPTIONS: ReloadOptions = { clock: systemClock, timeoutMs: 5_000, settleMs: 150, confirm: undefined };

const tell = (how: string, options: Partial<ReloadOptions> = {}) =>
  reload(parseReload(how), { ...OPTIONS, ...options }, signal);

const refused = (how: string, code: ReloadErrorCode, message: RegExp, options: Partial<ReloadOptions> = {}) =>
  assert.rejects(tell(how, options), { name: 'ReloadError', code, message });

/** A server that answers with one status; its address, and what it was asked. */
async function httpServer(t: TestContext, status: number): Promise<{ url: string; asked: string[]; server: Server }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    if (status > 0) response.writeHead(status, { location: '/elsewhere' }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/reload`, asked, server };
}

describe('a signal', { skip: process.platform === 'linux' ? false : 'needs /proc' }, () => {
  test('reaches the process of that name', async (t) => {
    const name = freshName();
    const server = await startServer(t, name);
    await tell(`signal:HUP:${name}`);
    assert.equal(await server.nextLine(), 'told');
  });

  test('reaches both of two processes of one name', async (t) => {
    const name = freshName();
    const servers = [await startServer(t, name), await startServer(t, name)];
    await tell(`signal:HUP:${name}`);
    for (const server of servers) assert.equal(await server.nextLine(), 'told');
  });

  test("is for the master; its workers are the master's to tell", async (t) => {
    const name = freshName();
    const server = await startServer(t, name, WITH_WORKER);
    await tell(`signal:HUP:${name}`);
    assert.equal(await server.nextLine(), 'told');
    await tell(`signal:HUP:${name}`);
    assert.equal(await server.nextLine(), 'told');
    assert.deepEqual(server.lines, []);
  });

  test('reaches the process that a pid file names', async (t) => {
    const server = await startServer(t, freshName());
    const path = join(temporaryDirectory(t), 'server.pid');
    await writeFile(path, `${server.pid}\n`);
    await tell(`signal:HUP:pid:${path}`);
    assert.equal(await server.nextLine(), 'told');
  });

  for (const content of ['', '0', '-1', 'nginx', '4194305', '1 2']) {
    test(`is sent to nobody for a pid file with "${content}"`, async (t) => {
      const path = join(temporaryDirectory(t), 'server.pid');
      await writeFile(path, content);
      await refused(`signal:HUP:pid:${path}`, 'ProcessNotFound', /names no running process/);
    });
  }

  test('is reported when there is nobody of that name', async () => {
    await refused(`signal:HUP:${freshName()}`, 'ProcessNotFound', /no process called "dcred-[0-9a-f]+" is running/);
  });

  test('is not sent to a process without a handler, which it would end', async (t) => {
    const name = freshName();
    const server = await startServer(t, name, DEAF);
    await refused(`signal:HUP:${name}`, 'SignalNotCaught', /no handler for SIGHUP/);
    assert.doesNotThrow(() => process.kill(server.pid, 0));
  });

  test('that ends the server is reported', async (t) => {
    const name = freshName();
    await startServer(t, name, FRAIL);
    await refused(`signal:HUP:${name}`, 'ProcessEnded', /ended after SIGHUP/);
  });

  test('is confirmed by asking the server', async (t) => {
    const name = freshName();
    await startServer(t, name);
    const good = await httpServer(t, 204);
    await tell(`signal:HUP:${name}`, { confirm: good.url });
    assert.deepEqual(good.asked, ['GET /reload']);
    const bad = await httpServer(t, 503);
    await refused(`signal:HUP:${name}`, 'NotConfirmed', /answered with 503/, { confirm: bad.url });
  });
});

describe('a command', () => {
  test('that ends with 0 has done it, and gets its words as they are', async (t) => {
    const path = join(temporaryDirectory(t), 'out');
    await tell(`exec:${JSON.stringify(['/bin/sh', '-c', `printf '%s|' "$@" > ${path}`, 'x', 'a b', '$HOME', ''])}`);
    const { readFile } = await import('node:fs/promises');
    assert.equal(await readFile(path, 'utf8'), 'a b|$HOME||');
  });

  test('that ends with another status has not', async () => {
    await refused('exec:["/bin/sh","-c","exit 7"]', 'CommandFailed', /\/bin\/sh ended with status 7/);
  });

  test('that a signal ends has not', async () => {
    await refused('exec:["/bin/sh","-c","kill -9 $$"]', 'CommandFailed', /was ended by SIGKILL/);
  });

  test('that is not there, or is none', async (t) => {
    const path = join(temporaryDirectory(t), 'file');
    await writeFile(path, '');
    await chmod(path, 0o644);
    await refused('exec:/no/such/command', 'CommandFailed', /cannot be run \(ENOENT\)/);
    await refused(`exec:${path}`, 'CommandFailed', /cannot be run \(EACCES\)/);
  });

  test('that takes too long is ended', async () => {
    await refused('exec:/bin/sleep 30', 'TimedOut', /took more than 0.1 s/, { timeoutMs: 100 });
  });
});

describe('a request', () => {
  test('that is answered with 2xx has done it', async (t) => {
    const { asked, url } = await httpServer(t, 202);
    await tell(`http:POST:${url}`);
    await tell(`http:GET:${url}?now`);
    assert.deepEqual(asked, ['POST /reload', 'GET /reload?now']);
  });

  for (const status of [302, 404, 500]) {
    test(`that is answered with ${status} has not`, async (t) => {
      const { url } = await httpServer(t, status);
      await refused(`http:POST:${url}`, 'HttpFailed', new RegExp(`answered with ${status}, not 2xx`));
    });
  }

  test('to nobody', async (t) => {
    const { server, url } = await httpServer(t, 200);
    await new Promise((resolve) => server.close(resolve));
    await refused(`http:POST:${url}`, 'HttpFailed', /ECONNREFUSED/);
  });

  test('that is not answered', async (t) => {
    const { url } = await httpServer(t, 0);
    await refused(`http:POST:${url}`, 'TimedOut', /took more than 0.1 s/, { timeoutMs: 100 });
  });

  test('ends with the agent', async (t) => {
    const { url } = await httpServer(t, 0);
    const stop = new AbortController();
    const telling = reload(parseReload(`http:POST:${url}`), OPTIONS, stop.signal);
    stop.abort();
    await assert.rejects(telling, { name: 'AbortError' });
  });
});
