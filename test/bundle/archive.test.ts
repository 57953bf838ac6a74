import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { archive, bundleFiles, type Collected } from '../../src/bundle/archive.ts';
import { scrub } from '../../src/bundle/scrub.ts';
import { overviews } from '../../src/status/overview.ts';
import { issuedSecret, NOW, podOf, resource } from '../../testing/support/builders.ts';

const condition = { type: 'Ready', status: 'False', reason: 'PodsFailed', message: 'pod "web-0": refused' };
const metadata = {
  name: 'web',
  namespace: 'edge',
  uid: '0f8fad5b-d9cb-469f-a165-70867728950e',
  generation: 2,
  creationTimestamp: '2027-01-15T08:00:00Z',
  labels: { app: 'web' },
  annotations: { 'example.com/note': 'text' },
};
const container = {
  name: 'operator',
  image: 'registry.invalid/dcred:0.1.0',
  args: ['operator', '--metrics-bind-address=:8080'],
  env: [{ name: 'POD_NAME', value: 'text' }],
};
const state = { terminated: { reason: 'Error', message: 'text', exitCode: 1 } };

/** Every kind of object, with a string wherever one may stand. */
const COLLECTED: Collected = {
  versions: { dcred: '0.1.0', node: 'v24.21.0' },
  createdAt: '2027-01-15T08:00:00Z',
  findings: [{ level: 'problem', check: 'Webhook', message: 'text', remedy: 'text' }],
  resources: [
    {
      metadata,
      ...{
        spec: {
          certificateRef: { name: 'web-tls', namespace: 'certs' },
          podSelector: { matchLabels: { app: 'web' }, matchExpressions: [{ key: 'a', operator: 'In', values: ['b'] }] },
          secretTemplate: { labels: { a: 'b' }, annotations: { c: 'text' } },
          usage: 'Server',
        },
        status: { conditions: [condition], certificate: { subject: 'CN=web', dnsNames: ['a.example'], sha256: 'a' } },
      },
    },
  ],
  overviews: overviews({
    resources: [
      resource({
        status: { conditions: [{ ...condition, status: 'False', lastTransitionTime: metadata.creationTimestamp }] },
      }),
    ],
    pods: [podOf()],
    secrets: [issuedSecret()],
    now: NOW,
  }),
  events: [
    {
      namespace: 'edge',
      lastSeen: 'time',
      type: 'Warning',
      reason: 'a',
      object: 'pod/web-0',
      related: 'b',
      count: 1,
      note: 'text',
    },
  ],
  deployments: [
    {
      metadata,
      ...{
        spec: { replicas: 2, template: { spec: { serviceAccountName: 'dcred', containers: [container] } } },
        status: { conditions: [condition] },
      },
    },
  ],
  pods: [
    {
      metadata,
      ...{
        spec: { nodeName: 'node-1' },
        status: {
          phase: 'Running',
          message: 'text',
          conditions: [condition],
          containerStatuses: [{ name: 'operator', state, lastState: state }],
        },
      },
    },
  ],
  webhookConfigurations: [
    {
      metadata,
      ...{
        webhooks: [
          {
            name: 'inject.dcred.dev',
            namespaceSelector: { matchLabels: { a: 'b' } },
            clientConfig: { caBundle: 'text', url: 'text', service: { name: 'dcred-webhook', path: '/inject' } },
          },
        ],
      },
    },
  ],
  logs: {
    'dcred-system/dcred-1 operator':
      '{"level":"info","msg":"text","detail":"text","other":"text"}\nError: text\n  at text',
  },
  isEmpty: false,
  failures: ['text'],
};

type Path = readonly (string | number)[];

/** Where a string stands in a value. */
function stringPaths(value: unknown, path: Path = []): readonly Path[] {
  if (typeof value === 'string') return [path];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    stringPaths(inner, [...path, Array.isArray(value) ? Number(key) : key]),
  );
}

const PATHS = stringPaths(COLLECTED);

/** The value with the string at this path changed, or the name of the field before it. */
function changed(value: unknown, [head, ...rest]: Path, change: (text: string) => string): unknown {
  if (head === undefined) return change(String(value));
  if (Array.isArray(value)) return value.map((inner, index) => (index === head ? changed(inner, rest, change) : inner));
  return Object.fromEntries(
    Object.entries(value as object).map(([key, inner]) => [key, key === head ? changed(inner, rest, change) : inner]),
  );
}

/** A key in every form in which users paste one. */
function forms(key: KeyObject): readonly string[] {
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const pem = String(key.export({ type: 'pkcs8', format: 'pem' }));
  const raw = Buffer.from(key.export({ format: 'jwk' }).d ?? '', 'base64url');
  const sec1 = key.asymmetricKeyType === 'ec' ? [String(key.export({ type: 'sec1', format: 'pem' }))] : [];
  const encodings = [pkcs8, raw].flatMap((bytes) => [
    bytes.toString('base64'),
    bytes.toString('base64url'),
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
    (bytes.toString('hex').match(/../g) ?? []).join(':'),
    BigInt(`0x${bytes.toString('hex')}`).toString(),
  ]);
  const body = pem.split('\n').slice(1, -2).join('\n');
  return [
    pem,
    pem.replaceAll('\n', '\\n'),
    pem.replaceAll('\n', ' '),
    body,
    Buffer.from(pem).toString('base64'),
    JSON.stringify(key.export({ format: 'jwk' })),
    `eyJhbGciOiJFUzI1NiJ9.${randomBytes(90).toString('base64url')}.${randomBytes(64).toString('base64url')}`,
    ...sec1,
    ...encodings,
  ];
}

const PIECE = 20;

/** Every piece of it that is long enough to differ from ordinary text, without the words that all keys share. */
function pieces(secret: string): readonly string[] {
  const words = secret
    .split(/\\n|[^A-Za-z0-9+/=_:-]/)
    .filter((word) => word.length >= PIECE && !/^-+|^(BEGIN|END)/.test(word));
  return words.flatMap((word) =>
    Array.from({ length: word.length - PIECE + 1 }, (_, start) => word.slice(start, start + PIECE)),
  );
}

const KEYS = [
  ...Array.from({ length: 4 }, () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey),
  generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey,
  generateKeyPairSync('ed25519').privateKey,
];
const SECRETS = KEYS.flatMap(forms);

describe('a support archive', () => {
  test('has no piece of a key, wherever a user put it', () => {
    const where = fc.constantFrom(...PATHS);
    const what = fc.constantFrom(...SECRETS);
    const around = fc.constantFrom('', 'the key is ', 'key=', '"', '(');
    fc.assert(
      fc.property(
        where,
        what,
        around,
        fc.constantFrom('', '\n', ' is the key', '")'),
        (path, secret, before, after) => {
          const planted = changed(COLLECTED, path, () => `${before}${secret}${after}`) as Collected;
          const text = bundleFiles(planted)
            .map((file) => file.path + file.text)
            .join('\n');
          const found = pieces(secret).filter((piece) => text.includes(piece));
          assert.deepEqual(found, [], path.join('.'));
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test('has no piece of one in the name of a field either', () => {
    for (const secret of SECRETS) {
      const labels = { [secret]: 'b' };
      const planted = { ...COLLECTED, resources: [{ metadata: { ...metadata, labels, annotations: labels } }] };
      const text = bundleFiles(planted)
        .map((file) => file.text)
        .join('\n');
      assert.deepEqual(
        pieces(secret).filter((piece) => text.includes(piece)),
        [],
      );
    }
  });

  test('has no value of a label, an annotation, an environment variable or secretTemplate', () => {
    const planted = JSON.parse(JSON.stringify(COLLECTED), (key, value) =>
      ['labels', 'annotations', 'value'].includes(key) && typeof value !== 'undefined'
        ? typeof value === 'string'
          ? 'planted'
          : Object.fromEntries(Object.keys(value).map((name) => [name, 'planted']))
        : value,
    ) as Collected;
    assert.ok(!bundleFiles(planted).some(({ text }) => text.includes('planted')));
  });

  test('is made whatever is in a line of a log', () => {
    const nested = (depth: number) => `${'[{"a":'.repeat(depth)}{"b":"secret-of-others"}${'}]'.repeat(depth)}`;
    for (const depth of [0, 1, 100_000]) {
      for (const field of ['msg', 'detail', 'err', 'err.message', 'other']) {
        const [name = '', inner] = field.split('.');
        const value = inner === undefined ? nested(depth) : `{"${inner}":${nested(depth)}}`;
        const logs = { 'dcred-system/dcred-1 operator': `{"level":"info","${name}":${value}}\n{"msg":"next"}` };
        const text = bundleFiles({ ...COLLECTED, logs }).find(({ path }) => path === 'logs/0.log')?.text ?? '';
        assert.match(text, /^\{"level":"info".*\n\{"msg":"next"\}\n$/, `${field} ${depth}`);
        assert.doesNotMatch(text, /secret-of-others/);
      }
    }
  });

  test('keeps what is needed to find a fault', () => {
    const text = bundleFiles(COLLECTED)
      .map((file) => file.text)
      .join('\n');
    for (const kept of [
      'PodsFailed',
      'web-web-0',
      'registry.invalid/dcred:0.1.0',
      '--metrics-bind-address=:8080',
      metadata.uid,
      'POD_NAME',
      '"exitCode": 1',
    ]) {
      assert.ok(text.includes(kept), kept);
    }
  });

  test('is a tar.gz with one folder, which has a README', () => {
    const bytes = gunzipSync(archive('dcred-bundle', bundleFiles(COLLECTED)));
    assert.equal(bytes.subarray(0, 23).toString(), 'dcred-bundle/README.txt');
    assert.equal(bytes.length % 512, 0);
  });
});

describe('scrubbing', () => {
  test('leaves ordinary words of Kubernetes as they are', () => {
    const words = [
      'web-web-7d9f8b6c5d-x2x4z',
      'system:serviceaccount:dcred-system:dcred-webhook',
      'mutatingwebhookconfigurations.admissionregistration.k8s.io',
      'CertificateCannotDelegate',
      'ValidatingAdmissionPolicyBinding',
      '/var/run/secrets/kubernetes.io/serviceaccount',
      '/api/v1/namespaces/edge/pods/web-0/log?container=operator',
      '0f8fad5b-d9cb-469f-a165-70867728950e',
      'KUBERNETES_SERVICE_PORT_HTTPS',
      '2027-01-15T08:00:00.123456Z',
      'spec.certificateRef.name: web-tls',
      'fe80:0000:0000:0000:0202:b3ff:fe1e:8329',
      'the certificate "CN=web" expires at 2027-03-01T00:00:00Z, too soon for another credential',
    ];
    for (const word of words) assert.equal(scrub(word), word);
  });

  test('gives the length of what it takes out, and changes nothing the second time', () => {
    const digest = createHash('sha256').update('x').digest('hex');
    assert.equal(scrub(`sha256 ${digest}.`), 'sha256 (64 characters).');
    fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => assert.equal(scrub(scrub(text)), scrub(text))));
  });

  test('takes out a short secret where a URI has one', () => {
    const word = fc.stringMatching(/^[A-Za-z0-9!$()*+,;:._~-]{1,30}$/);
    const places = fc.constantFrom(
      ['--ca-key=edge=pkcs11:object=b?module-path=/lib/a.so&pin-value=', ''],
      ['"pkcs11:object=b?Pin-Value=', '&module-path=/lib/a.so"'],
      ['https://', '@proxy:3128/path'],
      ['failed to reach http://', '@[::1], trying again'],
    );
    fc.assert(
      fc.property(word, places, (secret, [before, after]) => {
        const text = scrub(`${before}${secret}${after}`);
        assert.equal(text, `${before}(${secret.length} characters)${after}`);
        assert.equal(scrub(text), text);
      }),
    );
  });

  test('takes out random bytes in any encoding', () => {
    const encodings = fc.constantFrom('base64' as const, 'base64url' as const, 'hex' as const);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 96 }), encodings, (bytes, encoding) => {
        // Bytes that are not random, such as zeros, are no key.
        fc.pre(new Set(bytes).size > 16);
        const text = Buffer.from(bytes).toString(encoding);
        assert.ok(!scrub(`x ${text} y`).includes(text.slice(0, PIECE)));
      }),
    );
  });
});
