import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { UsageError } from '../../../src/cli/command.ts';
import { operatorCommand } from '../../../src/cli/services/operator.ts';
import { freePort } from '../../../testing/support/ports.ts';
import { runCommand, temporaryDirectory } from '../run-command.ts';

/** A kubeconfig for an address where nothing listens. */
async function kubeconfigToNowhere(t: TestContext): Promise<string> {
  const path = join(temporaryDirectory(t), 'kubeconfig');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'x', cluster: { server: `https://127.0.0.1:${await freePort()}` } }],
    users: [{ name: 'x', user: { token: 'x' } }],
    contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
    'current-context': 'x',
  };
  writeFileSync(path, JSON.stringify(config));
  return path;
}

function listen(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ port, host: '127.0.0.1' }, () => resolve(server));
  });
}

const close = (server: Server) => new Promise((resolve) => server.close(resolve));

describe('dcred operator refuses', () => {
  for (const [argv, message] of [
    [['--workers', '0'], /^--workers takes a whole number from 1 to 256; got "0"$/],
    [['--workers', '257'], /got "257"/],
    [['--workers', 'many'], /got "many"/],
    [['--workers', '1.5'], /got "1\.5"/],
    [['--workers='], /got ""/],
    [['--shards', '0'], /^--shards takes a whole number from 1 to 64; got "0"$/],
    [['--shards', '65'], /got "65"/],
    [['--shards', '4', '--leader-elect=false'], /^--shards needs leader election/],
    [['--metrics-bind-address', '8080'], /^--metrics-bind-address: expected an address such as ":8080"/],
    [['--health-probe-bind-address', 'x:y:z'], /^--health-probe-bind-address: expected an address/],
    [['--leader-elect-resource-name', ''], /^--leader-elect-resource-name takes the name of a Lease: .*; got ""$/],
    [['--leader-elect-resource-name', '../pods'], /got "\.\.\/pods"$/],
    [['--leader-elect-resource-name', 'Dcred'], /got "Dcred"$/],
    [['--leader-elect=perhaps'], /^--leader-elect takes true or false/],
    [['--log-level', 'trace'], /^--log-level takes one of debug, info, warn, error; got "trace"$/],
    [['edge'], /unexpected argument "edge"/],
    [['-n', ''], /^--namespace takes the name of one namespace: .*; got ""$/],
    [['-n', 'a', '-n', 'a/b'], /got "a\/b"$/],
    [['-n', '..'], /got "\.\."$/],
    [['-n', 'a,b'], /got "a,b"$/],
    [['--namespace', 'Edge'], /got "Edge"$/],
  ] as const) {
    test(argv.join(' '), async () => {
      await assert.rejects(runCommand(operatorCommand, argv), (error) => {
        assert.ok(error instanceof UsageError, String(error));
        assert.match(error.message, message);
        return true;
      });
    });
  }

  test('a kubeconfig that does not exist, with its path', async () => {
    await assert.rejects(runCommand(operatorCommand, ['--kubeconfig', '/nowhere/kubeconfig']), {
      name: 'ConnectionError',
      message: /\/nowhere\/kubeconfig/,
    });
  });
});

describe('dcred operator whose address is in use', () => {
  test('exits, and listens on no other address', { timeout: 300_000 }, async (t) => {
    const [healthPort, metricsPort] = [await freePort(), await freePort()];
    const holder = await listen(metricsPort);
    t.after(() => close(holder));
    const argv = [
      '--kubeconfig',
      await kubeconfigToNowhere(t),
      `--metrics-bind-address=127.0.0.1:${metricsPort}`,
      `--health-probe-bind-address=127.0.0.1:${healthPort}`,
    ];
    await assert.rejects(runCommand(operatorCommand, argv), { code: 'AddressInvalid' });
    await close(await listen(healthPort));
  });
});

test('dcred operator exits on its signal, although the API server does not answer', { timeout: 300_000 }, async (t) => {
  const stop = new AbortController();
  const argv = ['--kubeconfig', await kubeconfigToNowhere(t), '--metrics-bind-address=0', '--leader-elect=false'];
  const port = await freePort();
  const running = runCommand(operatorCommand, [...argv, `--health-probe-bind-address=127.0.0.1:${port}`], {
    signal: stop.signal,
  });
  const ready = await retry(() => fetch(`http://127.0.0.1:${port}/readyz`));
  assert.equal(ready.status, 503);
  assert.equal(await ready.text(), 'the caches are not filled yet\n');
  assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 200);
  stop.abort();
  const { status, stderr } = await running;
  assert.equal(status, 0);
  for (const line of stderr.trimEnd().split('\n')) {
    const { level, time, msg } = JSON.parse(line);
    assert.ok(typeof level === 'string' && typeof msg === 'string' && !Number.isNaN(Date.parse(time)), line);
  }
  await assert.rejects(fetch(`http://127.0.0.1:${port}/healthz`));
});

async function retry<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
