/**
 * What the admission policies deny to a stolen token, attack by attack, on a real API server. Each attack is tried by the account with
 * the chart's roles, and by the same account with cluster-admin on top, where RBAC denies nothing and the policies are all that is left.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { eventually } from '../../testing/support/processes.ts';
import type { Attempt } from './attacks/attempt.ts';
import { ALLOWED_TO_AUDIT, DENIED_TO_AUDIT } from './attacks/audit.ts';
import { FIXTURES, NAMESPACE_OF_FIXTURES } from './attacks/fixtures.ts';
import { ALLOWED_TO_OPERATOR, DENIED_TO_OPERATOR } from './attacks/operator.ts';
import { ALLOWED_TO_WEBHOOK, DENIED_TO_WEBHOOK } from './attacks/webhook.ts';
import { list, NAMESPACE } from './chart.ts';
import { createRestrictedNamespaces, deploy } from './cluster.ts';
import { RawClient, type RawResponse } from './raw-client.ts';

const POLICY_DENIAL = /ValidatingAdmissionPolicy '([a-z-]+)\.dcred-system' with binding .* denied request: /;

/** Denied to the operator, and allowed to an account that is the webhook's too. */
const WEBHOOKS_OWN = 'write the serving certificate of the webhook';
const ONE_FOR_EACH_POLICY = [
  'create an Opaque Secret',
  'create a pod',
  'create a webhook configuration',
  'create a ConfigMap',
];

describe('admission policies', () => {
  let plane: ControlPlane;
  let admin: RawClient;
  let operator: RawClient;
  let webhook: RawClient;
  let auditor: RawClient;

  const clientOf = async (name: string, namespace = NAMESPACE) => {
    return new RawClient(plane.url, plane.certificateAuthority, await plane.tokenFor({ name, namespace }));
  };
  const grant = (name: string, role: string, ...subjects: readonly string[]) =>
    plane.kubectl(['create', 'clusterrolebinding', name, `--clusterrole=${role}`, ...subjects]);
  const revoke = (name: string) => plane.kubectl(['delete', 'clusterrolebinding', name]);
  const account = (name: string, namespace = NAMESPACE) => `--serviceaccount=${namespace}:${name}`;
  const attempt = (client: RawClient, { body, connects = false, contentType, method, path }: Attempt) =>
    client.request(method, path, { dryRun: !connects, body, contentType });

  /** The policies reach the API server's memory by a watch: they are in force once each has denied something. */
  const untilInForce = (clients: readonly RawClient[]) =>
    eventually('the policies are in force', async () => {
      for (const client of clients) {
        for (const what of ONE_FOR_EACH_POLICY) {
          const one = DENIED_TO_OPERATOR[what];
          assert.ok(one);
          if (!POLICY_DENIAL.test((await attempt(client, one)).message)) return undefined;
        }
      }
      return true;
    });

  before(async () => {
    // The controller manager type-checks policies.
    plane = await startControlPlane({
      controllerManager: true,
      // The owners of the fixtures do not exist.
      extraArgs: { 'kube-controller-manager': ['--controllers=*,-garbage-collector-controller'] },
    });
    await createRestrictedNamespaces(plane, [NAMESPACE]);
    const issuer = { enabled: true, authorities: [{ namespace: NAMESPACE, names: ['web-ca'] }] };
    await deploy(plane, 'install', { values: { audit: { enabled: true }, issuer } });
    await plane.untilServed('delegatedcredentials.dcred.dev');
    await plane.kubectl(['create', 'namespace', NAMESPACE_OF_FIXTURES]);
    await plane.kubectl([
      'wait',
      '--for=create',
      'serviceaccount/default',
      '-n',
      NAMESPACE_OF_FIXTURES,
      '--timeout=4m',
    ]);
    await plane.kubectl(['create', '-f', '-'], { input: list(FIXTURES) });
    await plane.kubectl(['create', 'serviceaccount', 'administrator', '-n', NAMESPACE_OF_FIXTURES]);
    await grant('test-administrator', 'cluster-admin', account('administrator', NAMESPACE_OF_FIXTURES));
    [operator, webhook, auditor, admin] = await Promise.all([
      clientOf('dcred'),
      clientOf('dcred-webhook'),
      clientOf('dcred-audit'),
      clientOf('administrator', NAMESPACE_OF_FIXTURES),
    ]);
    await plane.untilRolesHold();
  });
  after(() => plane?.stop());

  test('type-check without warnings', async () => {
    const checked = await eventually('all policies are type-checked', async () => {
      const { stdout } = await plane.kubectl(['get', 'validatingadmissionpolicies', '-o', 'json']);
      const items: readonly { metadata: { name: string }; status?: { typeChecking?: object } }[] =
        JSON.parse(stdout).items;
      return items.every(({ status }) => status?.typeChecking !== undefined) ? items : undefined;
    });
    assert.deepEqual(
      checked.map(({ metadata, status }) => [metadata.name, status?.typeChecking]),
      ['everything-else', 'pods', 'secrets', 'webhook-configuration'].map((about) => [
        `dcred-${about}.dcred-system`,
        {},
      ]),
    );
  });

  const isDenied = ({ message, status }: RawResponse) => status === 403 || POLICY_DENIAL.test(message);

  for (const [who, denied, allowed] of [
    ['operator', DENIED_TO_OPERATOR, ALLOWED_TO_OPERATOR],
    ['webhook', DENIED_TO_WEBHOOK, ALLOWED_TO_WEBHOOK],
    ['audit', DENIED_TO_AUDIT, ALLOWED_TO_AUDIT],
  ] as const) {
    const client = () => ({ operator, webhook, audit: auditor })[who];

    describe(`a stolen token of the ${who}, with the chart's roles,`, () => {
      for (const [what, one] of Object.entries(denied)) {
        test(`cannot ${what}`, async () => {
          const outcome = await attempt(client(), one);
          assert.ok(
            isDenied(outcome) || one.refusedAnyway?.test(outcome.message),
            `${outcome.status} ${outcome.message}`,
          );
        });
      }
      for (const [what, one] of Object.entries(allowed)) {
        test(`can ${what}, which dcred does`, async () => {
          const outcome = await attempt(client(), one);
          assert.ok(outcome.status < 300, `${outcome.status} ${outcome.message}`);
        });
      }
    });

    describe(`a stolen token of the ${who}, with cluster-admin,`, () => {
      before(async () => {
        const accounts = ['dcred', 'dcred-webhook', 'dcred-audit'].map((name) => account(name));
        await grant('test-excess', 'cluster-admin', ...accounts);
        await untilInForce([operator, webhook, auditor]);
      });
      after(() => revoke('test-excess'));

      for (const [what, one] of Object.entries(denied)) {
        test(`cannot ${what}: the policy denies it`, async () => {
          const outcome = await attempt(client(), one);
          assert.ok(outcome.status >= 400, `${outcome.status}`);
          if (one.refusedAnyway === undefined) assert.match(outcome.message, POLICY_DENIAL);
        });
      }
      for (const [what, one] of Object.entries(allowed)) {
        test(`can ${what}: the policy allows what dcred does`, async () => {
          const outcome = await attempt(client(), one);
          assert.ok(outcome.status < 300, `${outcome.status} ${outcome.message}`);
        });
      }
    });
  }

  describe('another account, with cluster-admin,', () => {
    for (const [what, one] of Object.entries({ ...DENIED_TO_OPERATOR, ...DENIED_TO_WEBHOOK, ...DENIED_TO_AUDIT })) {
      test(`is not affected: ${what}`, async () => {
        const outcome = await attempt(admin, one);
        assert.doesNotMatch(outcome.message, POLICY_DENIAL);
        if (one.refusedAnyway === undefined) {
          assert.ok(outcome.status < 300, `the attack itself is valid: ${outcome.status} ${outcome.message}`);
        } else {
          assert.match(outcome.message, one.refusedAnyway);
        }
      });
    }
  });

  describe('with other values:', () => {
    const shared = { create: false, name: 'shared' };
    let client: RawClient;

    before(async () => {
      await plane.kubectl(['create', 'serviceaccount', 'shared', '-n', NAMESPACE]);
      await grant('test-shared', 'cluster-admin', account('shared'));
      client = await clientOf('shared');
    });

    test('one account for operator and webhook may do what either may, and nothing else', async () => {
      await deploy(plane, 'upgrade', {
        values: { serviceAccount: shared, webhook: { serviceAccountName: 'shared' } },
      });
      await untilInForce([client]);
      for (const [what, one] of Object.entries({ ...ALLOWED_TO_OPERATOR, ...ALLOWED_TO_WEBHOOK })) {
        const outcome = await attempt(client, one);
        assert.ok(outcome.status < 300, `${what}: ${outcome.status} ${outcome.message}`);
      }
      for (const [what, one] of Object.entries(DENIED_TO_OPERATOR)) {
        if (one.refusedAnyway !== undefined || what === WEBHOOKS_OWN) continue;
        assert.match((await attempt(client, one)).message, POLICY_DENIAL, what);
      }
    });

    test('an operator for a list of namespaces may issue nothing in another', async () => {
      await deploy(plane, 'upgrade', { values: { serviceAccount: shared, namespaces: [NAMESPACE] } });
      const one = ALLOWED_TO_OPERATOR['issue a Secret'];
      assert.ok(one);
      const message = await eventually('the list is in force', async () => {
        const outcome = await attempt(client, one);
        return outcome.status === 422 ? outcome.message : undefined;
      });
      assert.match(message, /may write Secrets only in the namespaces that it serves/);
    });

    test('are removed when they are turned off', async () => {
      await deploy(plane, 'upgrade', { values: { admissionPolicies: { enabled: false } } });
      const { stdout } = await plane.kubectl([
        'get',
        'validatingadmissionpolicies,validatingadmissionpolicybindings',
        '-o',
        'name',
      ]);
      assert.equal(stdout, '');
    });
  });
});
