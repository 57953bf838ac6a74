import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { freePort } from '../../testing/support/ports.ts';
import { endChild, eventually, tryRun } from '../../testing/support/processes.ts';
import { NAMESPACE, operatorOf, pick, ROOT, render, type Values } from './chart.ts';
import { createRestrictedNamespaces, deploy } from './cluster.ts';

/** The command of `helm test`, run here because there is no node to run its pod. */
async function runHelmTest(env: Readonly<Record<string, string>>, values: Values = {}) {
  const { command, args } = pick(await render(values), 'Pod')['spec'].containers[0];
  const [, ...options]: readonly string[] = command;
  return tryRun(process.execPath, [...options, ...args], {
    env: { PATH: process.env['PATH'], EXPECTED_VERSION: '', WAIT_SECONDS: '0', ...env },
  });
}

/** A fake: another server on the operator's port. */
async function withServer<T>(body: string, use: (url: string) => Promise<T>): Promise<T> {
  const server = createServer((_, response) => response.end(body));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`);
  } finally {
    server.close();
  }
}

describe('the operator, with the arguments and the permissions of the chart,', () => {
  let plane: ControlPlane;

  before(async () => {
    plane = await startControlPlane();
    await createRestrictedNamespaces(plane, [NAMESPACE, 'edge', 'shop']);
  });
  after(() => plane?.stop());

  for (const [name, values] of Object.entries<Values>({
    'for every namespace': {},
    'for two namespaces': { namespaces: ['edge', 'shop'] },
    'for every namespace, with metrics for authorized scrapers': { metrics: { auth: true } },
    'for one, without leader election': { namespaces: ['edge'], leaderElection: { enabled: false }, replicas: 1 },
  })) {
    test(`${name} becomes ready, and helm test passes`, async () => {
      await plane.helm(['uninstall', 'dcred', '--namespace', NAMESPACE, '--ignore-not-found']);
      await deploy(plane, 'install', { values });
      await plane.untilRolesHold();
      await plane.untilServed('delegatedcredentials.dcred.dev');
      const kubeconfig = await plane.kubeconfigFor({ serviceAccount: { namespace: NAMESPACE, name: 'dcred' } });
      const [metrics, health] = [await freePort(), await freePort()];
      const { args, env } = operatorOf(await render(values))['spec'].template.spec.containers[0];
      const given = (args as readonly string[]).map((arg) =>
        arg.replace(':8080', `:${metrics}`).replace(':8081', `:${health}`),
      );
      const heap = (env as readonly { name: string; value?: string }[]).find(
        (entry) => entry.name === 'NODE_OPTIONS',
      )?.value;
      const operator = spawn(process.execPath, [join(ROOT, 'src', 'main.ts'), ...given, '--kubeconfig', kubeconfig], {
        env: { PATH: process.env['PATH'], POD_NAME: 'dcred-0', POD_NAMESPACE: NAMESPACE, NODE_OPTIONS: heap },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let log = '';
      operator.stderr.on('data', (chunk: Buffer) => {
        log += chunk.toString();
      });
      try {
        await eventually('the operator is ready', async () => {
          if (operator.exitCode !== null) throw new Error(`the operator exited:\n${log}`);
          const response = await fetch(`http://127.0.0.1:${health}/readyz`).catch(() => undefined);
          return response?.status === 200 ? true : undefined;
        });
        const result = await runHelmTest(
          { METRICS_URL: `http://127.0.0.1:${metrics}/metrics`, EXPECT_AUTH: `${values['metrics'] !== undefined}` },
          values,
        );
        assert.equal(result.stderr, '');
        assert.match(result.stdout, /^dcred \S+ is ready/);
        assert.equal(result.status, 0);
        assert.doesNotMatch(log, /forbidden/i);
      } finally {
        await endChild(operator);
      }
    });
  }
});

describe('helm test fails', () => {
  test('when nothing answers, and names the URL', async () => {
    const result = await runHelmTest({ METRICS_URL: `http://127.0.0.1:${await freePort()}/metrics` });
    assert.equal(result.status, 1);
    assert.match(result.stderr, /^http:\/\/127\.0\.0\.1:\d+\/metrics: .*ECONNREFUSED/);
  });

  test('when a different server answers', async () => {
    const result = await withServer('up 1\n', (url) => runHelmTest({ METRICS_URL: url }));
    assert.equal(result.status, 1);
    assert.match(result.stderr, /this is not dcred/);
  });

  test('when a different version answers', async () => {
    const result = await withServer('dcred_build_info{version="0.0.1"} 1\n', (url) =>
      runHelmTest({ METRICS_URL: url, EXPECTED_VERSION: '0.1.0' }),
    );
    assert.equal(result.status, 1);
    assert.match(result.stderr, /expected version 0\.1\.0, got 0\.0\.1/);
  });
});
