import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { statusSchema } from '../../src/api/delegated-credential.ts';
import { claimFields } from '../../src/issued-secret/field-ownership.ts';
import {
  dataKeys,
  MAX_KEPT_EXTRAS,
  podKeyOf,
  readIssuedSecret,
  readWholeIssuedSecret,
} from '../../src/issued-secret/issued-secret.ts';
import type { KubernetesObject, ObjectMeta } from '../../src/kubernetes/objects.ts';
import { formatRfc3339 } from '../../src/text/rfc3339.ts';
import { issuedSecret } from '../../testing/support/builders.ts';

const OWNER = { apiVersion: 'v1', kind: 'Pod', name: 'web-0', uid: 'u1' };
const LABELS = { 'app.kubernetes.io/managed-by': 'dcred', 'dcred.dev/delegated-credential': 'web' };
const ANNOTATIONS = {
  'dcred.dev/pod-name': 'web-0',
  'dcred.dev/pod-uid': 'u1',
  'dcred.dev/issued-at': '2027-01-15T08:00:00Z',
  'dcred.dev/expires-at': '2027-01-17T08:00:00Z',
  'dcred.dev/renew-at': '2027-01-16T08:00:00Z',
  'dcred.dev/certificate-sha256': 'ab'.repeat(32),
  'dcred.dev/usage': 'Client',
  'dcred.dev/key-algorithm': 'Ed25519',
};

function secret(metadata: Partial<ObjectMeta> = {}): KubernetesObject {
  return {
    metadata: {
      name: 'web-web-0',
      namespace: 'edge',
      uid: 's1',
      resourceVersion: '9',
      labels: LABELS,
      annotations: ANNOTATIONS,
      ownerReferences: [OWNER],
      ...metadata,
    },
  };
}

describe("a Secret is dcred's", () => {
  test("with dcred's labels and a pod as its owner", () => {
    assert.deepEqual(readIssuedSecret(secret()), {
      namespace: 'edge',
      name: 'web-web-0',
      uid: 's1',
      resourceVersion: '9',
      resourceName: 'web',
      podName: 'web-0',
      podUid: 'u1',
      facts: {
        issuedAt: Date.UTC(2027, 0, 15, 8) / 1000,
        expiresAt: Date.UTC(2027, 0, 17, 8) / 1000,
        renewAt: Date.UTC(2027, 0, 16, 8) / 1000,
        certificateSha256: 'ab'.repeat(32),
        chainSha256: undefined,
        credentialSha256: undefined,
        usage: 'Client',
        keyAlgorithm: 'Ed25519',
      },
      intact: true,
      template: { labels: {}, annotations: {} },
      foreign: { labels: {}, annotations: {} },
    });
  });

  for (const [what, metadata] of Object.entries({
    'without labels': { labels: {} },
    'without annotations or owner': { annotations: {}, ownerReferences: [] },
    'managed by another': { labels: { ...LABELS, 'app.kubernetes.io/managed-by': 'Helm' } },
    'for no resource': { labels: { 'app.kubernetes.io/managed-by': 'dcred' } },
    'owned by nothing': { ownerReferences: [] },
    'owned by a Deployment': { ownerReferences: [{ ...OWNER, apiVersion: 'apps/v1', kind: 'Deployment' }] },
    "owned by another group's Pod": { ownerReferences: [{ ...OWNER, apiVersion: 'example.com/v1' }] },
  } satisfies Record<string, Partial<ObjectMeta>>)) {
    test(`and not one ${what}`, () => assert.equal(readIssuedSecret(secret(metadata)), undefined));
  }

  test('and belongs to its pod also beside another owner', () => {
    const set = { apiVersion: 'apps/v1', kind: 'StatefulSet', name: 'web', uid: 'u9' };
    assert.equal(readIssuedSecret(secret({ ownerReferences: [set, OWNER] }))?.podUid, 'u1');
  });
});

describe('a Secret without complete annotations counts as changed', () => {
  for (const key of Object.keys(ANNOTATIONS).filter((one) => one !== 'dcred.dev/pod-name')) {
    test(`without ${key}`, () => {
      const annotations = Object.fromEntries(Object.entries(ANNOTATIONS).filter(([one]) => one !== key));
      assert.equal(readIssuedSecret(secret({ annotations }))?.intact, false);
    });
  }

  for (const [key, value] of [
    ['dcred.dev/expires-at', 'tomorrow'],
    ['dcred.dev/issued-at', ''],
    ['dcred.dev/usage', 'server'],
    ['dcred.dev/key-algorithm', 'RSA'],
    ['dcred.dev/pod-uid', 'u2'],
  ] as const) {
    test(`with ${key}="${value}"`, () => {
      const annotations = { ...ANNOTATIONS, [key]: value };
      assert.equal(readIssuedSecret(secret({ annotations }))?.intact, false);
    });
  }
});

describe('the times of a credential', () => {
  const keys = ['dcred.dev/issued-at', 'dcred.dev/expires-at', 'dcred.dev/renew-at'];
  const year = fc.constantFrom('0000', '1969', '1970', '2027', '9999', '+010000', '+275760', '-000001');
  const offset = fc.constantFrom('Z', '+00:00', '-23:59', '+23:59', '', ' GMT');
  const stamp = fc.tuple(year, fc.constantFrom('-01-01T00:00:00', '-12-31T23:59:59', '-02-30T00:00:00'), offset);
  const text = fc.oneof(
    stamp.map((parts) => parts.join('')),
    fc.constantFrom('1', '2027', 'Fri, 15 Jan 2027 08:00:00 GMT', '2027-01-15'),
  );

  test('are such as a status may hold, and in their order, whatever another client wrote', () => {
    fc.assert(
      fc.property(fc.tuple(text, text, text), (texts) => {
        const annotations = { ...ANNOTATIONS, ...Object.fromEntries(keys.map((key, index) => [key, texts[index]])) };
        const facts = readIssuedSecret(secret({ annotations }))?.facts;
        if (facts === undefined) return;
        assert.ok(facts.issuedAt < facts.expiresAt);
        for (const time of [facts.issuedAt, facts.expiresAt, facts.renewAt]) {
          assert.deepEqual(statusSchema.safeParse({ earliestExpiryTime: formatRfc3339(time) }).error, undefined);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test('count as changed where dcred writes no such time', () => {
    for (const time of ['Fri, 15 Jan 2027 08:00:00 GMT', '2027-01-15', '2027', '+010000-01-01T00:00:00Z']) {
      for (const key of keys) {
        assert.equal(readIssuedSecret(secret({ annotations: { ...ANNOTATIONS, [key]: time } }))?.intact, false, time);
      }
    }
  });
});

describe("the credential's hash", () => {
  const key = 'dcred.dev/credential-sha256';
  const annotations = { ...ANNOTATIONS, [key]: 'ab'.repeat(32) };
  const owned = (keys: readonly string[]) => [
    claimFields('dcred', { data: dataKeys('Ed25519'), labels: Object.keys(LABELS), annotations: keys, ownerUid: 'u1' }),
  ];

  test('is read, and may be absent: an older dcred wrote none', () => {
    assert.equal(readIssuedSecret(secret({ annotations }))?.facts?.credentialSha256, 'ab'.repeat(32));
    assert.equal(readIssuedSecret(secret({ managedFields: owned(Object.keys(ANNOTATIONS)) }))?.intact, true);
  });

  test('counts as changed where another client wrote it', () => {
    const intact = (keys: readonly string[]) =>
      readIssuedSecret(secret({ annotations, managedFields: owned(keys) }))?.intact;
    assert.equal(intact(Object.keys(annotations)), true);
    assert.equal(intact(Object.keys(ANNOTATIONS)), false);
  });
});

test("the annotation of kubectl apply is neither dcred's nor kept", () => {
  const annotations = { ...ANNOTATIONS, 'kubectl.kubernetes.io/last-applied-configuration': '{}', theirs: '1' };
  const read = readIssuedSecret(secret({ annotations, labels: { ...LABELS, theirs: '2' } }));
  assert.deepEqual(read?.foreign, { labels: { theirs: '2' }, annotations: { theirs: '1' } });
});

test('Secrets with nothing extra share one empty object', () => {
  assert.equal(readIssuedSecret(secret())?.foreign, readIssuedSecret(secret({ name: 'other' }))?.template);
});

test('only P-256 keys get a file for Fizz', () => {
  assert.ok(dataKeys('ECDSAP256').includes('fizz.pem'));
  assert.deepEqual(dataKeys('ECDSAP384'), ['tls.crt', 'dc.key', 'dc.bin', 'dc.hex', 'dc.pem']);
});

test('its key is that of its resource and pod, whatever it is called', () => {
  assert.equal(podKeyOf(issuedSecret({ name: 'anything' })), 'edge/web/web-0');
});

describe('of an issued Secret, whatever other clients write into its metadata', () => {
  const text = fc.oneof(
    fc.string({ maxLength: 300, unit: 'grapheme' }),
    fc.constantFrom('x', '\u202e', '2027-01-15T08:00:00Z').map((one) => one.repeat(5_000)),
  );
  const key = fc.oneof(
    fc.constantFrom(...Object.keys(ANNOTATIONS), ...Object.keys(LABELS)),
    fc.string({ minLength: 1 }),
  );
  const entries = fc.dictionary(key, text, { maxKeys: 60 });
  const owner = fc.record({
    apiVersion: fc.constant('v1'),
    kind: fc.constant('Pod'),
    name: fc.oneof(fc.constant('web-0'), text),
    uid: fc.oneof(fc.constant('u1'), text),
  });
  const fields = fc.array(fc.constantFrom('f:labels', 'f:annotations'), { maxLength: 2 });
  const managedFields = fc.array(
    fc.record({
      manager: fc.constantFrom('dcred', 'kubectl'),
      fieldsV1: fc.tuple(entries, fields).map(([owned, where]) => {
        const own = Object.fromEntries(Object.keys(owned).map((one) => [`f:${one}`, {}]));
        return { 'f:metadata': Object.fromEntries(where.map((one) => [one, own])) };
      }),
    }),
    { maxLength: 3 },
  );

  test('what is kept is bounded', () => {
    const metadata = fc.record({
      labels: entries.map((some) => ({ ...some, ...LABELS })),
      annotations: fc.tuple(entries, fc.boolean()).map(([some, good]) => (good ? { ...some, ...ANNOTATIONS } : some)),
      ownerReferences: fc.array(owner, { minLength: 1, maxLength: 5 }),
      finalizers: fc.array(text, { maxLength: 20 }),
      managedFields,
    });
    fc.assert(
      fc.property(metadata, (some) => {
        const kept = readIssuedSecret(secret(some as Partial<ObjectMeta>));
        if (kept === undefined) return;
        const extras = JSON.stringify([kept.template, kept.foreign, kept.finalizers ?? []]);
        // JSON's escapes and punctuation take more than the text itself.
        assert.ok(extras.length <= MAX_KEPT_EXTRAS * 8, `${extras.length} characters of extras`);
        const { finalizers: _, foreign: __, template: ___, ...rest } = kept;
        assert.ok(JSON.stringify(rest).length <= 1024, JSON.stringify(rest).slice(0, 2000));
      }),
      { numRuns: 300 },
    );
  });

  test('metadata that is too large to keep is omitted whole, and read again when it is needed', () => {
    const annotations = { ...ANNOTATIONS, note: 'x'.repeat(MAX_KEPT_EXTRAS) };
    const object = secret({ annotations, labels: { ...LABELS, team: 'edge' }, finalizers: ['example.com/keep'] });
    const kept = readIssuedSecret(object);
    assert.equal(kept?.extrasOmitted, true);
    assert.deepEqual([kept.foreign, kept.finalizers], [{ labels: {}, annotations: {} }, undefined]);
    const whole = readWholeIssuedSecret(object);
    assert.deepEqual(whole?.foreign, { labels: { team: 'edge' }, annotations: { note: annotations.note } });
    assert.deepEqual(whole.finalizers, ['example.com/keep']);
    assert.equal(whole.extrasOmitted, undefined);
  });
});
