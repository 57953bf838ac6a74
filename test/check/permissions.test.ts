/** What the checks expect of the operator's account is what the chart's roles grant, both ways. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  approvalPermissions,
  describePermission,
  issuerPermissions,
  leaderElectionPermissions,
  operatorPermissions,
  type Permission,
} from '../../src/check/permissions.ts';
import { ISSUER_LEASE_NAME } from '../../src/issuer/names.ts';
import { LEASE_NAME } from '../../src/operator/operator.ts';
import { type Manifest, pick, render, type Values } from '../chart/chart.ts';

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
