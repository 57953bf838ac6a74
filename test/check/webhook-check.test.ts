import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flagValues, isOn } from '../../src/check/installation.ts';
import { checkDeployments } from '../../src/check/operator-check.ts';
import { checkCaBundle, checkWebhookConfiguration } from '../../src/check/webhook-check.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import { createTestAuthority } from '../../testing/support/certificates.ts';

const encode = (text: string) => Buffer.from(text).toString('base64');

test('a caBundle is good while one of its certificates is valid', async () => {
  const { certificatePem } = await createTestAuthority();
  const service = { namespace: 'dcred-system', name: 'dcred-webhook' };
  const check = (caBundle: string | undefined, nowMs = Date.now()) =>
    checkCaBundle('dcred', { ...(caBundle !== undefined && { caBundle }), service }, 'Fail', nowMs);
  assert.match(check(encode(certificatePem)).message, /^dcred trusts a CA until \d{4}-\d\d-\d\d; failurePolicy Fail$/);
  assert.match(check(encode(certificatePem), Date.now() + 400 * 86_400_000).message, /expired on/);
  assert.match(check(undefined).message, /has no caBundle/);
  assert.match(check('').message, /has no caBundle/);
  assert.match(check('').remedy ?? '', /: kubectl logs -n dcred-system -l \S+=webhook /);
  for (const odd of [
    'x',
    encode('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'),
    encode(certificatePem.slice(40)),
  ]) {
    assert.match(check(odd).message, /holds no certificate/);
  }
});

test('a caBundle is checked, whatever byte of its certificate was changed', async () => {
  const { certificatePem } = await createTestAuthority();
  const der = Buffer.from(certificatePem.replace(/-----[^-]+-----/g, ''), 'base64');
  for (let at = 0; at < der.length; at += 1) {
    for (const byte of [0x00, 0x20, 0x58, 0xff]) {
      const changed = Buffer.from(der);
      changed[at] = byte;
      const pem = `-----BEGIN CERTIFICATE-----\n${changed.toString('base64')}\n-----END CERTIFICATE-----\n`;
      for (const bundle of [pem, certificatePem + pem]) {
        const { message } = checkCaBundle('dcred', { caBundle: encode(bundle) }, 'Fail', Date.now());
        assert.match(message, /trusts a CA until|expired on|holds no certificate/, `byte ${at} is ${byte}`);
        if (bundle !== pem) assert.match(message, /trusts a CA until/, `byte ${at} is ${byte}, beside a good one`);
      }
    }
  }
});

test('the arguments of a container are read as the operator reads them', () => {
  const args = ['operator', '--namespace=edge', '-n', 'shop', '--notify-pods=false', '--leader-elect'];
  assert.deepEqual(flagValues(args, '--namespace', '-n'), ['edge', 'shop']);
  assert.deepEqual(
    [isOn(args, '--notify-pods', true), isOn(args, '--leader-elect', true), isOn(args, '--x', true)],
    [false, true, true],
  );
  const forms = [
    '--no-leader-elect',
    '-nedge',
    '--notify-pods',
    '--no-notify-pods',
    '--gate-pods=false',
    '--gate-pods',
  ];
  assert.deepEqual(flagValues(forms, '--namespace', '-n'), ['edge']);
  assert.deepEqual(
    ['--leader-elect', '--notify-pods', '--gate-pods'].map((name) => isOn(forms, name, true)),
    [false, false, true],
  );
});

test('a Deployment is good with one replica of this version', () => {
  const one = {
    namespace: 'dcred-system',
    name: 'dcred',
    component: 'operator',
    version: '0.1.0',
    image: 'registry.invalid/dcred:0.1.0',
    account: { namespace: 'dcred-system', name: 'dcred' },
    args: [],
    replicas: 2,
    available: 1,
  };
  const level = (change: object, version = '0.1.0') =>
    checkDeployments([{ ...one, ...change }], 'operator', version).map((finding) => finding.level);
  assert.deepEqual(level({}), ['ok']);
  assert.deepEqual(level({ available: 0 }), ['problem']);
  assert.deepEqual(level({ version: '0.2.0' }), ['warning']);
  assert.deepEqual(level({ version: '0.2.0' }, 'development'), ['ok']);
  assert.deepEqual(level({ component: 'webhook' }), ['problem']);
  assert.deepEqual(
    checkDeployments([one], 'webhook', '0.1.0').map((finding) => finding.level),
    ['warning'],
  );
  assert.deepEqual(
    checkDeployments(undefined, 'operator', '0.1.0').map((finding) => finding.level),
    ['warning'],
  );
});

/** A fake of the API client: lists what it is given. */
function lists(objects: Readonly<Record<string, readonly object[]>>) {
  return {
    create: () => Promise.reject(new Error('nothing is created')),
    list: ({ plural }: { readonly plural: string }) => {
      const items = objects[plural];
      const refusal = new ApiError('refused', { status: 403, reason: 'Forbidden' });
      return items === undefined ? Promise.reject(refusal) : Promise.resolve({ metadata: {}, items: items as never[] });
    },
  };
}

test('a webhook behind a Service needs a ready endpoint', async () => {
  const service = { namespace: 'dcred-system', name: 'dcred-webhook' };
  const webhooks = [
    { name: 'inject.dcred.dev', clientConfig: { service } },
    { name: 'other.example', clientConfig: {} },
  ];
  const mutatingwebhookconfigurations = [{ metadata: { name: 'dcred' }, webhooks }];
  const levels = async (objects: Readonly<Record<string, readonly object[]>>) => {
    const found = await checkWebhookConfiguration(lists(objects), 0, new AbortController().signal);
    return found.map(({ check, level }) => `${check} ${level}`);
  };
  const slices = (ready: boolean) => [{ endpoints: [{ conditions: { ready } }] }, { endpoints: null }];
  const bundle = 'WebhookConfiguration problem';
  assert.deepEqual(await levels({ mutatingwebhookconfigurations, endpointslices: slices(true) }), [
    bundle,
    'WebhookEndpoints ok',
  ]);
  assert.deepEqual(await levels({ mutatingwebhookconfigurations, endpointslices: slices(false) }), [
    bundle,
    'WebhookEndpoints problem',
  ]);
  assert.deepEqual(await levels({ mutatingwebhookconfigurations }), [bundle, 'WebhookEndpoints warning']);
  assert.deepEqual(await levels({ mutatingwebhookconfigurations: [] }), ['WebhookConfiguration warning']);
  assert.deepEqual(await levels({}), ['WebhookConfiguration warning']);
});
