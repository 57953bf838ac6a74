/**
 * The oldest Kubernetes that the chart supports: its own API server, with the chart, the operator and the webhook. Opt-in
 * (DCRED_OLDEST=1), because building that API server takes about ten minutes on two cores.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Finding } from '../../src/check/finding.ts';
import { checkCommand } from '../../src/cli/cluster/check.ts';
import { renewCommand } from '../../src/cli/cluster/renew.ts';
import { statusCommand } from '../../src/cli/cluster/status.ts';
import { PODS } from '../../src/kubernetes/resource-type.ts';
import { type Cluster, startCluster } from '../../testing/cluster/cluster.ts';
import { type OperatorProcess, startOperator } from '../../testing/cluster/operator-process.ts';
import { pointAt, SYSTEM, startWebhook, type WebhookProcess } from '../../testing/cluster/webhook-process.ts';
import { ensureOldestApiServer } from '../../testing/controlplane/oldest.ts';
import { createTestAuthority } from '../../testing/support/certificates.ts';
import { eventually } from '../../testing/support/processes.ts';
import { runCommand } from '../cli/run-command.ts';

const skip = process.env['DCRED_OLDEST'] !== '1' && 'set DCRED_OLDEST=1: the first run builds Kubernetes 1.31';

describe('on the oldest supported Kubernetes', { skip }, () => {
  let cluster: Cluster;
  let operator: OperatorProcess | undefined;
  let webhook: WebhookProcess | undefined;

  before(async () => {
    cluster = await startCluster({ webhook: true, apiServer: await ensureOldestApiServer() });
    const env = { POD_NAMESPACE: SYSTEM };
    operator = await startOperator({ kubeconfig: cluster.operatorKubeconfig, args: ['--leader-elect=true'], env });
    webhook = await startWebhook(cluster);
    await webhook.ready();
    await pointAt(cluster, webhook.port);
  });
  after(async () => {
    await webhook?.stop();
    await operator?.stop();
    await cluster?.[Symbol.asyncDispose]();
  });

  const command = (one: typeof checkCommand, ...args: readonly string[]) =>
    runCommand(one, [...args, '--kubeconfig', cluster.plane.kubeconfig]);

  test('the API server is that version, and everything of the chart is there', async () => {
    const { stdout } = await cluster.plane.kubectl(['version', '-o', 'json']);
    assert.equal((JSON.parse(stdout) as { serverVersion: { minor: string } }).serverVersion.minor, '31');
    const policies = await cluster.plane.kubectl(['get', 'validatingadmissionpolicies', '-o', 'name']);
    assert.equal(policies.stdout.trim().split('\n').length, 4);
  });

  test('a pod is injected, gated, issued to, released, and its credential renewed', async () => {
    const namespace = await cluster.namespace();
    const authority = await createTestAuthority();
    await cluster.putCertificate(namespace, 'web-tls', await authority.issue());
    await cluster.createResource(namespace, 'web', { certificateRef: { name: 'web-tls' } });
    const { metadata } = await cluster.createPod(namespace, 'web-0', { labels: { 'dcred.dev/inject': 'web' } });
    const name = metadata.annotations?.['secret.dcred.dev/web'] ?? '';
    assert.match(name, /^web-/);
    const [secret] = await cluster.untilSecrets(namespace, 1);
    assert.equal(secret?.metadata.name, name);
    await cluster.untilReason(namespace, 'web', 'Issued');
    await eventually('the scheduling gate to be removed', async () => {
      const signal = new AbortController().signal;
      type Gated = { readonly spec: { readonly schedulingGates?: readonly object[] } };
      const pod = await cluster.client.get<Gated>(PODS, { namespace, name: 'web-0' }, { signal });
      return (pod.spec.schedulingGates ?? []).length === 0 ? true : undefined;
    });
    assert.equal((await command(renewCommand, 'web', '-n', namespace, '--wait')).status, 0);
    assert.equal((await command(statusCommand, 'web', '-n', namespace)).status, 0);
    const selected = await cluster.plane.kubectl([
      'get',
      'dcred',
      '-n',
      namespace,
      '--field-selector=spec.certificateRef.name=web-tls',
      '-o',
      'name',
    ]);
    assert.equal(selected.stdout, 'delegatedcredential.dcred.dev/web\n');
  });

  test('dcred check finds nothing but that no node runs the Deployments', async () => {
    const { stdout } = await command(checkCommand, '-n', 'default', '-o', 'json');
    const findings = JSON.parse(stdout) as readonly Finding[];
    assert.deepEqual(
      findings.filter(({ level }) => level !== 'ok').map(({ check }) => check),
      ['Operator', 'Webhook'],
    );
  });
});
