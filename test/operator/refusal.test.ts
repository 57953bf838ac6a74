/** What a real API server answers, because it is told apart by its words. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { SECRETS } from '../../src/kubernetes/resource-type.ts';
import { PodFailure } from '../../src/operator/pod-failure.ts';
import { refusal } from '../../src/operator/refusal.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { eventually } from '../../testing/support/processes.ts';
import { operatorsClient } from './cluster.ts';

const signal = new AbortController().signal;

describe('a 403 of the API server', () => {
  let plane: ControlPlane;
  let admin: ApiClient;

  before(async () => {
    plane = await startControlPlane();
    admin = await operatorsClient(plane);
  });
  after(async () => {
    await admin?.close();
    await plane?.stop();
  });

  /** What the creation of a Secret fails with, once it does. */
  async function refused(client: ApiClient, namespace: string): Promise<PodFailure> {
    return await eventually('a refusal', async () => {
      const metadata = { namespace, generateName: 'web-' };
      const error = await client.create(SECRETS, { metadata }, { signal }).then(
        () => undefined,
        (failed: unknown) => refusal(failed, 'SecretRefused', 'the Secret'),
      );
      if (error === undefined) return undefined;
      assert.ok(error instanceof PodFailure);
      return error;
    });
  }

  test('by its authorizer may pass: it may not have read the roles yet', async () => {
    const user = `system:serviceaccount:${'a-long-name-'.repeat(5)}:${'a-long-name-'.repeat(5)}`;
    const client = await operatorsClient(plane, await plane.kubeconfigFor({ user }));
    const namespace = 'default';
    const failures = [
      await refused(client, namespace),
      refusal(
        await client.delete(SECRETS, { namespace, name: 'web' }, { signal }).catch((error: unknown) => error),
        'SecretRefused',
        'to delete it',
      ),
    ];
    await client.close();
    for (const failure of failures) {
      assert.ok(failure instanceof PodFailure);
      assert.match(failure.message, /is forbidden: User/);
      assert.equal(failure.transient, true);
    }
  });

  test('by a quota counts at once', async () => {
    await plane.kubectl(['create', 'namespace', 'full']);
    await plane.kubectl(['create', 'quota', 'secrets', '--hard=secrets=0', '-n', 'full']);
    // No controller runs that would count.
    const status = JSON.stringify({ status: { hard: { secrets: '0' }, used: { secrets: '0' } } });
    await plane.kubectl([
      'patch',
      'quota',
      'secrets',
      '-n',
      'full',
      '--subresource=status',
      '--type=merge',
      '-p',
      status,
    ]);
    const { message, transient } = await refused(admin, 'full');
    assert.match(message, /exceeded quota/);
    assert.equal(transient, false);
  });

  test('by a namespace that is being deleted counts at once', async () => {
    await plane.kubectl(['create', 'namespace', 'leaving']);
    await plane.kubectl(['delete', 'namespace', 'leaving', '--wait=false']);
    const { message, transient } = await refused(admin, 'leaving');
    assert.match(message, /is being terminated/);
    assert.equal(transient, false);
  });
});
