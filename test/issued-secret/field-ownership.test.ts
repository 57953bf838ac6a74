import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { fieldOwnership } from '../../src/issued-secret/field-ownership.ts';
import { type IssuedSecret, readIssuedSecret } from '../../src/issued-secret/issued-secret.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import type { KubernetesObject, ManagedFieldsEntry } from '../../src/kubernetes/objects.ts';
import { SECRETS } from '../../src/kubernetes/resource-type.ts';
import { makeSecret } from '../../src/operator/pods/issuer.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import type { ToolOptions } from '../../testing/controlplane/options.ts';
import { type Delegation, delegation, specOf } from '../../testing/support/builders.ts';
import { createPod, operatorsClient } from '../operator/cluster.ts';

/** What another client does to the Secret of that name. */
type Edit = (name: string, kubectl: Kubectl) => Promise<unknown>;
type Kubectl = (words: string, options?: ToolOptions) => Promise<string>;

const merge =
  (patch: object): Edit =>
  (name, kubectl) =>
    kubectl(`patch secret ${name} --type=merge -p ${JSON.stringify(patch)}`);
const base64 = (text: string) => Buffer.from(text).toString('base64');

/** Edits after which a Secret is not as it was issued. */
const NOTICED: Readonly<Record<string, Edit>> = {
  'a key changed by kubectl patch': merge({ data: { 'dc.key': base64('another') } }),
  'a key changed to nothing': merge({ data: { 'dc.bin': '' } }),
  'a key removed': merge({ data: { 'dc.hex': null } }),
  'a key added': merge({ data: { extra: base64('theirs') } }),
  'all data removed': merge({ data: null }),
  'data written by stringData': merge({ stringData: { 'dc.pem': 'another' } }),
  'a key removed by a JSON patch': (name, kubectl) =>
    kubectl(`patch secret ${name} --type=json -p [{"op":"remove","path":"/data/tls.crt"}]`),
  'a key changed by kubectl edit': (name, kubectl) =>
    kubectl(`edit secret ${name}`, { env: { KUBE_EDITOR: `sed -i 's/^  dc.hex: .*/  dc.hex: QUJD/'` } }),
  'a key changed by kubectl apply': (name, kubectl) =>
    kubectl('apply -f -', { input: secretWith(name, { 'dc.bin': base64('another') }) }),
  'a key taken over by server-side apply': (name, kubectl) =>
    kubectl('apply --server-side --force-conflicts -f -', {
      input: secretWith(name, { 'tls.crt': base64('another') }),
    }),
  'a key added by server-side apply': (name, kubectl) =>
    kubectl('apply --server-side -f -', { input: secretWith(name, { extra: base64('theirs') }) }),
  'the whole Secret replaced': async (name, kubectl) => {
    const secret = JSON.parse(await kubectl(`get secret ${name} -o json`));
    secret.data['dc.key'] = base64('another');
    return await kubectl('replace -f -', { input: JSON.stringify(secret) });
  },
  'one of our annotations changed': (name, kubectl) =>
    kubectl(`annotate --overwrite secret ${name} dcred.dev/expires-at=2099-01-01T00:00:00Z`),
  'one of our annotations removed': (name, kubectl) => kubectl(`annotate secret ${name} dcred.dev/certificate-sha256-`),
  'all annotations removed': merge({ metadata: { annotations: null } }),
  'another pod named as the one it is for': (name, kubectl) =>
    kubectl(`annotate --overwrite secret ${name} dcred.dev/pod-uid=another`),
};

/** Edits that other clients may make, and that are kept. */
const TOLERATED: Readonly<Record<string, Edit>> = {
  'nothing at all': async () => {},
  'a foreign label': (name, kubectl) => kubectl(`label secret ${name} theirs=1`),
  'a foreign annotation': (name, kubectl) => kubectl(`annotate secret ${name} theirs=1`),
  'a foreign label that changes and goes': async (name, kubectl) => {
    await kubectl(`label secret ${name} theirs=1`);
    await kubectl(`label --overwrite secret ${name} theirs=2`);
    await kubectl(`label secret ${name} theirs-`);
  },
  'one of our annotations written again as it is': (name, kubectl) =>
    kubectl(`annotate --overwrite secret ${name} dcred.dev/usage=Server`),
  'a finalizer': merge({ metadata: { finalizers: ['example.com/wait'] } }),
  'managedFields wiped: ownership is then unknown': merge({ metadata: { managedFields: [{}] } }),
  'server-side apply of a label': (name, kubectl) =>
    kubectl('apply --server-side -f -', { input: secretWith(name, undefined, { theirs: '1' }) }),
  'server-side apply of the very data that is there': async (name, kubectl) => {
    const { data } = JSON.parse(await kubectl(`get secret ${name} -o json`));
    return await kubectl('apply --server-side -f -', { input: secretWith(name, data) });
  },
  'kubectl apply of the very data that is there': async (name, kubectl) => {
    const { data } = JSON.parse(await kubectl(`get secret ${name} -o json`));
    return await kubectl('apply -f -', { input: secretWith(name, data) });
  },
};

/** Edits after which dcred no longer owns the Secret: it leaves it alone, and reports that the name is taken. */
const DISOWNED: Readonly<Record<string, Edit>> = {
  "dcred's label removed": (name, kubectl) => kubectl(`label secret ${name} dcred.dev/delegated-credential-`),
  'another manager named': (name, kubectl) =>
    kubectl(`label --overwrite secret ${name} app.kubernetes.io/managed-by=Helm`),
  'its owner removed': merge({ metadata: { ownerReferences: null } }),
};

const copyOf: Edit = async (name, kubectl) => {
  const { metadata, ...copy } = JSON.parse(await kubectl(`get secret ${name} -o json`));
  const { annotations, labels, ownerReferences } = metadata;
  await kubectl(`delete secret ${name}`);
  await kubectl('create -f -', {
    input: JSON.stringify({ ...copy, metadata: { name, annotations, labels, ownerReferences } }),
  });
};

function secretWith(name: string, data?: object, labels?: object): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, ...(labels && { labels }) },
    ...(data && { data }),
    type: 'dcred.dev/delegated-credential',
  });
}

describe('on a real API server, an issued Secret', () => {
  const signal = new AbortController().signal;
  const spec = specOf({ secretTemplate: { labels: { team: 'edge' }, annotations: { 'example.com/note': 'ours' } } });
  let plane: ControlPlane;
  let client: ApiClient;
  let authority: Delegation;
  let count = 0;

  before(async () => {
    plane = await startControlPlane();
    client = await operatorsClient(plane);
    authority = delegation();
  });
  after(async () => {
    await client?.close();
    await plane?.stop();
  });

  const kubectl: Kubectl = async (words, options) => (await plane.kubectl(words.split(' '), options)).stdout;

  async function issue(pod: { name: string; uid: string }, replaces?: IssuedSecret): Promise<IssuedSecret> {
    const request = {
      namespace: 'default',
      name: `web-${pod.name}`,
      resourceName: 'web',
      pod,
      spec,
      certificate: authority.certificate,
      signer: authority.signer,
      replaces,
      now: Math.floor(Date.now() / 1000),
    };
    const manifest = await makeSecret(request, generateCredentialKey, signal);
    const options = { signal, metadataOnly: true };
    await (replaces === undefined
      ? client.create(SECRETS, manifest, options)
      : client.replace(SECRETS, manifest, options));
    const read = await look(request.name);
    assert.ok(read !== undefined);
    return read;
  }

  /** As the operator sees it: metadata only. */
  async function look(name: string): Promise<IssuedSecret | undefined> {
    const options = { signal, metadataOnly: true };
    return readIssuedSecret(await client.get<KubernetesObject>(SECRETS, { namespace: 'default', name }, options));
  }

  async function issued(): Promise<{ pod: { name: string; uid: string }; secret: IssuedSecret }> {
    count += 1;
    const pod = await createPod(client, `pod-${count}`);
    return { pod, secret: await issue(pod) };
  }

  async function edited(edit: Edit) {
    const { pod, secret } = await issued();
    await edit(secret.name, kubectl);
    return { pod, secret, now: await look(secret.name) };
  }

  test('is intact as it was written', async () => {
    const { pod, secret } = await issued();
    assert.ok(secret.intact);
    assert.deepEqual([secret.resourceName, secret.podName, secret.podUid], ['web', pod.name, pod.uid]);
    assert.deepEqual(secret.template, { labels: { team: 'edge' }, annotations: { 'example.com/note': 'ours' } });
    assert.deepEqual(secret.foreign, { labels: {}, annotations: {} });
    assert.equal(secret.facts?.certificateSha256, authority.certificate.sha256);
    assert.equal(secret.facts.expiresAt - secret.facts.issuedAt, spec.lifetimeSeconds);
  });

  for (const [what, edit] of Object.entries(NOTICED)) {
    test(`is not intact after ${what}, and intact again once re-issued`, async () => {
      const { pod, now } = await edited(edit);
      assert.equal(now?.intact, false);
      assert.ok((await issue(pod, now)).intact);
    });
  }

  for (const [what, edit] of Object.entries(TOLERATED)) {
    test(`stays intact through ${what}`, async () => {
      const { pod, now } = await edited(edit);
      assert.equal(now?.intact, true);
      assert.ok((await issue(pod, now)).intact);
    });
  }

  for (const [what, edit] of Object.entries(DISOWNED)) {
    test(`is not owned any more with ${what}`, async () => {
      assert.equal((await edited(edit)).now, undefined);
    });
  }

  test('re-created from a copy is intact once re-issued, even where nothing had changed', async () => {
    const { pod, now } = await edited(copyOf);
    assert.equal(now?.intact, false);
    const restored = await issue(pod, now);
    assert.ok(restored.intact);
    assert.deepEqual(restored.template, { labels: { team: 'edge' }, annotations: { 'example.com/note': 'ours' } });
    assert.deepEqual(restored.foreign, { labels: {}, annotations: {} });
  });

  test("keeps other clients' labels and annotations through every re-issue", async () => {
    const { pod, now } = await edited(async (name, run) => {
      await run(`label secret ${name} theirs=1`);
      await run(`annotate secret ${name} example.com/theirs=2`);
    });
    const theirs = { labels: { theirs: '1' }, annotations: { 'example.com/theirs': '2' } };
    assert.deepEqual(now?.foreign, theirs);
    const second = await issue(pod, now);
    const third = await issue(pod, second);
    assert.deepEqual(third.foreign, theirs);
    assert.ok(third.intact);
  });

  test('does not keep what kubectl apply has copied there, private key and all', async () => {
    const { pod, now } = await edited((name, run) =>
      run('apply -f -', { input: secretWith(name, { 'dc.key': base64('copied') }) }),
    );
    await issue(pod, now);
    const { stdout } = await plane.kubectl(['get', 'secret', `web-${pod.name}`, '-o', 'jsonpath={.metadata}']);
    assert.ok(!stdout.includes('last-applied'));
    assert.ok(!stdout.includes(base64('copied')));
  });

  test('distinguishes a template label that another client changed from our own', async () => {
    const { now } = await edited((name, run) => run(`label --overwrite secret ${name} team=shop`));
    assert.equal(now?.intact, true);
    assert.deepEqual(now.template.labels, {});
    assert.deepEqual(now.foreign.labels, { team: 'shop' });
  });

  test('is intact after the operator has moved its renewal and template by a patch', async () => {
    const { secret } = await issued();
    const { name, resourceVersion } = secret;
    const patch = {
      metadata: {
        resourceVersion,
        labels: { team: null, tier: 'front' },
        annotations: { 'dcred.dev/renew-at': '2027-01-15T08:00:00Z' },
      },
    };
    await client.mergePatch(SECRETS, { namespace: 'default', name }, patch, { signal });
    const now = await look(name);
    assert.equal(now?.intact, true);
    assert.deepEqual(now.template.labels, { tier: 'front' });
    assert.equal(now.facts?.renewAt, Date.UTC(2027, 0, 15, 8) / 1000);
  });

  test('with an Ed25519 key is intact without a file for Fizz', async () => {
    const pod = await createPod(client, 'ed25519');
    const manifest = await makeSecret(
      {
        namespace: 'default',
        name: 'web-ed25519',
        resourceName: 'web',
        pod,
        spec: specOf({ keyAlgorithm: 'Ed25519' }),
        certificate: authority.certificate,
        signer: authority.signer,
        replaces: undefined,
        now: Math.floor(Date.now() / 1000),
      },
      generateCredentialKey,
      signal,
    );
    await client.create(SECRETS, manifest, { signal });
    assert.equal((await look('web-ed25519'))?.intact, true);
  });
});

describe('ownership, without an API server', () => {
  const expected = { data: ['dc.key'], labels: ['l'], annotations: ['a'], ownerUid: 'u1' };
  const ours: ManagedFieldsEntry = {
    manager: 'dcred',
    operation: 'Update',
    fieldsV1: {
      'f:data': { '.': {}, 'f:dc.key': {} },
      'f:metadata': {
        'f:annotations': { '.': {}, 'f:a': {} },
        'f:labels': { '.': {}, 'f:l': {} },
        'f:ownerReferences': { '.': {}, 'k:{"uid":"u1"}': {} },
      },
    },
  };

  test('is assumed where the server records none', () => {
    for (const none of [undefined, []]) {
      const { annotations, intact, labels } = fieldOwnership(none, 'dcred', expected);
      assert.deepEqual([intact, [...labels], [...annotations]], [true, ['l'], ['a']]);
    }
  });

  test('may stand in several entries', () => {
    const { 'f:data': data, 'f:metadata': metadata } = ours.fieldsV1 as Record<string, unknown>;
    const entries = [
      { ...ours, fieldsV1: { 'f:data': data } },
      { ...ours, operation: 'Apply' as const, fieldsV1: { 'f:metadata': metadata } },
    ];
    assert.ok(fieldOwnership(entries, 'dcred', expected).intact);
  });

  test("by another manager is not dcred's", () => {
    assert.ok(fieldOwnership([ours], 'dcred', expected).intact);
    assert.ok(!fieldOwnership([{ ...ours, manager: 'dcred2' }], 'dcred', expected).intact);
  });

  test('of an owner with another uid does not count', () => {
    assert.ok(!fieldOwnership([ours], 'dcred', { ...expected, ownerUid: 'u2' }).intact);
  });

  for (const fieldsV1 of [undefined, null, 'text', 7, [], { 'f:data': null }, { 'f:data': 'x' }, { 'f:metadata': 3 }]) {
    test(`of a garbled record (${JSON.stringify(fieldsV1)}) is none, and no error`, () => {
      assert.ok(!fieldOwnership([{ ...ours, fieldsV1 }], 'dcred', expected).intact);
      assert.ok(fieldOwnership([ours, { manager: 'x', fieldsV1 }], 'dcred', expected).intact);
    });
  }
});
