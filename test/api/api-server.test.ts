import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { crdFiles } from '../../src/api/crd-yaml.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { tryRun } from '../../testing/support/processes.ts';

const CRDS = join(import.meta.dirname, '..', '..', 'crds');

let plane: ControlPlane;

before(async () => {
  plane = await startControlPlane();
  await plane.kubectl(['apply', '--server-side', '-f', CRDS]);
  await plane.untilServed('delegatedcredentials.dcred.dev');
});
after(() => plane?.stop());

function manifest(spec: object, name = 'web', metadata: object = {}): string {
  return JSON.stringify({
    apiVersion: 'dcred.dev/v1alpha1',
    kind: 'DelegatedCredential',
    metadata: { name, ...metadata },
    spec,
  });
}

const GOOD = { certificateRef: { name: 'web-tls' } };

async function refusal(input: string, ...args: readonly string[]): Promise<string> {
  const given = ['apply', '--dry-run=server', '-f', '-', ...args];
  const error = await plane.kubectl(given, { input }).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof Error, 'it was accepted');
  return error.message;
}

async function accepted(input: string): Promise<{ spec: Record<string, unknown> }> {
  return JSON.parse((await plane.kubectl(['apply', '--dry-run=server', '-o', 'json', '-f', '-'], { input })).stdout);
}

async function get(...args: readonly string[]): Promise<string> {
  return (await plane.kubectl(['get', ...args])).stdout;
}

interface Refused {
  readonly what: string;
  readonly spec: object;
  readonly name?: string;
  /** The message for the user, which says what to write instead. */
  readonly says: string;
}

const selector = (...matchExpressions: readonly object[]) => ({ ...GOOD, podSelector: { matchExpressions } });
const template = (part: object) => ({ ...GOOD, secretTemplate: part });

/** At least one object for every CEL rule. */
const REFUSED: readonly Refused[] = [
  { what: 'a name of 41 characters', spec: GOOD, name: 'n'.repeat(41), says: 'must have at most 40 characters' },
  { what: 'a name with a dot', spec: GOOD, name: 'web.example', says: 'must not contain "."' },
  {
    what: 'a certificate name that no Secret can have',
    spec: { certificateRef: { name: 'Web_TLS' } },
    says: 'must be the name of a Secret: lower-case letters, digits, "-" and ".", such as web-tls',
  },
  {
    what: 'an impossible namespace',
    spec: { certificateRef: { name: 'web-tls', namespace: 'edge.example' } },
    says: 'must be the name of a namespace: lower-case letters, digits and "-", such as edge',
  },
  {
    what: 'a lifetime of 59 s',
    spec: { ...GOOD, lifetimeSeconds: 59 },
    says: 'lifetimeSeconds must be from 60 to 601200',
  },
  {
    what: 'a lifetime of seven days',
    spec: { ...GOOD, lifetimeSeconds: 604_800 },
    says: 'lifetimeSeconds must be from 60 to 601200',
  },
  {
    what: 'a renewal 0 s before the end',
    spec: { ...GOOD, renewBeforeSeconds: 0 },
    says: 'renewBeforeSeconds must be at least 1; omit it to re-issue at half of the lifetime',
  },
  {
    what: 'a renewal as early as the issue',
    spec: { ...GOOD, lifetimeSeconds: 60, renewBeforeSeconds: 60 },
    says: 'renewBeforeSeconds must be less than lifetimeSeconds',
  },
  {
    what: 'a renewal earlier than the default lifetime allows',
    spec: { ...GOOD, renewBeforeSeconds: 172_800 },
    says: 'renewBeforeSeconds must be less than lifetimeSeconds',
  },
  {
    what: 'In without values',
    spec: selector({ key: 'app', operator: 'In' }),
    says: 'to require only that the label exists, use Exists',
  },
  {
    what: 'NotIn with an empty list',
    spec: selector({ key: 'app', operator: 'NotIn', values: [] }),
    says: 'In and NotIn need at least one entry in values',
  },
  {
    what: 'Exists with values',
    spec: selector({ key: 'app', operator: 'Exists', values: ['web'] }),
    says: 'to compare with values, use In or NotIn',
  },
  {
    what: 'DoesNotExist with values',
    spec: selector({ key: 'app', operator: 'DoesNotExist', values: ['web'] }),
    says: 'Exists and DoesNotExist take no values',
  },
  {
    what: 'In with a value that no label can have',
    spec: selector({ key: 'app', operator: 'In', values: ['a b'] }),
    says: 'every entry of values must be a label value',
  },
  {
    what: 'an expression on an invalid label key',
    spec: selector({ key: 'a key', operator: 'Exists' }),
    says: 'key must be a label key such as app or example.com/team',
  },
  {
    what: 'a selector on an invalid label key',
    spec: { ...GOOD, podSelector: { matchLabels: { '-app': 'web' } } },
    says: 'every key must be a qualified name such as "team" or "example.com/team"',
  },
  {
    what: 'a selector for an invalid label value',
    spec: { ...GOOD, podSelector: { matchLabels: { app: 'web server' } } },
    says: 'every label value must have at most 63 letters',
  },
  {
    what: 'an invalid template label',
    spec: template({ labels: { 'a b': 'x' } }),
    says: 'every key must be a qualified name',
  },
  {
    what: 'an invalid template label value',
    spec: template({ labels: { a: '-' } }),
    says: 'every label value must have',
  },
  {
    what: 'an invalid template annotation',
    spec: template({ annotations: { '/x': 'y' } }),
    says: 'every key must be a qualified name',
  },
  {
    what: 'a template that sets a label of dcred',
    spec: template({ labels: { 'dcred.dev/delegated-credential': 'x' } }),
    says: 'are set by dcred itself: remove them from secretTemplate',
  },
  {
    what: 'a template that sets managed-by',
    spec: template({ labels: { 'app.kubernetes.io/managed-by': 'me' } }),
    says: 'are set by dcred itself',
  },
  {
    what: 'a template that sets an annotation of dcred',
    spec: template({ annotations: { 'dcred.dev/expires-at': 'never' } }),
    says: 'are set by dcred itself',
  },
  {
    what: 'template annotations of 8,193 characters',
    spec: template({ annotations: { a: 'v'.repeat(4_096), b: 'v'.repeat(4_095) } }),
    says: 'all annotations together must have at most 8192 characters',
  },
  {
    what: 'a template key with an empty label in its prefix',
    spec: template({ labels: { 'a..b/team': 'x' } }),
    says: 'every key must be a qualified name',
  },
  // What the schema itself says, without CEL.
  { what: 'no certificate', spec: {}, says: 'spec.certificateRef: Required value' },
  {
    what: 'a certificate without a name',
    spec: { certificateRef: {} },
    says: 'spec.certificateRef.name: Required value',
  },
  { what: 'an unknown usage', spec: { ...GOOD, usage: 'Peer' }, says: 'supported values: "Server", "Client"' },
  { what: 'an unknown algorithm', spec: { ...GOOD, keyAlgorithm: 'RSA' }, says: '"ECDSAP256"' },
  { what: 'an unknown operator', spec: selector({ key: 'a', operator: 'Gt', values: ['1'] }), says: '"DoesNotExist"' },
  { what: 'a lifetime in words', spec: { ...GOOD, lifetimeSeconds: '2d' }, says: 'must be of type integer' },
  {
    what: 'a name without characters',
    spec: { certificateRef: { name: '' } },
    says: 'should be at least 1 chars long',
  },
];

describe('the API server refuses', () => {
  for (const { what, spec, name, says } of REFUSED) {
    test(`${what}, and says what to write`, async () => {
      const message = await refusal(manifest(spec, name));
      assert.ok(message.includes(says), message);
    });
  }

  test('a field that it does not know, where strict validation is requested', async () => {
    const message = await refusal(manifest({ ...GOOD, lifetime: 60 }), '--validate=strict');
    assert.match(message, /unknown field "spec\.lifetime"/);
  });

  test('at least one input by every rule of the schema', () => {
    const messages = JSON.stringify(customResourceDefinition()).matchAll(/"message":"((?:[^"\\]|\\.)*)"/g);
    const said = REFUSED.map(({ says }) => says);
    for (const [, message = ''] of messages) {
      const text: string = JSON.parse(`"${message}"`);
      assert.ok(
        said.some((one) => text.includes(one)),
        `no object is refused by: ${text}`,
      );
    }
  });
});

describe('the API server accepts', () => {
  test('the shortest resource, and fills in the defaults', async () => {
    const { spec } = await accepted(manifest(GOOD));
    assert.deepEqual(spec, {
      ...GOOD,
      usage: 'Server',
      keyAlgorithm: 'ECDSAP256',
      lifetimeSeconds: 172_800,
      suspend: false,
    });
  });

  test('the longest', async () => {
    const spec = {
      certificateRef: { name: `w.${'e'.repeat(251)}`, namespace: 'edge-1' },
      podSelector: {
        matchLabels: { app: 'web', [`${'d'.repeat(253)}/${'K'.repeat(63)}`]: 'v'.repeat(63), 'a.b/C_d': '' },
        matchExpressions: [
          { key: 'tier', operator: 'In', values: ['front', 'back'] },
          { key: 'tier', operator: 'NotIn', values: ['db'] },
          { key: 'app', operator: 'Exists' },
          { key: 'old', operator: 'DoesNotExist', values: [] },
        ],
      },
      usage: 'Client',
      keyAlgorithm: 'Ed25519',
      lifetimeSeconds: 601_200,
      renewBeforeSeconds: 601_199,
      secretTemplate: { labels: { team: 'edge' }, annotations: { 'example.com/note': 'any text, even "this"' } },
      suspend: true,
    };
    assert.deepEqual((await accepted(manifest(spec, 'n'.repeat(40)))).spec, spec);
  });

  test('the extremes of the schedule', async () => {
    for (const [lifetimeSeconds, renewBeforeSeconds] of [
      [60, 1],
      [60, 59],
      [601_200, 1],
    ]) {
      await accepted(manifest({ ...GOOD, lifetimeSeconds, renewBeforeSeconds }));
    }
  });

  test('an empty selector, which is not the same as none', async () => {
    assert.deepEqual((await accepted(manifest({ ...GOOD, podSelector: {} }))).spec['podSelector'], {});
  });

  test('a map of the maximum size', async () => {
    const labels = Object.fromEntries(Array.from({ length: 32 }, (_, n) => [`k${n}`, 'v'.repeat(63)]));
    const annotations = { one: 'v'.repeat(4_096), two: 'v'.repeat(4_090) };
    await accepted(manifest({ ...GOOD, secretTemplate: { labels, annotations } }));
  });
});

describe('kubectl', () => {
  before(async () => {
    for (const [name, certificate] of [
      ['one', 'x'],
      ['two', 'x'],
      ['three', 'y'],
    ] as const) {
      await plane.kubectl(['apply', '-f', '-'], { input: manifest({ certificateRef: { name: certificate } }, name) });
    }
  });

  test('knows the short name and the category', async () => {
    assert.match(await get('dcred', '-o', 'name'), /^delegatedcredential\.dcred\.dev\/one\n/);
    assert.match(await get('delegatedcredential', 'one', '-o', 'name'), /one/);
    await assert.rejects(get('dc'), { message: /doesn't have a resource type "dc"/ });
  });

  test('prints the columns, and more with -o wide', async () => {
    const header = async (...args: readonly string[]) => (await get('dcred', ...args)).split('\n')[0]?.split(/ {2,}/);
    const columns = ['NAME', 'READY', 'REASON', 'PODS', 'ISSUED', 'NEXT RENEWAL', 'AGE'];
    assert.deepEqual(await header(), columns);
    assert.deepEqual(await header('-o', 'wide'), [...columns, 'LEAF', 'LEAF EXPIRY', 'EARLIEST EXPIRY']);
  });

  test('selects by the name of the certificate', async () => {
    const names = await get('dcred', '--field-selector=spec.certificateRef.name=x', '-o', 'name');
    assert.deepEqual(
      names
        .trim()
        .split('\n')
        .map((line) => line.split('/')[1]),
      ['one', 'two'],
    );
  });

  test('explains every field', async () => {
    const { stdout } = await plane.kubectl(['explain', 'dcred.spec.lifetimeSeconds']);
    assert.match(stdout, /How long a credential is valid, in seconds/);
  });
});

describe('the status', () => {
  const status = {
    observedGeneration: 1,
    conditions: [
      { type: 'Ready', status: 'True', reason: 'Issued', message: 'x', lastTransitionTime: '2027-01-15T08:00:00Z' },
    ],
    certificate: { name: 'CN=web', subject: 'CN=web', notAfter: '2027-02-15T08:00:00Z' },
    pods: { selected: 3, issued: 2, failed: 0 },
    nextRenewalTime: '2027-01-16T08:00:00Z',
    earliestExpiryTime: '2027-01-17T08:00:00Z',
  };
  const patch = (name: string, body: object, ...args: readonly string[]) =>
    plane.kubectl(['patch', 'dcred', name, '--type=merge', '-p', JSON.stringify(body), ...args]);
  const read = async (name: string) => JSON.parse(await get('dcred', name, '-o', 'json'));

  before(() => plane.kubectl(['apply', '-f', '-'], { input: manifest(GOOD, 'status') }));

  test('is a subresource: a write does not change the generation', async () => {
    await patch('status', { status, spec: { suspend: true } }, '--subresource=status');
    const now = await read('status');
    assert.deepEqual(now.status, status);
    assert.equal(now.spec.suspend, false);
    assert.equal(now.metadata.generation, 1);
  });

  test('does not change by a write of the spec', async () => {
    await patch('status', { status: { observedGeneration: 9 }, spec: { suspend: true } });
    const now = await read('status');
    assert.equal(now.status.observedGeneration, 1);
    assert.equal(now.spec.suspend, true);
    assert.equal(now.metadata.generation, 2);
  });

  test('fills the columns', async () => {
    const [, row = ''] = (await get('dcred', 'status', '-o', 'wide')).split('\n');
    const cells = row.split(/ {2,}/);
    cells.splice(6, 1);
    assert.deepEqual(cells, [
      'status',
      'True',
      'Issued',
      '3',
      '2',
      '2027-01-16T08:00:00Z',
      'CN=web',
      '2027-02-15T08:00:00Z',
      '2027-01-17T08:00:00Z',
    ]);
  });

  test('has one condition per type', async () => {
    const conditions = [...status.conditions, ...status.conditions];
    await assert.rejects(patch('status', { status: { conditions } }, '--subresource=status'), {
      message: /Duplicate value/,
    });
  });

  test('satisfies kubectl wait once it is of the current generation', async () => {
    const { generation } = (await read('status')).metadata;
    await patch('status', { status: { observedGeneration: generation } }, '--subresource=status');
    await plane.kubectl(['wait', '--for=condition=Ready', 'dcred/status', '--timeout=4m']);
  });
});

test('what "dcred crd" prints is what the API server has', async () => {
  const main = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
  const { stdout, status } = await tryRun(process.execPath, [main, 'crd']);
  assert.equal(status, 0);
  const { stdout: difference } = await plane.kubectl(
    ['apply', '--server-side', '--dry-run=server', '-f', '-', '-o', 'jsonpath={.items[*].metadata.generation}'],
    { input: stdout },
  );
  assert.equal(
    difference,
    crdFiles()
      .map(() => '1')
      .join(' '),
    'applying them again changes none',
  );
});
