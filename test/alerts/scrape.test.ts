/** A real Prometheus scrapes operator, signer and agent, with the labels that Kubernetes' service discovery adds, and evaluates the alerts. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { load } from 'js-yaml';
import { makeDevCertificate } from '../../src/provision/dev-authority.ts';
import { startCluster } from '../../testing/cluster/cluster.ts';
import { startOperator } from '../../testing/cluster/operator-process.ts';
import { findPrometheus, Prometheus } from '../../testing/peers/prometheus.ts';
import { freePort } from '../../testing/support/ports.ts';
import { endChild, eventually } from '../../testing/support/processes.ts';
import { startAgent } from '../agent/agent-process.ts';
import { emptyMount } from '../agent/mount.ts';
import { CHART, ROOT } from '../chart/chart.ts';
import { temporaryDirectory } from '../cli/run-command.ts';

const tools = await findPrometheus();

test('alerts come from what real processes serve', { skip: tools.available ? false : tools.reason }, async (t) => {
  assert.ok(tools.available);
  await using cluster = await startCluster();
  await using operator = await startOperator({ kubeconfig: cluster.operatorKubeconfig });
  const namespace = await cluster.namespace('edge');
  await cluster.createResource(namespace, 'web', { certificateRef: { name: 'absent' } });
  await cluster.untilReason(namespace, 'web', 'CertificateNotFound');

  const mount = await emptyMount(t);
  const agent = await startAgent(t, [`--dir=${mount.directory}`, '--reload=http:POST:http://127.0.0.1:9/']);
  const signer = await startSigner(t);

  const rules = load(await readFile(join(CHART, 'files', 'alerts.yaml'), 'utf8')) as object;
  const target = (job: string, port: number, labels: Readonly<Record<string, string>>) => ({
    job,
    address: `127.0.0.1:${port}`,
    labels,
  });
  await using prometheus = await Prometheus.start(
    tools,
    [
      target('operator', operator.metricsPort, { namespace: 'dcred-system', pod: 'dcred-0' }),
      target('signer', signer, { namespace: 'vault', pod: 'signer-0' }),
      target('agent', agent.port, { namespace: 'edge', pod: 'web-0' }),
    ],
    rules,
  );
  await eventually('every target to be scraped', async () => {
    const up = await prometheus.query('up == 1');
    return up.length === 3 || undefined;
  });
  const pending = async () => {
    const alerts = await prometheus.query('ALERTS');
    return new Map(alerts.map(({ metric }) => [metric['alertname'], metric]));
  };
  // No webhook runs here, and nothing else is wrong. On a busy machine a scrape may time out, so that an alert fires and clears.
  let last: ReadonlySet<string | undefined> = new Set();
  const seen = await eventually('the alerts', async () => {
    const all = await pending();
    last = new Set(all.keys());
    return isDeepStrictEqual(last, EXPECTED) ? all : undefined;
  }).catch((error: unknown) => {
    assert.deepEqual(last, EXPECTED, String(error));
    throw error;
  });
  // The resource's namespace, not the operator's: that is what honor_labels is for.
  assert.equal(seen.get('DcredResourceNotReady')?.['namespace'], 'edge');
  assert.equal(seen.get('DcredResourceNotReady')?.['name'], 'web');
  assert.equal(seen.get('DcredAgentNotReady')?.['pod'], 'web-0');
  assert.equal(seen.get('DcredSignerCertificateUnusable')?.['certificate'], 'vault/web-tls');
});

const EXPECTED = new Set([
  'DcredResourceNotReady',
  'DcredAgentNotReady',
  'DcredSignerCertificateUnusable',
  'DcredWebhookDown',
]);

/** A signer whose only certificate is missing. Resolves with the port of its metrics. */
async function startSigner(t: TestContext): Promise<number> {
  const folder = temporaryDirectory(t);
  const now = Math.floor(Date.now() / 1000);
  const serving = await makeDevCertificate({ dnsNames: ['signer.test'], now, lifetimeSeconds: 86_400 });
  const file = async (name: string, content: string) => {
    await writeFile(join(folder, name), content);
    return join(folder, name);
  };
  const config = [
    'clients: [{name: here, cluster: local, tlsName: client.test}]',
    `certificates: [{name: vault/web-tls, directory: ${join(folder, 'missing')}}]`,
    'grants: [{certificate: vault/web-tls, from: [{namespace: edge}]}]',
    '',
  ];
  const [port, metrics, health] = [await freePort(), await freePort(), await freePort()];
  const words = {
    config: await file('signer.yaml', config.join('\n')),
    'audit-log': join(folder, 'audit.jsonl'),
    'tls-cert': await file('serving.crt', serving.certificate),
    'tls-key': await file('serving.key', serving.key),
    'client-ca': await file('ca.crt', serving.authority),
    'bind-address': `127.0.0.1:${port}`,
    'metrics-bind-address': `127.0.0.1:${metrics}`,
    'health-probe-bind-address': `127.0.0.1:${health}`,
  };
  const args = Object.entries(words).map(([name, value]) => `--${name}=${value}`);
  const child = spawn(process.execPath, [join(ROOT, 'src', 'main.ts'), 'signer', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const log: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => log.push(text));
  t.after(() => endChild(child));
  await eventually('the signer to serve metrics', async () => {
    if (child.exitCode !== null) throw new Error(`the signer ended: ${log.join('')}`);
    return (await fetch(`http://127.0.0.1:${metrics}/metrics`).catch(() => undefined))?.ok || undefined;
  });
  return metrics;
}
