/** `metrics.auth` with the chart's own roles, on a real API server. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type HttpServer, serveHttp } from '../../src/cli/http-server.ts';
import { METRICS_AUDIENCE, MetricsGuard } from '../../src/cli/options/metrics-guard.ts';
import { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { loadConnection } from '../../src/kubernetes/connection/load-connection.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { eventually } from '../../testing/support/processes.ts';
import { NAMESPACE, type Values } from './chart.ts';
import { createRestrictedNamespaces, deploy } from './cluster.ts';

/** Everything that serves metrics. */
const COMPONENTS: Values = {
  namespaces: ['default'],
  metrics: { auth: true },
  audit: { enabled: true },
  issuer: { enabled: true, authorities: [{ namespace: NAMESPACE, names: ['ca'] }] },
  signer: { enabled: true, certificates: [{ namespace: NAMESPACE, names: ['web-tls'] }] },
};
const ACCOUNTS = ['dcred', 'dcred-webhook', 'dcred-audit', 'dcred-issuer', 'dcred-signer'];

describe('metrics for authorized scrapers', () => {
  const abort = new AbortController();
  const clients: ApiClient[] = [];
  let plane: ControlPlane;
  let server: HttpServer;

  /** As the process of this account asks. */
  const guardOf = async (name: string): Promise<MetricsGuard> => {
    const kubeconfig = await plane.kubeconfigFor({ serviceAccount: { namespace: NAMESPACE, name } });
    const connection = await loadConnection({ kubeconfig, env: {} });
    const client = new ApiClient(connection, {
      userAgent: 'test',
      fieldManager: 'dcred',
      clock: systemClock,
      random: Math.random,
    });
    clients.push(client);
    return new MetricsGuard(client, systemClock, abort.signal);
  };

  const token = async (account: string, ...options: readonly string[]) =>
    (await plane.kubectl(['create', 'token', account, '-n', 'default', ...options])).stdout.trim();
  const scrape = async (header?: string) => {
    const headers = header === undefined ? {} : { authorization: header };
    const response = await fetch(`http://127.0.0.1:${server.port}/metrics`, { headers });
    return {
      status: response.status,
      body: await response.text(),
      challenge: response.headers.get('www-authenticate'),
    };
  };
  const forMetrics = `--audience=${METRICS_AUDIENCE}`;

  before(async () => {
    plane = await startControlPlane();
    await createRestrictedNamespaces(plane, [NAMESPACE]);
    await deploy(plane, 'install', { values: COMPONENTS });
    for (const account of ['scraper', 'stranger']) await plane.kubectl(['create', 'serviceaccount', account]);
    await plane.kubectl([
      'create',
      'clusterrolebinding',
      'scraper',
      `--clusterrole=${NAMESPACE}:dcred-metrics-reader`,
      '--serviceaccount=default:scraper',
    ]);
    const guard = await guardOf('dcred');
    const metrics = async () => ({ status: 200, type: 'text/plain', body: 'up 1\n' });
    server = await serveHttp({ host: '127.0.0.1', port: 0 }, { '/metrics': metrics }, (...asked) =>
      guard.check(...asked),
    );
  });
  after(async () => {
    await server?.close();
    for (const client of clients) await client.close();
    await plane?.stop();
  });

  test('are served to a token of the audience whose user may get /metrics', async () => {
    const outcome = await eventually('the binding to be in force', async () => {
      const found = await scrape(`Bearer ${await token('scraper', forMetrics)}`);
      return found.status === 200 ? found : undefined;
    });
    assert.equal(outcome.body, 'up 1\n');
  });

  test('may be asked about by the account of every component', async () => {
    const { stdout } = await plane.kubectl(['get', 'deployments', '-n', NAMESPACE, '-o', 'name']);
    assert.equal(stdout.trim().split('\n').length, ACCOUNTS.length);
    const [scraper, stranger] = [await token('scraper', forMetrics), await token('stranger', forMetrics)];
    for (const account of ACCOUNTS) {
      const guard = await guardOf(account);
      assert.equal(await guard.check(`Bearer ${scraper}`, '10.0.0.1'), 200, account);
      assert.equal(await guard.check(`Bearer ${stranger}`, '10.0.0.1'), 403, account);
    }
  });

  test('are refused to a user who may not get /metrics', async () => {
    const { body, status } = await scrape(`Bearer ${await token('stranger', forMetrics)}`);
    assert.deepEqual([status, body], [403, '']);
  });

  test('are refused to a token for the API server, which must not be sent in plain HTTP', async () => {
    assert.equal((await scrape(`Bearer ${await token('scraper')}`)).status, 401);
  });

  for (const [what, header] of [
    ['no token', undefined],
    ['another scheme', 'Basic YTpi'],
    ['a forged token', 'Bearer a.b.c'],
    ['a token beyond all bounds', `Bearer ${'a'.repeat(15_000)}`],
  ] as const) {
    test(`are refused to ${what}, with a challenge`, async () => {
      const { body, challenge, status } = await scrape(header);
      assert.deepEqual([status, body, challenge], [401, '', 'Bearer realm="dcred"']);
    });
  }
});

test('while the API server does not answer, no scraper is served', async () => {
  const unreachable = { create: () => Promise.reject(new Error('connection refused')) };
  const guard = new MetricsGuard(unreachable, systemClock, new AbortController().signal);
  assert.equal(await guard.check('Bearer token', '10.0.0.1'), 503);
});
