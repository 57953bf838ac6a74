/** `dcred status`, `suspend` and `resume` beside a running operator. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { statusCommand } from '../../src/cli/cluster/status.ts';
import { resumeCommand, suspendCommand } from '../../src/cli/cluster/suspend.ts';
import { runCommand } from '../cli/run-command.ts';
import { scenario, servedNamespace } from './scenario.ts';

const running = scenario();

test('status shows resource, certificate and pods as they are; suspend and resume are seen in it', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.createPods(namespace, 3);
  await cluster.untilPods(namespace, 'web', { selected: 3, issued: 3, failed: 0 });
  const kubeconfig = ['--kubeconfig', cluster.plane.kubeconfig];

  const tree = await runCommand(statusCommand, ['web', '-n', namespace, ...kubeconfig]);
  assert.equal(tree.status, 0, tree.stdout);
  assert.match(tree.stdout, new RegExp(`^${namespace}/web  Ready=True Issued$`, 'm'));
  assert.match(tree.stdout, /pods {9}3: 3 current$/m);
  assert.doesNotMatch(tree.stdout, /signer/);
  const table = await runCommand(statusCommand, ['-A', ...kubeconfig]);
  assert.match(table.stdout, new RegExp(`^${namespace} +web +True +Issued +3 +3 +0 `, 'm'));
  const json = await runCommand(statusCommand, ['-A', '--pods', '-o', 'json', ...kubeconfig]);
  const [found] = (JSON.parse(json.stdout) as { namespace: string; pods: { state: string }[] }[]).filter(
    (resource) => resource.namespace === namespace,
  );
  assert.deepEqual(
    found?.pods.map(({ state }) => state),
    ['current', 'current', 'current'],
  );
  assert.ok(!json.stdout.includes('PRIVATE KEY'));

  const suspended = await runCommand(suspendCommand, ['web', '-n', namespace, ...kubeconfig]);
  assert.equal(suspended.stdout, `${namespace}/web suspended\n`);
  await cluster.untilReason(namespace, 'web', 'Suspended');
  const shown = await runCommand(statusCommand, ['web', '-n', namespace, ...kubeconfig]);
  assert.match(shown.stdout, /suspended: nothing is issued or re-issued/);
  await runCommand(resumeCommand, ['web', '-n', namespace, ...kubeconfig]);
  await cluster.untilReason(namespace, 'web', 'Issued');

  await assert.rejects(
    runCommand(statusCommand, ['nosuch', '-n', namespace, ...kubeconfig]),
    /no DelegatedCredential nosuch/,
  );
  await assert.rejects(runCommand(suspendCommand, ['nosuch', '-n', namespace, ...kubeconfig]), {
    code: 'UnknownResources',
  });
  await assert.rejects(runCommand(statusCommand, ['-A', '-n', namespace, ...kubeconfig]), { code: 'Usage' });
});
