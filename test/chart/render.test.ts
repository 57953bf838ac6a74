import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { crdFiles } from '../../src/api/crd-yaml.ts';
import { COMMON_OPTIONS } from '../../src/cli/arguments.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { isDnsLabel } from '../../src/text/dns-name.ts';
import {
  deploymentOf,
  deployments,
  type Manifest,
  NAMESPACE,
  operatorOf,
  pick,
  render,
  renderText,
  SIGNER,
  type Values,
} from './chart.ts';
import { VARIANTS } from './variants.ts';

interface Variable {
  readonly name: string;
  readonly value?: string;
}

async function container(values: Values): Promise<Manifest['spec']> {
  return operatorOf(await render(values))['spec'].template.spec.containers[0];
}

async function variable(values: Values, name: string): Promise<readonly (string | undefined)[]> {
  const env: readonly Variable[] = (await container(values)).env;
  return env.filter((entry) => entry.name === name).map(({ value }) => value);
}

async function assertRefusedWithoutPin(values: Values, message: RegExp): Promise<void> {
  await assert.rejects(render(values), (error: Error) => {
    assert.match(error.message, message);
    assert.doesNotMatch(error.message, /S3CRET/);
    return true;
  });
}

describe('every variant', () => {
  for (const [name, values] of Object.entries(VARIANTS)) {
    test(`${name}: names fit, labels are complete, and every namespaced object has its namespace`, async () => {
      const clusterWide = new Set([
        'CustomResourceDefinition',
        'ClusterRole',
        'ClusterRoleBinding',
        'FlowSchema',
        'MutatingWebhookConfiguration',
        'PriorityLevelConfiguration',
        'ValidatingAdmissionPolicy',
        'ValidatingAdmissionPolicyBinding',
      ]);
      const seen = new Set<string>();
      for (const { kind, metadata } of await render(values)) {
        const id = `${kind}/${metadata.namespace}/${metadata.name}`;
        assert.ok(!seen.has(id), `${id} appears twice`);
        seen.add(id);
        assert.ok(metadata.name.length <= (clusterWide.has(kind) ? 253 : 63), `${id} is too long`);
        assert.equal(metadata.namespace === undefined, clusterWide.has(kind), id);
        for (const label of ['name', 'instance', 'version', 'managed-by', 'part-of']) {
          assert.ok(metadata.labels?.[`app.kubernetes.io/${label}`], `${id} has no label ${label}`);
        }
      }
    });

    test(`${name}: each command knows every option in its arguments`, async () => {
      for (const { spec } of deployments(await render(values))) {
        const [first, ...rest] = spec.template.spec.containers[0].args as readonly string[];
        const command = COMMANDS.find((one) => one.name === first);
        assert.ok(command, first);
        const known = new Set(Object.keys({ ...command.options, ...COMMON_OPTIONS }));
        for (const arg of rest) {
          const [, option = '', value] = /^--([a-z-]+)(?:=(.*))?$/.exec(arg) ?? [];
          assert.ok(known.has(option), `${arg} is not an option of dcred ${command.name}`);
          const type = { ...command.options, ...COMMON_OPTIONS }[option]?.type;
          assert.ok(value !== undefined || type === 'boolean', `${arg} of dcred ${command.name} has no value`);
        }
      }
    });

    test(`${name}: two renders are equal, as Argo CD compares them`, async () => {
      assert.equal(await renderText(values), await renderText(values));
    });

    test(`${name}: every selector matches the pods of exactly one Deployment`, async () => {
      const objects = await render(values);
      const templates: readonly Readonly<Record<string, string>>[] = deployments(objects).map(
        ({ spec }) => spec.template.metadata.labels,
      );
      const helmTest = objects.find(({ kind }) => kind === 'Pod')?.metadata.labels ?? {};
      const selectors: readonly Readonly<Record<string, string>>[] = objects.flatMap(({ kind, spec }) => {
        if (kind === 'Service') return [spec.selector];
        if (kind === 'NetworkPolicy') return [spec.podSelector.matchLabels];
        if (kind === 'Deployment' || kind === 'PodDisruptionBudget') return [spec.selector.matchLabels];
        return [];
      });
      assert.ok(selectors.length > 0);
      for (const selector of selectors) {
        const matches = (labels: Readonly<Record<string, string>>) =>
          Object.entries(selector).every(([label, value]) => labels[label] === value);
        assert.equal(templates.filter(matches).length, 1);
        assert.ok(!matches(helmTest));
      }
    });
  }
});

describe('metrics of every component', () => {
  // Found by what their pods serve, so that one that is added later is not forgotten.
  const everything: Values = {
    namespaces: ['edge'],
    metrics: { auth: true, serviceMonitor: { enabled: true, bearerTokenFile: '/run/token' } },
    signer: SIGNER,
    audit: { enabled: true },
    issuer: { enabled: true, authorities: [{ namespace: 'vault', names: ['web-ca'] }] },
  };
  const includes = (labels: Readonly<Record<string, string>>, selector: Readonly<Record<string, string>>) =>
    Object.entries(selector).every(([label, value]) => labels[label] === value);

  test('are served to authorized scrapers only, and scraped', async () => {
    const objects = await render(everything);
    const auth = objects.filter(({ kind, metadata }) => /-metrics-auth$/.test(metadata.name) && kind !== 'ClusterRole');
    const reviewers: readonly { readonly name: string }[] = auth.flatMap((binding) => binding['subjects']);
    const scraped = objects.filter(({ kind }) => kind === 'ServiceMonitor');
    assert.equal(deployments(objects).length, 5);
    for (const { metadata, spec } of deployments(objects)) {
      const { containers, serviceAccountName } = spec.template.spec;
      assert.ok(
        containers[0].ports.some(({ name }: Variable) => name === 'metrics'),
        metadata.name,
      );
      assert.ok(containers[0].args.includes('--metrics-auth=true'), `${metadata.name} serves metrics to everybody`);
      assert.ok(
        reviewers.some(({ name }) => name === serviceAccountName),
        `${metadata.name} may not review scrapers`,
      );
      const services = objects.filter(
        (one) =>
          one.kind === 'Service' &&
          includes(spec.template.metadata.labels, one['spec'].selector) &&
          one['spec'].ports.some(({ name }: Variable) => name === 'metrics'),
      );
      const monitors = scraped.filter((monitor) =>
        services.some((service) => includes(service.metadata.labels ?? {}, monitor['spec'].selector.matchLabels)),
      );
      assert.deepEqual([services.length, monitors.length], [1, 1], `${metadata.name} is not scraped once`);
    }
  });

  const authorization = { type: 'Bearer', credentials: { name: 'metrics-token', key: 'token' } };
  const scrapedWith = (auth: boolean, token: Values): Values => ({
    ...everything,
    metrics: { auth, serviceMonitor: { enabled: true, ...token } },
  });

  const inDocs = { bearerTokenFile: '/var/run/secrets/dcred/token' };
  for (const [title, auth, given, token] of [
    ['the file that is named', true, { bearerTokenFile: '/run/token' }, { bearerTokenFile: '/run/token' }],
    ['the authorization that is named', true, { authorization }, { authorization }],
    ['the file of docs/operations.md, where none is named', true, {}, inDocs],
    ['no token, where none is demanded', false, {}, {}],
  ] as const) {
    test(`are scraped with ${title}`, async () => {
      const monitors = (await render(scrapedWith(auth, given))).filter(({ kind }) => kind === 'ServiceMonitor');
      assert.equal(monitors.length, 5);
      for (const { metadata, spec } of monitors) {
        const [{ authorization: secret, bearerTokenFile }] = spec.endpoints;
        const found = { ...(secret && { authorization: secret }), ...(bearerTokenFile && { bearerTokenFile }) };
        assert.deepEqual(found, token, metadata.name);
      }
    });
  }

  test('keep their own label "namespace" when scraped; those of agents, whose pods are of tenants, do not', async () => {
    const scraped = { serviceMonitor: { enabled: true }, podMonitor: { enabled: true } };
    const objects = await render({ ...everything, metrics: scraped });
    const endpoints = objects.flatMap(({ kind, metadata, spec }) => {
      if (kind !== 'ServiceMonitor' && kind !== 'PodMonitor') return [];
      const all: readonly { readonly honorLabels?: boolean }[] = spec.endpoints ?? spec.podMetricsEndpoints;
      return all.map(({ honorLabels = false }) => [metadata.name, honorLabels]);
    });
    assert.deepEqual(Object.fromEntries(endpoints), {
      ...{ dcred: true, 'dcred-webhook': true, 'dcred-audit': true, 'dcred-issuer': true, 'dcred-signer': true },
      'dcred-agents': false,
    });
  });

  test('are scraped with one token', async () => {
    const both = { bearerTokenFile: '/run/token', authorization };
    await assert.rejects(render(scrapedWith(true, both)), /bearerTokenFile .* or authorization .*, not both/);
  });
});

describe('the image', () => {
  for (const [values, expected] of [
    [{}, /^registry\.invalid\/dcred:\d+\.\d+\.\d+$/],
    [{ image: { tag: 'v9' } }, /^registry\.invalid\/dcred:v9$/],
    [{ image: { tag: 'v9', digest: `sha256:${'0'.repeat(64)}` } }, /^registry\.invalid\/dcred@sha256:0{64}$/],
  ] as const) {
    test(`of ${JSON.stringify(values)} is ${expected.source}`, async () => {
      assert.match((await container(values)).image, expected);
    });
  }
});

describe("Node's heap", () => {
  for (const [memory, mebibytes] of [
    ['128Mi', 64],
    ['256Mi', 128],
    ['512Mi', 256],
    ['1Gi', 768],
    ['2G', 1651],
    ['0.5Gi', 256],
    [536_870_912, 256],
  ] as const) {
    test(`is ${mebibytes} MiB for a memory limit of ${memory}`, async () => {
      const found = await variable({ resources: { limits: { memory } } }, 'NODE_OPTIONS');
      assert.deepEqual(found, [`--max-old-space-size=${mebibytes} --max-semi-space-size=4`]);
    });
  }

  test("is Node's default without a memory limit", async () => {
    assert.deepEqual(await variable({ resources: { limits: null } }, 'NODE_OPTIONS'), []);
  });

  test('can be overridden by NODE_OPTIONS in extraEnv', async () => {
    const extraEnv = [{ name: 'NODE_OPTIONS', value: '--max-old-space-size=99' }];
    assert.deepEqual(await variable({ extraEnv }, 'NODE_OPTIONS'), ['--max-old-space-size=99']);
  });
});

describe('namespaces', () => {
  test('empty: one ClusterRole for the operator, bound to its service account', async () => {
    const objects = await render({ rbac: { aggregate: false }, webhook: { enabled: false } });
    const role = pick(objects, 'ClusterRole');
    const binding = pick(objects, 'ClusterRoleBinding');
    assert.equal(binding['roleRef'].name, role.metadata.name);
    assert.deepEqual(binding['subjects'], [{ kind: 'ServiceAccount', name: 'dcred', namespace: NAMESPACE }]);
  });

  test('listed: the same rules in a Role in each, and no ClusterRoleBinding', async () => {
    const everywhere = pick(await render({ rbac: { aggregate: false }, webhook: { enabled: false } }), 'ClusterRole');
    const objects = await render({ namespaces: ['edge', 'shop', 'edge'], webhook: { enabled: false } });
    assert.ok(!objects.some(({ kind }) => kind === 'ClusterRoleBinding'));
    const roles = objects.filter(({ kind, metadata }) => kind === 'Role' && metadata.name === 'dcred-operator');
    assert.equal(roles.length, 2);
    assert.deepEqual(new Set(roles.map(({ metadata }) => metadata.namespace)), new Set(['edge', 'shop']));
    const isOnNamespaces = ({ resources }: { resources: readonly string[] }) => resources.includes('namespaces');
    for (const role of roles) {
      const [onNamespaces] = role['rules'].filter(isOnNamespaces);
      assert.deepEqual([onNamespaces.resourceNames, onNamespaces.verbs], [[role.metadata.namespace], ['get']]);
      const others = (rules: readonly { resources: readonly string[] }[]) =>
        rules.filter((rule) => !isOnNamespaces(rule));
      assert.deepEqual(others(role['rules']), others(everywhere['rules']));
    }
    assert.deepEqual(
      (await container({ namespaces: ['edge', 'shop', 'edge'] })).args.filter((arg: string) =>
        arg.includes('namespace'),
      ),
      ['--namespace=edge', '--namespace=shop'],
    );
  });

  test('listed, with certificates elsewhere: those Secrets by name, and a flag', async () => {
    const values = {
      namespaces: ['edge'],
      certificates: [{ namespace: 'vault', names: ['web-tls'] }],
      requireGrant: true,
    };
    const roles = (await render(values)).filter(
      ({ kind, metadata }) => kind === 'Role' && metadata.namespace === 'vault',
    );
    const onSecrets = roles.flatMap((role) => role['rules']).filter(({ resources }) => resources.includes('secrets'));
    assert.deepEqual(
      onSecrets.map(({ resourceNames, verbs }) => [resourceNames, verbs]),
      [[['web-tls'], ['get', 'list', 'watch']]],
    );
    const { args } = await container(values);
    assert.ok(args.includes('--certificate-namespace=vault') && args.includes('--require-grant=true'), args.join(' '));
  });

  test('certificates elsewhere need a list of namespaces that they are not in', async () => {
    const certificates = [{ namespace: 'vault', names: ['web-tls'] }];
    await assert.rejects(render({ certificates }), /certificates: set namespaces too/);
    await assert.rejects(render({ certificates, namespaces: ['vault'] }), /namespace "vault" is served/);
  });

  test('listed, without CRD and aggregated roles: no cluster-scoped object', async () => {
    const objects = await render(VARIANTS['no cluster-scoped object']);
    assert.deepEqual(
      objects.filter(({ metadata }) => metadata.namespace === undefined),
      [],
    );
  });
});

test('two releases share no cluster-scoped name except the CRDs', async () => {
  const crdNames = crdFiles().map(({ name }) => name.replace(/^dcred\.dev_(.*)\.yaml$/, '$1.dcred.dev'));
  const namesOf = async (release: string) =>
    (await render({}, release))
      .filter(({ metadata }) => metadata.namespace === undefined)
      .map(({ metadata }) => metadata.name);
  const [one, other] = await Promise.all([namesOf('one'), namesOf('other')]);
  assert.deepEqual(one.filter((name) => other.includes(name)).sort(), crdNames.sort());
});

test('two releases in one namespace elect a leader each, by Leases that their roles and policies name', async () => {
  const FLAG = '--leader-elect-resource-name=';
  const authorities = [{ namespace: 'edge', names: ['web-ca'] }];
  const values = { namespaces: ['edge'], issuer: { enabled: true, authorities } };
  const leasesOf = async (release: string, more: Values = {}) => {
    const objects = await render({ ...values, ...more }, release);
    const named = deployments(objects)
      .flatMap(({ spec }) => spec.template.spec.containers[0].args)
      .filter((word: string) => word.startsWith(FLAG))
      .map((word: string) => word.slice(FLAG.length));
    const rules = objects.filter(({ kind }) => kind === 'Role').flatMap((role) => role['rules']);
    const permitted: readonly string[] = rules
      .filter(({ resources, resourceNames }) => resources.includes('leases') && resourceNames !== undefined)
      .flatMap(({ resourceNames }) => resourceNames);
    assert.deepEqual(permitted.toSorted(), named.toSorted(), release);
    const policies = objects.filter(({ kind }) => kind === 'ValidatingAdmissionPolicy');
    for (const lease of named) assert.ok(JSON.stringify(policies).includes(`== '${lease}'`), lease);
    return named.toSorted();
  };
  assert.deepEqual(await leasesOf('dcred'), ['dcred-issuer', 'dcred-operator']);
  assert.deepEqual(await leasesOf('shop-dcred'), ['dcred-issuer-shop-dcred', 'dcred-operator-shop-dcred']);
  // 47 characters are left of a long name.
  const fullnameOverride = 'x'.repeat(60);
  for (const lease of await leasesOf('edge', { fullnameOverride })) assert.ok(isDnsLabel(lease), lease);
});

test('with shards, the policy names the Leases of the release', async () => {
  const values = { operator: { shards: 4 } };
  const policies = async (release: string) =>
    JSON.stringify((await render(values, release)).filter(({ kind }) => kind === 'ValidatingAdmissionPolicy'));
  assert.ok((await policies('dcred')).includes("matches('^dcred-operator-("));
  assert.ok((await policies('shop-dcred')).includes("matches('^dcred-operator-shop-dcred-("));
});

test('a replica that is shut down has time to release its lease', async () => {
  const { spec } = operatorOf(await render())['spec'].template;
  assert.ok(spec.terminationGracePeriodSeconds >= 15);
});

test('the token is mounted only into the operator and the webhook', async () => {
  const objects = await render();
  const accounts = objects.filter(({ kind }) => kind === 'ServiceAccount');
  assert.deepEqual(
    accounts.map(({ automountServiceAccountToken, metadata }) => [metadata.name, automountServiceAccountToken]),
    [
      ['dcred', false],
      ['dcred-webhook', false],
    ],
  );
  for (const { spec } of deployments(objects)) assert.equal(spec.template.spec.automountServiceAccountToken, true);
  assert.equal(pick(objects, 'Pod')['spec'].automountServiceAccountToken, false);
});

describe('the keys of a signer', () => {
  const withKeys = (keys: Values, signer: Values = {}): Values => ({
    namespaces: ['edge'],
    signer: { ...SIGNER, certificates: [{ namespace: 'vault', names: ['web-tls'], keys }], ...signer },
  });
  const token = 'pkcs11:token=pay;object=pay?module-path=/usr/lib/hsm.so';
  const vault = { vault: { address: 'https://vault.example:8200' } };

  for (const [what, values, message] of [
    ['a name in both lists', withKeys({ 'web-tls': 'awskms:///alias/web' }), /"web-tls" .* in names and in keys/],
    ['a PIN, which would be in a ConfigMap', withKeys({ a: `${token}&pin-value=S3CRET` }), /PIN .* ConfigMap/],
    ['a PIN file without its Secret', withKeys({ a: `${token}&pin-source=/etc/dcred/pin/a` }), /pinSecret: needed/],
    ['Vault without its address', withKeys({ a: 'hashivault://web' }), /vault\.address: needed for the key of "a"/],
    ['an unknown scheme', withKeys({ a: 'gcpkms://x' }), /pattern/],
    ['two URIs in one', withKeys({ a: 'hashivault://web\n      - name: x/y' }, vault), /pattern/],
    [
      'no certificate at all',
      { namespaces: ['edge'], signer: { enabled: true, certificates: [{ namespace: 'vault' }] } },
      /names|keys/,
    ],
    [
      'a digest of the image without PKCS#11 for a key that needs it',
      { ...withKeys({ a: token }), image: { digest: `sha256:${'0'.repeat(64)}` } },
      /signer\.image\.digest/,
    ],
  ] as const) {
    test(`refuses ${what}, and quotes no PIN`, () => assertRefusedWithoutPin(values, message));
  }

  test('on a token take the variant of the image, and only then', async () => {
    const imageOf = async (values: Values) =>
      deploymentOf(await render(values), 'signer')['spec'].template.spec.containers[0].image;
    assert.match(await imageOf(withKeys({ a: token })), /:\d+\.\d+\.\d+-pkcs11$/);
    assert.match(await imageOf(withKeys({ a: 'awskms:///alias/a' })), /:\d+\.\d+\.\d+$/);
    assert.match(await imageOf({ ...withKeys({ a: token }), image: { tag: 'v9' } }), /:v9-pkcs11$/);
    const operator = operatorOf(await render(withKeys({ a: token })))['spec'].template.spec.containers[0];
    assert.match(operator.image, /:\d+\.\d+\.\d+$/);
  });

  test('elsewhere: the address of Vault by its variable is enough', async () => {
    const extraEnv = [{ name: 'VAULT_ADDR', value: 'https://vault.example:8200' }];
    assert.ok((await render(withKeys({ a: 'hashivault://web' }, { extraEnv }))).length > 0);
  });
});

describe("the volume of a signer's audit log", () => {
  const withVolume = (volume: Values, replicas: number): Values => ({
    namespaces: ['edge'],
    signer: { ...SIGNER, replicas, auditLog: { volume } },
  });
  const strategyOf = async (values: Values) => deploymentOf(await render(values), 'signer')['spec'].strategy?.type;

  for (const [type, volume] of Object.entries({
    persistentVolumeClaim: { claimName: 'audit' },
    hostPath: { path: '/var/log/dcred' },
    nfs: { server: 'nfs.example', path: '/audit' },
  })) {
    test(`has one writer where it is a ${type}`, async () => {
      assert.equal(await strategyOf(withVolume({ [type]: volume }, 1)), 'Recreate');
      await assert.rejects(
        render(withVolume({ [type]: volume }, 2)),
        /signer\.auditLog\.volume: one log has one writer/,
      );
    });
  }

  for (const [type, volume] of Object.entries({
    emptyDir: { sizeLimit: '2Gi' },
    ephemeral: { volumeClaimTemplate: { spec: { accessModes: ['ReadWriteOnce'] } } },
  })) {
    test(`is each replica's own where it is an ${type}`, async () => {
      assert.equal(await strategyOf(withVolume({ [type]: volume }, 2)), 'RollingUpdate');
    });
  }
});

describe('an operator shows a signer elsewhere', () => {
  const url = 'https://signer.home.example:8444';
  const mounted = async (signer: Values) => {
    const { containers, volumes } = operatorOf(await render({ signer }))['spec'].template.spec;
    const { args } = containers[0];
    const { sources } = volumes.find((volume: { name: string }) => volume.name === 'signer').projected;
    return {
      options: args.filter((arg: string) => /^--signer-(token|cert|key)=/.test(arg)),
      sources: sources.map((source: object) => Object.keys(source)[0]),
      source: sources[0],
    };
  };
  const FILES = '/var/run/secrets/dcred.dev/signer';

  test('a token of its account', async () => {
    const { options, sources } = await mounted({ url });
    assert.deepEqual(options, [`--signer-token=${FILES}/token`]);
    assert.deepEqual(sources, ['serviceAccountToken']);
  });

  test('its client certificate, and no token then', async () => {
    const { options, source, sources } = await mounted({ url, ca: 'a CA', clientCertSecret: 'eu-client' });
    assert.deepEqual(options, [`--signer-cert=${FILES}/tls.crt`, `--signer-key=${FILES}/tls.key`]);
    assert.deepEqual(sources, ['secret', 'configMap']);
    assert.deepEqual(source.secret, {
      name: 'eu-client',
      items: [
        { key: 'tls.crt', path: 'tls.crt' },
        { key: 'tls.key', path: 'tls.key' },
      ],
    });
  });

  test('no certificate where the signer is in this release', async () => {
    const signer = { ...SIGNER, clientCertSecret: 'eu-client' };
    await assert.rejects(
      render({ namespaces: ['edge'], signer }),
      /signer\.clientCertSecret: for a signer elsewhere only/,
    );
  });
});

describe("the keys of an issuer's CAs", () => {
  const withKeys = (...uris: readonly string[]): Values => ({
    issuer: {
      enabled: true,
      authorities: [{ namespace: 'vault', names: ['web-ca'] }],
      caKeys: uris.map((uri, index) => ({ name: `k${index}`, uri })),
    },
  });
  const issuerOf = async (values: Values) =>
    deploymentOf(await render(values), 'issuer')['spec'].template.spec.containers[0];
  const token = 'pkcs11:token=ca;object=ca?module-path=/usr/lib/hsm.so';

  for (const [what, values, message] of [
    ['a PIN, which would be in the Deployment', withKeys(`${token}&pin-value=S3CRET`), /PIN .* Deployment/],
    ['Vault without its address', withKeys('hashivault://web'), /"k0" needs VAULT_ADDR/],
    ['an argument in a URI', withKeys('awskms:///alias/a\n            - --log-level=debug'), /pattern/],
    ['a comment in a URI', withKeys('awskms:///alias/a # b'), /pattern/],
    [
      'a digest of the image without PKCS#11 for a key that needs it',
      { ...withKeys(token), image: { digest: `sha256:${'0'.repeat(64)}` } },
      /issuer\.image\.digest/,
    ],
  ] as const) {
    test(`refuses ${what}, and quotes no PIN`, () => assertRefusedWithoutPin(values, message));
  }

  test('reach it as they are, and on a token with the variant of the image', async () => {
    const uris = [token, "pkcs11:object=a'b;token=x?module-path=/a:b/c.so&pin-source=/run/pin"];
    const { args, image } = await issuerOf(withKeys(...uris));
    assert.deepEqual(
      args.filter((arg: string) => arg.startsWith('--ca-key')),
      uris.map((uri, index) => `--ca-key=k${index}=${uri}`),
    );
    assert.match(image, /:\d+\.\d+\.\d+-pkcs11$/);
    assert.match((await issuerOf(withKeys('awskms:///alias/a'))).image, /:\d+\.\d+\.\d+$/);
  });
});

test("labels and annotations of yours that the chart sets too appear once, and the selectors' stay the chart's", async () => {
  const label = { 'app.kubernetes.io/component': 'theirs' };
  const values: Values = {
    namespaces: ['edge'],
    commonLabels: label,
    podLabels: label,
    podAnnotations: { 'kubectl.kubernetes.io/default-container': 'mesh', 'checksum/config': 'theirs' },
    signer: SIGNER,
    audit: { enabled: true },
    issuer: { enabled: true, authorities: [{ namespace: 'vault', names: ['web-ca'] }] },
    metrics: { serviceMonitor: { enabled: true }, dashboards: { enabled: true } },
  };
  // A key that is there twice is an error of the parser.
  const objects = await render(values);
  for (const { metadata, spec } of deployments(objects)) {
    const { annotations, labels } = spec.template.metadata;
    assert.equal(annotations['kubectl.kubernetes.io/default-container'], 'mesh', metadata.name);
    assert.notEqual(labels['app.kubernetes.io/component'], 'theirs', metadata.name);
  }
  const signer = deploymentOf(objects, 'signer')['spec'].template.metadata.annotations;
  assert.match(signer['checksum/config'], /^[0-9a-f]{64}$/);
});

describe('service accounts', () => {
  const components = ['operator', 'webhook', 'audit', 'issuer', 'signer'] as const;
  /** Every component, two of them with the same account. */
  const sharing = (create: boolean, pair: readonly string[]): Values => {
    const of = (component: string) => (pair.includes(component) ? 'shared' : component);
    const named = { enabled: true };
    return {
      namespaces: ['edge'],
      serviceAccount: { create, name: of('operator') },
      webhook: { serviceAccountName: of('webhook') },
      audit: { ...named, serviceAccountName: of('audit') },
      issuer: {
        ...named,
        serviceAccountName: of('issuer'),
        authorities: [{ namespace: 'vault', names: ['web-ca'] }],
      },
      signer: {
        ...SIGNER,
        serviceAccountName: of('signer'),
      },
    };
  };

  for (const [index, one] of components.entries()) {
    for (const other of components.slice(index + 1)) {
      const holdsKeys = other === 'issuer' || other === 'signer';
      test(`of ${one} and ${other} ${holdsKeys ? 'must differ' : 'may be one, which is made once'}`, async () => {
        if (holdsKeys) {
          await assert.rejects(render(sharing(false, [one, other])), /"shared" is also the account of the/);
          return;
        }
        const accounts = (await render(sharing(true, [one, other]))).filter(({ kind }) => kind === 'ServiceAccount');
        const names = accounts.map(({ metadata }) => metadata.name);
        assert.deepEqual(new Set(names).size, names.length, names.join(' '));
      });
    }
  }
});

test('a namespace with two entries is refused: the Role of the second would take the place of the first', async () => {
  const twice = [
    { namespace: 'vault', names: ['a'] },
    { namespace: 'vault', names: ['b'] },
  ];
  for (const [name, values] of Object.entries({
    certificates: { certificates: twice },
    'signer.certificates': { signer: { ...SIGNER, certificates: twice } },
    'issuer.authorities': { issuer: { enabled: true, authorities: twice } },
  })) {
    const pattern = new RegExp(`${name}: namespace "vault" has two entries`);
    await assert.rejects(render({ namespaces: ['edge'], ...values }), pattern);
  }
});
