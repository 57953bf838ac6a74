/** The commands of `kubectl dcred` that look into a cluster, beside a running operator and webhook. */

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import type { Finding } from '../../src/check/finding.ts';
import { checkCommand } from '../../src/cli/check.ts';
import { type Cluster, startCluster } from '../../testing/cluster/cluster.ts';
import { type OperatorProcess, startOperator } from '../../testing/cluster/operator-process.ts';
import { pointAt, SYSTEM, startWebhook, type WebhookProcess } from '../../testing/cluster/webhook-process.ts';
import { createTestAuthority, type TestAuthority } from '../../testing/support/certificates.ts';
import { eventually } from '../../testing/support/processes.ts';
import { runCommand } from '../cli/run-command.ts';
import { servedNamespace } from './scenario.ts';

let cluster: Cluster;
let authority: TestAuthority;
let operator: OperatorProcess | undefined;
let webhook: WebhookProcess | undefined;

before(async () => {
  cluster = await startCluster({ webhook: true, controllerManager: true });
  authority = await createTestAuthority();
  const env = { POD_NAMESPACE: SYSTEM };
  operator = await startOperator({ kubeconfig: cluster.operatorKubeconfig, args: ['--leader-elect=true'], env });
  webhook = await startWebhook(cluster);
  await webhook.ready();
  await pointAt(cluster, webhook.port, 'Ignore');
});
after(async () => {
  await webhook?.stop();
  await operator?.stop();
  await cluster?.[Symbol.asyncDispose]();
});

describe('dcred check', () => {
  async function check(args: readonly string[], kubeconfig = cluster.plane.kubeconfig) {
    const outcome = await runCommand(checkCommand, [...args, '-o', 'json', '--kubeconfig', kubeconfig]);
    const findings = JSON.parse(outcome.stdout) as readonly Finding[];
    return {
      status: outcome.status,
      of: (name: string) => findings.filter(({ check: one }) => one === name),
      findings,
    };
  }

  test('finds a good cluster good, and that no node runs the operator', async () => {
    const namespace = await servedNamespace({ authority, cluster });
    const { findings, of, status } = await check(['-n', namespace]);
    assert.equal(status, 1);
    assert.deepEqual(
      findings.filter(({ level }) => level !== 'ok').map(({ check: name, message }) => [name, message.split(':')[0]]),
      [
        ['Operator', 'dcred-system/dcred 0.1.0 (registry.invalid/dcred'],
        ['Webhook', 'dcred-system/dcred-webhook 0.1.0 (registry.invalid/dcred'],
      ],
    );
    assert.match(of('ApiServer')[0]?.message ?? '', /^Kubernetes v1\.\d+\.\d+ at https:\/\/127\.0\.0\.1/);
    assert.match(of('Certificate')[0]?.message ?? '', /CN=web\.example in Secret .*\/web-tls can delegate/);
    assert.match(of('Injection')[0]?.message ?? '', /is injected \(tried by a dry run\)/);
    assert.equal(of('OperatorPermissions').length, 2);
    const { stdout } = await cluster.plane.kubectl(['get', 'pods', '-n', namespace, '-o', 'name']);
    assert.equal(stdout, '', 'the pod of the dry run was not stored');
  });

  test('gives the reasons of the operator for certificates that cannot delegate', async () => {
    const namespace = await servedNamespace({ authority, cluster });
    const plain = await authority.issue({ delegationUsage: false });
    const other = await authority.issue();
    await cluster.putCertificate(namespace, 'plain', plain);
    await cluster.putCertificate(namespace, 'mixed', { ...plain, keyPem: other.keyPem });
    for (const name of ['plain', 'mixed', 'absent'] as const) {
      await cluster.createResource(namespace, name, { certificateRef: { name } });
    }
    const { of } = await check(['-n', namespace]);
    for (const name of ['plain', 'mixed', 'absent']) {
      const ready = await eventually(`a report on ${name}`, () => cluster.ready(namespace, name));
      const [finding, ...more] = of(ready.reason).filter(({ message }) => message.includes(`${namespace}/${name}:`));
      assert.deepEqual([finding?.level, more], ['problem', []], ready.reason);
      assert.ok(finding?.message.endsWith(ready.message), `${finding?.message} and ${ready.message}`);
    }
  });

  test('checks a certificate before there is a resource', async () => {
    const namespace = await cluster.namespace();
    await cluster.putCertificate(namespace, 'web-tls', await authority.issue());
    const { of } = await check(['-n', namespace, '--certificate', 'web-tls', '--certificate', 'absent']);
    assert.match(of('Certificate')[0]?.message ?? '', /^your certificate: CN=web\.example/);
    assert.equal(of('CertificateNotFound')[0]?.level, 'problem');
  });

  test('says what the operator and the user may not do', async () => {
    const namespace = await servedNamespace({ authority, cluster });
    await cluster.untilReason(namespace, 'web', 'NoPods');
    const kubeconfig = await cluster.plane.kubeconfigFor({ user: 'viewer' });
    await cluster.plane.kubectl([
      'create',
      'rolebinding',
      'viewer',
      '--clusterrole=view',
      '--user=viewer',
      '-n',
      namespace,
    ]);
    const mine = await eventually('the role to be aggregated', async () => {
      const checked = await check(['-n', namespace], kubeconfig);
      return checked.of('Certificate').length > 0 && checked.of('YourPermissions').length > 0 ? checked : undefined;
    });
    assert.ok(mine.of('YourPermissions').some(({ message }) => /you may not list secrets/.test(message)));
    assert.match(mine.of('Operator')[0]?.message ?? '', /no permission to list Deployments/);
    assert.match(
      mine.of('Certificate')[0]?.message ?? '',
      /no permission to read Secret .*; the operator reports NoPods/,
    );
    assert.ok(!mine.findings.some(({ message }) => message.includes('could not be checked')));

    const binding = ['clusterrolebinding', 'dcred-system:dcred-operator'];
    const { stdout: saved } = await cluster.plane.kubectl(['get', ...binding, '-o', 'json']);
    await cluster.plane.kubectl(['delete', ...binding]);
    const { of } = await check(['-n', namespace]);
    assert.ok(
      of('OperatorPermissions').some(
        ({ level, message }) =>
          level === 'problem' && /may not get delegatedcredentials\.dcred\.dev, list /.test(message),
      ),
    );
    await cluster.plane.kubectl(['create', '-f', '-'], { input: saved });
  });

  test('sees a webhook that the API server cannot call', async () => {
    const namespace = await cluster.namespace();
    const { port = 0 } = webhook ?? {};
    await pointAt(cluster, 1, 'Ignore');
    assert.match((await check(['-n', namespace])).of('Injection')[0]?.message ?? '', /without the webhook/);
    await pointAt(cluster, 1, 'Fail');
    assert.match((await check(['-n', namespace])).of('Injection')[0]?.message ?? '', /failed calling webhook/);
    await pointAt(cluster, port, 'Ignore');
  });

  test('says why there is no answer at all', async () => {
    const kubeconfig = await cluster.plane.kubeconfigFor({ user: 'nobody' });
    await writeFile(kubeconfig, (await readFile(kubeconfig, 'utf8')).replace(/127\.0\.0\.1:\d+/, '127.0.0.1:1'));
    const { findings, status } = await check([], kubeconfig);
    assert.equal(status, 1);
    assert.deepEqual([findings.length, findings[0]?.check, findings[0]?.level], [1, 'ApiServer', 'problem']);
  });
});
