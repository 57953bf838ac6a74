/** The whole of `dcred check`, over a fake of the API client: for clusters that a real control plane cannot be made to be. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { COMPONENT_LABEL } from '../../src/api/keys.ts';
import { type PreflightOptions, preflight } from '../../src/check/preflight.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { missing, notServed } from '../../testing/support/not-found.ts';
import { type LeafOptions, leaf } from '../../testing/support/openssl.ts';

const refusal = (status: number, reason: string) => new ApiError(`fake ${reason}`, { status, reason });

/** By what is read: `/version`, `list deployments`, `get secrets edge/web-tls`, `create pods`. An ApiError is thrown; absent: NotFound. */
type Answers = Readonly<Record<string, unknown>>;

const CLUSTER: Answers = {
  '/version': { major: '1', minor: '33', gitVersion: 'v1.33.0' },
  '/apis': { groups: [] },
  'create selfsubjectaccessreviews': { status: { allowed: true } },
  'create subjectaccessreviews': { status: { allowed: true } },
};

function fake(answers: Answers): ApiClient {
  const all: Answers = { ...CLUSTER, ...answers };
  const answer = async (key: string, absent: unknown) => {
    const found = Object.hasOwn(all, key) ? all[key] : absent;
    if (found instanceof ApiError) throw found;
    return found;
  };
  const client = {
    clockSkewMs: 0,
    getPath: (path: string) => answer(path, notServed()),
    list: async ({ plural }: { plural: string }) => {
      const items = await answer(`list ${plural}`, []);
      return { metadata: {}, items };
    },
    get: ({ plural }: { plural: string }, { namespace, name }: { namespace?: string; name: string }) =>
      answer(`get ${plural} ${namespace === undefined ? '' : `${namespace}/`}${name}`, missing(name)),
    create: ({ plural }: { plural: string }) => answer(`create ${plural}`, notServed()),
  };
  return client as unknown as ApiClient;
}

async function check(answers: Answers, options: Partial<PreflightOptions> = {}) {
  return await preflight({
    client: fake(answers),
    server: 'https://api.invalid',
    namespace: 'edge',
    certificates: [],
    readsKeys: true,
    systemNamespace: undefined,
    version: 'development',
    now: Date.now,
    signal: new AbortController().signal,
    ...options,
  });
}

const operator = (...args: readonly string[]) => ({
  metadata: { namespace: 'dcred-system', name: 'dcred', labels: { [COMPONENT_LABEL]: 'operator' } },
  spec: { replicas: 1, template: { spec: { containers: [{ image: 'dcred', args: ['operator', ...args] }] } } },
  status: { availableReplicas: 1 },
});

const METADATA = { namespace: 'edge', name: 'web', uid: 'u', resourceVersion: '1', generation: 1 };

function resource(
  certificateRef: object,
  ready?: { readonly status: string; readonly reason: string; readonly observedGeneration?: number },
  spec: object = {},
) {
  const condition = { type: 'Ready', message: 'as it is', lastTransitionTime: '2027-01-15T08:00:00Z', ...ready };
  return {
    metadata: METADATA,
    spec: { certificateRef, ...spec },
    status: ready === undefined ? {} : { conditions: [condition] },
  };
}

function secret(options: LeafOptions = {}) {
  const { certificatePem, keyPem } = leaf(options);
  const encoded = (text: string) => Buffer.from(text).toString('base64');
  return {
    metadata: { namespace: 'edge', name: 'web-tls' },
    data: { 'tls.crt': encoded(certificatePem), 'tls.key': encoded(keyPem) },
  };
}

const ABOUT_CERTIFICATES = /^(Certificate|Grant)/;

describe('a certificate that the operator has from a signer', () => {
  const elsewhere = { name: 'web-tls', namespace: 'vault' };
  const signed = operator('--namespace=edge', '--signer=https://signer.home.example:8444');

  test('is in no Secret and under no grant of this cluster, and that is no problem', async () => {
    const findings = await check({
      'list deployments': [signed],
      'list delegatedcredentials': [resource(elsewhere, { status: 'True', reason: 'Issued' })],
    });
    assert.deepEqual(
      findings.filter((one) => ABOUT_CERTIFICATES.test(one.check)).map(({ check: name, level }) => [name, level]),
      [
        ['Certificate', 'ok'],
        ['Grant', 'ok'],
      ],
    );
  });

  const unseen = { 'list deployments': refusal(403, 'Forbidden') };
  const own = { name: 'web-tls' };

  for (const [where, certificateRef] of [
    ['its own namespace', own],
    ['another namespace', elsewhere],
  ] as const) {
    test(`is no problem where I may not see that there is a signer: in ${where}`, async () => {
      const findings = await check({
        ...unseen,
        'get namespaces edge': { metadata: { name: 'edge', uid: 'n' } },
        'list delegatedcredentials': [resource(certificateRef, { status: 'True', reason: 'Issued' })],
      });
      const found = findings.filter((one) => ABOUT_CERTIFICATES.test(one.check));
      assert.deepEqual(
        found.filter(({ level }) => level === 'problem'),
        [],
      );
      const name = `${'namespace' in certificateRef ? 'vault' : 'edge'}/web-tls`;
      assert.deepEqual(
        found.filter((one) => one.check === 'Certificate').map(({ level, message }) => [level, message]),
        [
          [
            'ok',
            `DelegatedCredential edge/web: no Secret ${name} in this cluster; the operator reports Issued: as it is`,
          ],
        ],
      );
    });
  }

  for (const [what, condition, generation] of [
    ['said of an earlier generation', { status: 'True', reason: 'Issued', observedGeneration: 1 }, 2],
    ['said without a look at the certificate: it is suspended', { status: 'False', reason: 'Suspended' }, 1],
    ['said without a look at the certificate: the spec is invalid', { status: 'False', reason: 'SpecInvalid' }, 1],
  ] as const) {
    test(`that is in no Secret is a problem whatever was ${what}`, async () => {
      const one = resource(own, condition);
      const findings = await check({
        ...unseen,
        'list delegatedcredentials': [{ ...one, metadata: { ...METADATA, generation } }],
      });
      const found = findings.filter(({ message }) => message.includes('web-tls'));
      assert.deepEqual(
        found.map(({ check: name, level }) => [name, level]),
        [['CertificateNotFound', 'problem']],
      );
    });
  }

  test('that is in no Secret is a problem all the same where the operator finds none, or says nothing', async () => {
    for (const ready of [undefined, { status: 'False', reason: 'CertificateNotFound' }]) {
      const findings = await check({ ...unseen, 'list delegatedcredentials': [resource(own, ready)] });
      const found = findings.filter((one) => ABOUT_CERTIFICATES.test(one.check));
      assert.deepEqual(
        found.map(({ check: name, level }) => [name, level]),
        [['CertificateNotFound', 'problem']],
      );
    }
  });

  test('that does not answer is a problem', async () => {
    const findings = await check({
      'list deployments': [signed],
      'list delegatedcredentials': [resource(elsewhere, { status: 'False', reason: 'SignerUnavailable' })],
    });
    const [found] = findings.filter((one) => one.message.includes('the operator reports SignerUnavailable'));
    assert.deepEqual([found?.check, found?.level], ['SignerUnavailable', 'problem']);
  });

  test('that is refused has the words of the operator', async () => {
    const findings = await check({
      'list deployments': [signed],
      'list delegatedcredentials': [resource(elsewhere, { status: 'False', reason: 'CertificateNotPermitted' })],
    });
    const problems = findings.filter((one) => ABOUT_CERTIFICATES.test(one.check) && one.level === 'problem');
    assert.deepEqual(
      problems.map((one) => one.check),
      ['CertificateNotPermitted'],
    );
    assert.match(problems[0]?.message ?? '', /the operator reports CertificateNotPermitted: as it is$/);
  });
});

describe('a certificate that is good by itself', () => {
  const own = { 'get secrets edge/web-tls': secret() };

  test('needs a grant where the operator demands one everywhere', async () => {
    const findings = await check({
      ...own,
      'list deployments': [operator('--require-grant=true')],
      'get namespaces edge': { metadata: { name: 'edge', uid: 'n' } },
      'list delegatedcredentials': [resource({ name: 'web-tls' })],
    });
    const problems = findings.filter((one) => ABOUT_CERTIFICATES.test(one.check) && one.level === 'problem');
    assert.deepEqual(
      problems.map(({ message }) => message),
      ['DelegatedCredential edge/web: no DelegationGrant permits its certificate'],
    );
  });

  test('is a problem where the operator refuses it all the same', async () => {
    const refused = resource({ name: 'web-tls' }, { status: 'False', reason: 'CertificateNotPermitted' });
    const findings = await check({ ...own, 'list delegatedcredentials': [refused] });
    const [found] = findings.filter((one) => one.check === 'CertificateNotPermitted');
    assert.equal(found?.level, 'problem');
    assert.match(found?.message ?? '', /can delegate .*; the operator reports CertificateNotPermitted: as it is$/);
  });
});

test('a certificate expires soon when the operator says so, whatever its life and that of its credentials', async () => {
  const DAY_MS = 86_400_000;
  const cases = [
    { days: 6, afterDays: 1, lifetimeSeconds: 172_800, level: 'ok' },
    { days: 6, afterDays: 5, lifetimeSeconds: 172_800, level: 'warning' },
    { days: 90, afterDays: 70.5, lifetimeSeconds: 601_200, level: 'warning' },
    { days: 90, afterDays: 80, lifetimeSeconds: 172_800, level: 'ok' },
  ];
  for (const { afterDays, days, level, lifetimeSeconds } of cases) {
    const answers = {
      'get secrets edge/web-tls': secret({ days }),
      'list delegatedcredentials': [resource({ name: 'web-tls' }, undefined, { lifetimeSeconds })],
    };
    const findings = await check(answers, { now: () => Date.now() + afterDays * DAY_MS });
    assert.equal(findings.find((one) => one.check === 'Certificate')?.level, level, `${days} days, after ${afterDays}`);
  }
});

describe('what I may not read', () => {
  test('of the API server keeps nothing else from being checked', async () => {
    const findings = await check({ '/version': refusal(403, 'Forbidden'), '/apis': refusal(403, 'Forbidden') });
    const [first] = findings;
    assert.deepEqual([first?.check, first?.level], ['ApiServer', 'warning']);
    assert.match(first?.message ?? '', /^no permission to read the version of https:\/\/api\.invalid: fake Forbidden$/);
    assert.ok(findings.some((one) => one.check === 'Operator'));
    assert.ok(findings.some((one) => one.check === 'YourPermissions'));
  });

  test('of the definitions leaves what the API server serves of them, one by one', async () => {
    const names = ['delegatedcredentials', 'delegationgrants', 'delegationissuers', 'clusterdelegationissuers'];
    const forbidden = names.map((name) => [
      `get customresourcedefinitions ${name}.dcred.dev`,
      refusal(403, 'Forbidden'),
    ]);
    const findings = await check({
      ...Object.fromEntries(forbidden),
      '/apis': { groups: [{ versions: [{ groupVersion: 'dcred.dev/v1alpha1' }] }] },
      '/apis/dcred.dev/v1alpha1': { resources: [{ name: 'delegatedcredentials' }, { name: 'delegationgrants' }] },
    });
    assert.deepEqual(
      findings
        .filter((one) => one.check === 'CustomResourceDefinition')
        .map(({ level, message }) => [level, message.split(';')[0]]),
      [
        ['warning', 'delegatedcredentials.dcred.dev is served'],
        ['warning', 'delegationgrants.dcred.dev is served'],
        ['problem', 'delegationissuers.dcred.dev is not installed'],
        ['problem', 'clusterdelegationissuers.dcred.dev is not installed'],
      ],
    );
  });
});

describe('one that cannot be read', () => {
  test('of many certificates and grants keeps no other from being checked', async () => {
    const other = { ...resource({ name: 'other-tls', namespace: 'vault' }), metadata: { ...METADATA, name: 'other' } };
    const findings = await check({
      'get secrets edge/web-tls': secret(),
      // A Secret that the API server cannot decrypt.
      'get secrets vault/other-tls': refusal(500, 'InternalError'),
      'list delegationgrants': refusal(500, 'InternalError'),
      'list delegatedcredentials': [other, resource({ name: 'web-tls' })],
    });
    assert.ok(findings.some((one) => one.check === 'Certificate' && /edge\/web: .* can delegate/.test(one.message)));
    assert.deepEqual(
      findings.filter(({ message }) => message.includes('could not be checked')).map((one) => [one.check, one.level]),
      [
        ['Certificate', 'warning'],
        ['Grant', 'warning'],
      ],
    );
  });

  test("is no certificate that is missing: a proxy's page says nothing of it", async () => {
    const findings = await check({
      'get secrets edge/web-tls': notServed(),
      'list delegatedcredentials': [resource({ name: 'web-tls' })],
    });
    const found = findings.filter((one) => one.check === 'Certificate');
    assert.deepEqual(
      found.map(({ level }) => level),
      ['warning'],
    );
    assert.match(found[0]?.message ?? '', /could not be checked/);
  });

  test('of many issuers keeps no other from being checked', async () => {
    const spec = { ca: { secretName: 'ca' } };
    const conditions = [
      { type: 'Ready', status: 'False', reason: 'SecretNotFound', message: 'none', observedGeneration: 1 },
    ];
    const issuer = (name: string, status: object) => ({ metadata: { ...METADATA, name }, spec, status });
    const findings = await check({
      '/apis': refusal(403, 'Forbidden'),
      'create subjectaccessreviews': refusal(500, 'InternalError'),
      'list deployments': [
        { ...operator(), metadata: { ...operator().metadata, labels: { [COMPONENT_LABEL]: 'issuer' } } },
      ],
      'list delegationissuers': [issuer('unknown', { conditions }), issuer('new', {})],
    });
    const messages = findings
      .filter((one) => one.check === 'DelegationIssuer')
      .map(({ message }) => message.split(':')[0]);
    assert.deepEqual(messages, ['could not be checked', 'DelegationIssuer edge/new']);
    assert.ok(findings.some((one) => one.check === 'CertManager' && one.level === 'warning'));
    assert.ok(findings.some((one) => one.check === 'Leader'));
  });
});

test('the leader is looked for by the Lease that the arguments name, and by no path of the API', async () => {
  for (const [argument, lease] of [
    ['--leader-elect-resource-name=dcred-operator-shop', 'dcred-operator-shop'],
    ['--leader-elect-resource-name=../secrets/web-tls', 'dcred-operator'],
  ] as const) {
    const findings = await check({
      'list deployments': [operator(argument)],
      [`get leases dcred-system/${lease}`]: { metadata: {}, spec: { holderIdentity: '' } },
    });
    const [leader] = findings.filter((one) => one.check === 'Leader');
    assert.equal(leader?.message, `no replica holds Lease dcred-system/${lease}`);
  }
});

test('a Lease that was never renewed, or at no time, has no leader', async () => {
  for (const spec of [{ holderIdentity: 'dcred-0' }, { holderIdentity: 'dcred-0', renewTime: 'now' }]) {
    const findings = await check({
      'list deployments': [operator()],
      'get leases dcred-system/dcred-operator': { metadata: {}, spec },
    });
    const [leader] = findings.filter((one) => one.check === 'Leader');
    assert.deepEqual(
      [leader?.level, leader?.message],
      ['problem', 'dcred-0 held Lease dcred-system/dcred-operator last, at a time that cannot be read'],
    );
  }
});

describe('of a thousand, a few are read at a time', () => {
  const many = (each: (index: number) => object) => Array.from({ length: 1_000 }, (_, index) => each(index));

  /** The most calls that were under way at once. */
  async function mostAtOnce(answers: Answers, verb: 'create' | 'get', plural: string): Promise<number> {
    const client = fake(answers);
    const asked = { calls: 0, atOnce: 0, most: 0 };
    const call = client[verb] as (...given: readonly unknown[]) => Promise<unknown>;
    const counted = async (type: { readonly plural: string }, ...rest: readonly unknown[]) => {
      if (type.plural !== plural) return await call(type, ...rest);
      asked.calls += 1;
      asked.atOnce += 1;
      asked.most = Math.max(asked.most, asked.atOnce);
      await new Promise((resolve) => setImmediate(resolve));
      asked.atOnce -= 1;
      return await call(type, ...rest);
    };
    await check({}, { client: Object.assign(client, { [verb]: counted }), namespace: undefined });
    assert.ok(asked.calls >= 1_000, `${asked.calls} calls`);
    return asked.most;
  }

  test('namespaces, for the grants of their resources', async () => {
    const resources = many((index) => ({
      ...resource({ name: 'web-tls', namespace: 'vault' }),
      metadata: { ...METADATA, namespace: `n${index}` },
    }));
    const answers = { 'list delegatedcredentials': resources, 'list delegationgrants': [] };
    assert.ok((await mostAtOnce(answers, 'get', 'namespaces')) <= 16);
  });

  test('CAs of issuers', async () => {
    const conditions = [
      { type: 'Ready', status: 'False', reason: 'SecretNotFound', message: 'none', observedGeneration: 1 },
    ];
    const answers = {
      'list deployments': [
        { ...operator(), metadata: { ...operator().metadata, labels: { [COMPONENT_LABEL]: 'issuer' } } },
      ],
      'list delegationissuers': many((index) => ({
        metadata: { ...METADATA, name: `ca-${index}` },
        spec: { ca: { secretName: `ca-${index}` } },
        status: { conditions },
      })),
    };
    // With the few dozen questions about what the issuer itself may do.
    assert.ok((await mostAtOnce(answers, 'create', 'subjectaccessreviews')) < 100);
  });
});
