/** What the checks expect of the operator's account is what the chart's roles grant, both ways. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { MANAGED_BY, MANAGED_BY_LABEL, RESOURCE_LABEL } from '../../src/api/keys.ts';
import {
  approvalPermissions,
  describePermission,
  issuerPermissions,
  leaderElectionPermissions,
  operatorPermissions,
  type Permission,
  USER_TASKS,
} from '../../src/check/permissions.ts';
import { eventsCommand } from '../../src/cli/cluster/events.ts';
import { renewCommand } from '../../src/cli/cluster/renew.ts';
import { statusCommand } from '../../src/cli/cluster/status.ts';
import { resumeCommand, suspendCommand } from '../../src/cli/cluster/suspend.ts';
import type { Command } from '../../src/cli/command.ts';
import { inspectCommand } from '../../src/cli/inspect/inspect.ts';
import { ISSUER_LEASE_NAME } from '../../src/issuer/names.ts';
import { LEASE_NAME } from '../../src/operator/operator-options.ts';
import { type Manifest, pick, render, type Values } from '../chart/chart.ts';
import { runCommand } from '../cli/run-command.ts';
import { FakeApiServer, type FakeRequest, json } from '../kubernetes/clients.ts';

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

function granted(role: Manifest): readonly string[] {
  const rules: readonly Rule[] = role['rules'];
  return rules.flatMap(({ apiGroups, resourceNames = [undefined], resources, verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((path) => {
        const [resource = '', subresource] = path.split('/');
        return resourceNames.flatMap((name) =>
          verbs.map((verb) =>
            describePermission({
              group,
              resource,
              verb,
              ...(subresource === undefined ? {} : { subresource }),
              ...(name === undefined ? {} : { name }),
            }),
          ),
        );
      }),
    ),
  );
}

const described = (permissions: readonly Permission[]) => permissions.map(describePermission).sort();

describe('the permissions that are checked are those of the chart', () => {
  const cases: readonly (readonly [string, Values, boolean])[] = [
    ['by default', {}, true],
    ['without any write to pods', { notifyPods: false, webhook: { gatePods: false } }, false],
  ];
  for (const [title, values, patchPods] of cases) {
    test(title, async () => {
      const role = pick(await render(values), 'ClusterRole', 'dcred-system:dcred-operator');
      assert.deepEqual([...granted(role)].sort(), described(operatorPermissions({ patchPods })));
    });
  }

  test('for leader election', async () => {
    const role = pick(await render(), 'Role', 'dcred-leader-election');
    assert.deepEqual([...granted(role)].sort(), described(leaderElectionPermissions(LEASE_NAME)));
  });

  test('for the issuer, its leader election, and the approver of cert-manager', async () => {
    const authorities = [{ namespace: 'edge', names: ['web-ca'] }];
    const rendered = await render({ issuer: { enabled: true, authorities } });
    const role = (kind: string, name: string) => [...granted(pick(rendered, kind, name))].sort();
    assert.deepEqual(role('ClusterRole', 'dcred-system:dcred-issuer'), described(issuerPermissions()));
    assert.deepEqual(role('Role', 'dcred-issuer-leases'), described(leaderElectionPermissions(ISSUER_LEASE_NAME)));
    assert.deepEqual(role('ClusterRole', 'dcred-system:dcred-issuer-approve'), described(approvalPermissions()));
  });

  test('for shards', async () => {
    const role = pick(await render({ operator: { shards: 4 } }), 'Role', 'dcred-leader-election');
    assert.deepEqual([...granted(role)].sort(), described(leaderElectionPermissions(LEASE_NAME, 4)));
  });
});

describe('the permissions of a user that are checked are those of the commands', () => {
  /** What a command is refused without; it goes on without Deployments, which only say more. */
  const OPTIONAL = ['list deployments.apps'];
  const SWITCHES = ['dcred renew, suspend and resume'];
  const cases: readonly (readonly [tasks: readonly string[], command: Command, ...argv: string[]])[] = [
    [['dcred status'], statusCommand, 'web', '-n', 'edge'],
    [SWITCHES, renewCommand, 'web', '-n', 'edge'],
    [SWITCHES, suspendCommand, 'web', '-n', 'edge'],
    [SWITCHES, resumeCommand, 'web', '-n', 'edge'],
    [[...SWITCHES, 'dcred renew --wait'], renewCommand, 'web', '-n', 'edge', '--wait', '--timeout=1s'],
    [['dcred inspect secret/NAME and pod/NAME'], inspectCommand, 'secret/web-web-0', '-n', 'edge'],
    [['dcred inspect secret/NAME and pod/NAME'], inspectCommand, 'pod/web-0', '-n', 'edge'],
    [['dcred events'], eventsCommand, '-n', 'edge'],
  ];
  for (const [tasks, command, ...argv] of cases) {
    test(`dcred ${command.name} ${argv.join(' ')}`, async (t) => {
      const kubeconfig = join(tmpdir(), `dcred-test-${process.pid}-${command.name}`);
      t.after(() => rmSync(kubeconfig, { force: true }));
      await using fake = await FakeApiServer.start(answer);
      // Also what it takes for granted: such a list of one object is refused like any other.
      fake.currentVersion = undefined;
      writeFileSync(kubeconfig, kubeconfigOf(fake.url));
      await runCommand(command, [...argv, '--kubeconfig', kubeconfig]).catch(() => undefined);
      const used = [...new Set(fake.requests.map(permissionOf))].filter((one) => !OPTIONAL.includes(one));
      const checked = USER_TASKS.filter((one) => tasks.includes(one.command)).flatMap(({ permissions }) =>
        permissions.map(describePermission),
      );
      assert.notDeepEqual(used, []);
      assert.deepEqual(
        used.filter((one) => !checked.includes(one)),
        [],
      );
    });
  }
});

function kubeconfigOf(server: string): string {
  return JSON.stringify({
    'current-context': 'fake',
    contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'fake' } }],
    clusters: [{ name: 'fake', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'fake', user: { token: 'token' } }],
  });
}

/** What a request is authorized by: https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb */
function permissionOf({ method, path, query }: FakeRequest): string {
  const [, group = '', resource = '', name] =
    /^\/apis?\/(?:([^/]+)\/)?v1[a-z0-9]*(?:\/namespaces\/[^/]+)?\/([^/]+)(?:\/([^/]+))?$/.exec(path) ?? [];
  const read = name !== undefined ? 'get' : query.get('watch') === 'true' ? 'watch' : 'list';
  const verb = { PATCH: 'patch', POST: 'create', PUT: 'update', DELETE: 'delete' }[method] ?? read;
  return describePermission({ group, resource, verb });
}

const METADATA = { namespace: 'edge', uid: 'u', resourceVersion: '1' };
const POD = { metadata: { ...METADATA, name: 'web-0', labels: { 'dcred.dev/inject': 'web' } } };
const SECRET = {
  metadata: {
    ...METADATA,
    name: 'web-web-0',
    labels: { [MANAGED_BY_LABEL]: MANAGED_BY, [RESOURCE_LABEL]: 'web' },
    ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: 'web-0', uid: 'u' }],
  },
};
const RESOURCE = { metadata: { ...METADATA, name: 'web' }, spec: { certificateRef: { name: 'web-tls' } } };

/** A fake of a namespace with a resource, its pod and its Secret; it streams no lists. */
function answer(request: FakeRequest, response: Parameters<ReturnType<typeof json>>[1]): void | Promise<void> {
  const { path, query } = request;
  if (query.get('watch') === 'true')
    return json(400, { kind: 'Status', reason: 'BadRequest', code: 400 })(request, response);
  const found = path.includes('/pods') ? POD : path.includes('/secrets') ? SECRET : RESOURCE;
  const isOne = /\/(pods|secrets|delegatedcredentials)\/[^/]+$/.test(path);
  const items = /\/(pods|secrets|delegatedcredentials)$/.test(path) ? [found] : [];
  return json(200, isOne ? found : { metadata: { resourceVersion: '1' }, items })(request, response);
}
