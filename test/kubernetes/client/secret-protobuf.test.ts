/** Secrets written as protobuf, against a real API server: it reads the same object from them as from JSON. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { isApiError } from '../../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import { encodeSecret } from '../../../src/kubernetes/client/secret-protobuf.ts';
import type { KubernetesObject, ObjectMeta } from '../../../src/kubernetes/objects.ts';
import { SECRETS } from '../../../src/kubernetes/resource-type.ts';
import { type ControlPlane, startControlPlane } from '../../../testing/controlplane/control-plane.ts';
import { clientFor, FakeApiServer, json, refusal } from '../clients.ts';

type Secret = KubernetesObject<{ readonly type?: string; readonly data?: Readonly<Record<string, string>> }>;

const signal = new AbortController().signal;
const TYPE = { apiVersion: 'v1', kind: 'Secret' };
const SECRET = { metadata: { namespace: 'default', name: 'web' }, type: 'Opaque', data: { key: 'dmFsdWU=' } };

const encoded = (object: object) => encodeSecret({ ...TYPE, ...(object as Secret) });

/** Adds an empty field, which means nothing, but which the encoder does not know: so the object is sent as JSON. */
function asJson<T extends object>(object: T): T & { readonly stringData: object } {
  const changed = { ...object, stringData: {} };
  assert.equal(encoded(changed), undefined);
  return changed;
}

describe('the server reads the same object', () => {
  let plane: ControlPlane;
  let client: ApiClient;
  before(async () => {
    plane = await startControlPlane();
    client = await clientFor(plane.kubeconfig);
  });
  after(async () => {
    await client?.close();
    await plane?.stop();
  });

  /** The outcome of a write, stored or refused, without what differs from one write to the next. */
  async function outcome(object: Secret): Promise<unknown> {
    try {
      const { metadata, ...rest } = await client.create<Secret>(SECRETS, object, { signal, dryRun: true });
      const { uid: _uid, creationTimestamp: _created, managedFields = [], ...meta } = metadata;
      const fields = managedFields.map(({ time: _time, ...entry }) => entry);
      return { ...rest, metadata: { ...meta, managedFields: fields } };
    } catch (error) {
      if (!isApiError(error)) throw error;
      // The message is left out: it lists problems in the order of Go's maps, which changes.
      return { status: error.status, reason: error.reason };
    }
  }

  const key = fc.stringMatching(/^([a-z]{1,9}\.[a-z]{1,3}\/)?[A-Za-z0-9]([-._A-Za-z0-9]{0,30}[A-Za-z0-9])?$/);
  const labelValue = fc.stringMatching(/^([A-Za-z0-9]([-._A-Za-z0-9]{0,30}[A-Za-z0-9])?)?$/);
  // Halves of surrogate pairs among them; and lengths whose own length takes one, two and three bytes.
  const anyText = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom('\u0000', 'a', 'ü', '漢', '\ud800', '\udc00', '😀', '"') }),
    fc.constantFrom(126, 127, 128, 129, 16_383, 16_384, 17_000).map((length) => 'x'.repeat(length)),
  );
  const bytes = fc
    .oneof(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ minLength: 16_000, maxLength: 17_000, size: 'max' }))
    .map((value) => Buffer.from(value).toString('base64'));
  const owner = fc.record(
    {
      apiVersion: fc.constantFrom('v1', 'apps/v1'),
      kind: fc.constantFrom('Pod', 'ReplicaSet'),
      name: anyText,
      uid: anyText,
      controller: fc.boolean(),
      blockOwnerDeletion: fc.boolean(),
    },
    { requiredKeys: ['apiVersion', 'kind', 'name', 'uid'] },
  );
  const metadata: fc.Arbitrary<ObjectMeta> = fc
    .record(
      {
        labels: fc.dictionary(key, labelValue, { maxKeys: 6 }),
        annotations: fc.dictionary(key, anyText, { maxKeys: 6 }),
        ownerReferences: fc.array(owner, { maxLength: 3 }),
        finalizers: fc.array(fc.constantFrom('example.com/hold', 'example.com/held', 'foregroundDeletion'), {
          maxLength: 3,
        }),
        resourceVersion: fc.constantFrom('', '', '7'),
        generateName: fc.constantFrom('', 'web-'),
      },
      { requiredKeys: [] },
    )
    .map((fields) => ({ namespace: 'default', name: 'web', ...fields }));
  const secret: fc.Arbitrary<Secret> = fc.record(
    {
      metadata,
      type: fc.oneof(fc.constantFrom('', 'Opaque', 'kubernetes.io/tls', 'dcred.dev/delegated-credential'), anyText),
      data: fc.dictionary(fc.stringMatching(/^[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,40}$/), bytes, { maxKeys: 5 }),
    },
    { requiredKeys: ['metadata'] },
  );

  test('whatever is in it, even where it is refused', async () => {
    await fc.assert(
      fc.asyncProperty(secret, async (object) => {
        assert.notEqual(encoded(object), undefined);
        assert.deepEqual(await outcome(object), await outcome(asJson(object)));
      }),
      { numRuns: 100 },
    );
  });

  test('a replacement keeps to the version that it names', async () => {
    const created = await client.create<Secret>(SECRETS, SECRET, { signal, metadataOnly: true });
    const { resourceVersion = '', uid = '' } = created.metadata;
    const next = {
      ...SECRET,
      metadata: { ...SECRET.metadata, uid, resourceVersion, finalizers: ['example.com/hold'] },
    };
    const emptied = { ...next, data: { key: '' } };
    assert.notEqual(encoded(emptied), undefined);
    const replaced = await client.replace<Secret>(SECRETS, emptied, { signal });
    assert.deepEqual(replaced.data, { key: '' });
    assert.deepEqual(replaced.metadata.finalizers, ['example.com/hold']);
    await assert.rejects(client.replace(SECRETS, next, { signal }), (error) => isApiError(error, 'Conflict'));
  });
});

describe('what protobuf cannot express whole is sent as JSON', () => {
  const cases: Readonly<Record<string, object>> = {
    'a field of a Secret that is not written': { ...SECRET, immutable: true },
    'a field of the metadata that is not written': { ...SECRET, metadata: { ...SECRET.metadata, managedFields: [] } },
    'a field of an owner that is not written': {
      ...SECRET,
      metadata: { ...SECRET.metadata, ownerReferences: [{ kind: 'Pod', other: 'x' }] },
    },
    'a value of another type': { ...SECRET, type: 7 },
    'null, which JSON has a meaning for': { ...SECRET, data: { key: null } },
    'data that is not base64': { ...SECRET, data: { key: 'dmFsdWU*' } },
    'base64 of the URL alphabet': { ...SECRET, data: { key: '_-_-' } },
    'base64 without its padding': { ...SECRET, data: { key: 'dmFsdWU' } },
    'base64 on two lines': { ...SECRET, data: { key: 'dmFs\ndWU=' } },
    'base64 with bits beyond its end': { ...SECRET, data: { key: 'dmFsdWV=' } },
  };
  for (const [name, object] of Object.entries(cases)) {
    test(name, () => assert.equal(encoded(object), undefined));
  }

  test('an object of any shape is encoded, or is not: nothing is thrown', () => {
    const shapes = { withNullPrototype: true, withBigInt: true, withDate: true, withMap: true };
    const metadata = fc.record(
      { labels: fc.anything(shapes), ownerReferences: fc.anything(shapes), finalizers: fc.anything(shapes) },
      { requiredKeys: [] },
    );
    const object = fc.record(
      { metadata: fc.oneof(metadata, fc.anything(shapes)), data: fc.anything(shapes), type: fc.anything(shapes) },
      { requiredKeys: [] },
    );
    fc.assert(fc.property(object, (one) => encoded(one) === undefined || encoded(one) instanceof Uint8Array));
  });
});

describe('a server that reads JSON only', () => {
  test('is sent JSON, from its first refusal on', async () => {
    const stored = { metadata: { name: 'web', namespace: 'default', resourceVersion: '5' } };
    await using server = await FakeApiServer.start(refusal(415, 'UnsupportedMediaType'), json(201, stored));
    const client = server.client();
    assert.deepEqual(await client.create(SECRETS, SECRET, { signal }), stored);
    assert.deepEqual(await client.replace(SECRETS, SECRET, { signal }), stored);
    assert.deepEqual(
      server.requests.map(({ method, headers }) => [method, headers['content-type']]),
      [
        ['POST', 'application/vnd.kubernetes.protobuf'],
        ['POST', 'application/json'],
        ['PUT', 'application/json'],
      ],
    );
    for (const { body } of server.requests.slice(1)) assert.deepEqual(JSON.parse(body), { ...TYPE, ...SECRET });
    await client.close();
  });
});
