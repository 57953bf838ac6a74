import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ADMISSION_PATH } from '../../src/admission/serving/server.ts';
import { COMMON_OPTIONS } from '../../src/cli/arguments.ts';
import { webhookCommand } from '../../src/cli/services/webhook.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { allowed, type Question, VERBS } from './access.ts';
import { deploymentOf, type Manifest, NAMESPACE, pick, render } from './chart.ts';
import { createRestrictedNamespaces, deploy } from './cluster.ts';
import { VARIANTS } from './variants.ts';

async function configuration(values: object = {}): Promise<Manifest['webhooks'][number]> {
  const { webhooks } = pick(await render({ ...values }), 'MutatingWebhookConfiguration');
  assert.equal(webhooks.length, 1);
  return webhooks[0];
}

describe('the webhook', () => {
  for (const [name, values] of Object.entries(VARIANTS)) {
    test(`${name}: knows every option in its arguments, or is not installed`, async () => {
      const objects = await render(values);
      if (Reflect.get((values['webhook'] as object | undefined) ?? {}, 'enabled') === false) {
        // The policy on webhook configurations keeps the operator's account from them, whether there is a webhook or not.
        const policies = objects.filter(({ kind }) => kind.startsWith('ValidatingAdmissionPolicy'));
        const others = objects.filter((object) => !policies.includes(object));
        assert.deepEqual(
          others.filter(({ metadata }) => metadata.name.includes('webhook')),
          [],
        );
        return;
      }
      const { args } = deploymentOf(objects, 'webhook')['spec'].template.spec.containers[0];
      assert.equal(args[0], 'webhook');
      const known = new Set(Object.keys({ ...webhookCommand.options, ...COMMON_OPTIONS }));
      for (const arg of args.slice(1)) assert.ok(known.has(/^--([a-z-]+)=/.exec(arg)?.[1] ?? ''), arg);
    });

    test(`${name}: Service, Secret and configuration match its arguments`, async () => {
      const objects = await render(values);
      if (!objects.some(({ kind }) => kind === 'MutatingWebhookConfiguration')) return;
      const { args } = deploymentOf(objects, 'webhook')['spec'].template.spec.containers[0];
      const argument = (option: string) => args.find((arg: string) => arg.startsWith(`--${option}=`))?.split('=')[1];
      const { metadata, webhooks } = pick(objects, 'MutatingWebhookConfiguration');
      assert.equal(argument('webhook-configuration'), metadata.name);
      const { namespace, path, name: service } = webhooks[0].clientConfig.service;
      assert.deepEqual([argument('service-name'), argument('namespace'), path], [service, namespace, ADMISSION_PATH]);
      assert.ok(pick(objects, 'Service', service));
      assert.equal(pick(objects, 'Secret', argument('cert-secret'))['type'], 'dcred.dev/webhook-certificate');
    });
  }

  test('receives new pods with the label, and nothing else', async () => {
    const { objectSelector, rules } = await configuration();
    assert.deepEqual(objectSelector, { matchExpressions: [{ key: 'dcred.dev/inject', operator: 'Exists' }] });
    assert.deepEqual(rules, [
      { operations: ['CREATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], scope: 'Namespaced' },
    ]);
  });

  test('never blocks the pods of the cluster or of dcred', async () => {
    const { failurePolicy, namespaceSelector } = await configuration();
    assert.equal(failurePolicy, 'Ignore');
    const [excluded] = namespaceSelector.matchExpressions;
    assert.deepEqual(excluded, {
      key: 'kubernetes.io/metadata.name',
      operator: 'NotIn',
      values: ['kube-system', NAMESPACE],
    });
  });

  test('serves the same namespaces as the operator', async () => {
    const { namespaceSelector } = await configuration({ namespaces: ['edge', 'shop', 'edge'] });
    assert.deepEqual(namespaceSelector.matchExpressions[1].values, ['edge', 'shop']);
  });

  test('writes its CA bundle itself: the chart has none, so an upgrade does not remove it', async () => {
    assert.equal((await configuration()).clientConfig.caBundle, undefined);
  });
});

describe('a release with the webhook', () => {
  const WEBHOOK = { user: 'system:serviceaccount:dcred-system:dcred-webhook' };
  let plane: ControlPlane;
  before(async () => {
    plane = await startControlPlane();
    await createRestrictedNamespaces(plane, [NAMESPACE]);
    await deploy(plane, 'install');
    await plane.untilRolesHold();
  });
  after(() => plane?.stop());

  const CONFIGURATIONS = 'mutatingwebhookconfigurations.admissionregistration.k8s.io';
  const about = (resource: string, name: string, namespace?: string): readonly Question[] =>
    VERBS.map((verb) => ({ verb, resource, name, ...(namespace === undefined ? {} : { namespace }) }));

  test('may watch and update its Secret, and watch and patch its configuration', async () => {
    assert.deepEqual(
      await allowed(plane, WEBHOOK, about('secrets', 'dcred-webhook-cert', NAMESPACE)),
      new Set(['list secrets', 'watch secrets', 'update secrets']),
    );
    assert.deepEqual(
      await allowed(plane, WEBHOOK, about(CONFIGURATIONS, 'dcred.dcred-system')),
      new Set(['list', 'watch', 'patch'].map((verb) => `${verb} ${CONFIGURATIONS}`)),
    );
  });

  test('may do nothing else: no other Secret, no other configuration, no pods', async () => {
    const questions = [
      ...about('secrets', 'web-tls', NAMESPACE),
      ...about('secrets', 'dcred-webhook-cert', 'default'),
      ...about('secrets', '', NAMESPACE),
      ...about(CONFIGURATIONS, 'another'),
      ...about(CONFIGURATIONS, ''),
      ...about('pods', '', 'default'),
      ...about('delegatedcredentials.dcred.dev', '', 'default'),
    ];
    assert.deepEqual(await allowed(plane, WEBHOOK, questions), new Set());
  });

  test('keeps bundle and certificate across an upgrade', async () => {
    const target = ['mutatingwebhookconfiguration', 'dcred.dcred-system'];
    const caBundle = Buffer.from(plane.certificateAuthority).toString('base64');
    const object = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
      metadata: { name: 'dcred.dcred-system' },
      webhooks: [{ name: 'inject.dcred.dev', clientConfig: { caBundle } }],
    };
    const secret = { data: { 'tls.key': Buffer.from('kept').toString('base64') } };
    await plane.kubectl(['apply', '--server-side', '--field-manager=dcred', '-f', '-'], {
      input: JSON.stringify(object),
    });
    await plane.kubectl([
      'patch',
      'secret',
      'dcred-webhook-cert',
      '-n',
      NAMESPACE,
      '--type=merge',
      '-p',
      JSON.stringify(secret),
    ]);
    await deploy(plane, 'upgrade', { values: { webhook: { replicas: 3, timeoutSeconds: 7 } } });
    const after = await plane.kubectl([
      'get',
      ...target,
      '-o',
      'jsonpath={.webhooks[0].timeoutSeconds} {.webhooks[0].clientConfig.caBundle}',
    ]);
    assert.equal(after.stdout, `7 ${caBundle}`);
    const key = await plane.kubectl([
      'get',
      'secret',
      'dcred-webhook-cert',
      '-n',
      NAMESPACE,
      '-o',
      'jsonpath={.data.tls\\.key}',
    ]);
    assert.equal(Buffer.from(key.stdout, 'base64').toString(), 'kept');
  });
});
