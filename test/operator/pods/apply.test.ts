import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { generateCredentialKey } from '../../../src/credential/credential-key.ts';
import type { Signer } from '../../../src/credential/signer.ts';
import { readIssuedSecret } from '../../../src/issued-secret/issued-secret.ts';
import { ApiError } from '../../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import type { KubernetesObject } from '../../../src/kubernetes/objects.ts';
import { type ResourceType, resourcePath } from '../../../src/kubernetes/resource-type.ts';
import type { Step } from '../../../src/operator/core/plan.ts';
import { GrantCheck } from '../../../src/operator/grants/grant-check.ts';
import { PodFailure, StaleCacheError } from '../../../src/operator/pod-failure.ts';
import { Applier, type Subject } from '../../../src/operator/pods/apply.ts';
import { makeSecret } from '../../../src/operator/pods/issuer.ts';
import {
  type Delegation,
  delegation,
  issuedSecret,
  podOf,
  resource,
  specOf,
} from '../../../testing/support/builders.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';
import { missing, notServed } from '../../../testing/support/not-found.ts';

const SIGNAL = new AbortController().signal;
const good = delegation();

interface Call {
  readonly verb: string;
  readonly name: string | undefined;
  readonly preconditions?: unknown;
}

type Verb = 'create' | 'list' | 'replace' | 'delete' | 'get' | 'strategicMergePatch';
type Answers = Partial<Readonly<Record<Verb, () => KubernetesObject | undefined>>>;

/** A fake API server: answers as given and records the calls. */
function fakeClient(answers: Answers): { readonly client: ApiClient; readonly calls: Call[] } {
  const calls: Call[] = [];
  const answer = (verb: keyof Answers, name: string | undefined, preconditions?: unknown) => {
    calls.push({ verb, name, ...(preconditions === undefined ? {} : { preconditions }) });
    return answers[verb]?.() ?? { metadata: { resourceVersion: '8' } };
  };
  const client = {
    create: async (_type: unknown, object: KubernetesObject) => answer('create', object.metadata.name),
    replace: async (_type: unknown, object: KubernetesObject) => answer('replace', object.metadata.name),
    get: async (type: ResourceType, ref: { namespace: string; name: string }) => {
      resourcePath(type, ref);
      return answer('get', ref.name);
    },
    list: async (_type: unknown, { fieldSelector }: { fieldSelector?: string }) => ({
      items: [answer('list', fieldSelector)],
    }),
    strategicMergePatch: async (_type: unknown, ref: { name: string }, patch: unknown) =>
      answer('strategicMergePatch', ref.name, patch),
    delete: async (_type: unknown, ref: { name: string }, options: { preconditions?: unknown }) =>
      answer('delete', ref.name, options.preconditions),
  };
  return { client: client as unknown as ApiClient, calls };
}

function applier(client: ApiClient): Applier {
  const grants = new GrantCheck(client, false);
  return new Applier({ client, generateKey: generateCredentialKey, clock: new FakeClock(Date.now()), grants });
}

function subject({ certificate, signer }: Pick<Delegation, 'certificate' | 'signer'> = good): Subject {
  return {
    key: { namespace: 'edge', resourceName: 'web', pod: 'web-0' },
    resource: resource(),
    pod: podOf(),
    certificate: { kind: 'usable', certificate, signer },
  };
}

const MISSING: Step = { kind: 'issue', reason: 'Missing', name: 'web-web-0' };
const DUE: Step = { kind: 'issue', reason: 'RenewalDue', name: 'web-web-0', replaces: issuedSecret() };

const gone = (): never => {
  throw missing();
};
const unserved = (): never => {
  throw notServed();
};

function refusal(reason: string, status: number, message = reason): () => never {
  return () => {
    throw new ApiError(message, { status, reason });
  };
}

describe('nothing is published that does not verify', () => {
  const signers: Readonly<Record<string, Signer['sign']>> = {
    'signs something else': async (_message, options) => await good.signer.sign(Buffer.from('something else'), options),
    'returns garbage': async () => Buffer.alloc(70, 1),
    'returns nothing': async () => new Uint8Array(),
    'fails with a text that must not be shown': async () => {
      throw new Error('the secret is hunter2');
    },
  };
  for (const [what, sign] of Object.entries(signers)) {
    test(`a signer that ${what}`, async () => {
      const { client, calls } = fakeClient({});
      const broken = subject({ certificate: good.certificate, signer: { scheme: good.signer.scheme, sign } });
      await assert.rejects(applier(client).apply(MISSING, broken, SIGNAL), (error) => {
        assert.ok(error instanceof PodFailure);
        assert.equal(error.code, 'IssueFailed');
        assert.doesNotMatch(error.message, /hunter2/);
        return true;
      });
      assert.deepEqual(calls, []);
    });
  }

  test('the signer of another certificate', async () => {
    const { client, calls } = fakeClient({});
    const mixed = subject({ certificate: good.certificate, signer: delegation().signer });
    await assert.rejects(applier(client).apply(MISSING, mixed, SIGNAL), { code: 'IssueFailed' });
    assert.deepEqual(calls, []);
  });
});

test('a new Secret is a POST, a re-issue a PUT; the result is what the caches must show', async () => {
  const { client, calls } = fakeClient({});
  for (const step of [MISSING, DUE]) {
    const applied = await applier(client).apply(step, subject(), SIGNAL);
    assert.ok(applied.kind === 'issued' && step.kind === 'issue');
    assert.deepEqual([applied.resourceVersion, applied.reason], ['8', step.reason]);
  }
  assert.deepEqual(
    calls.map(({ verb }) => verb),
    ['create', 'replace'],
  );
});

describe('a name that is taken', () => {
  const existing = (metadata: KubernetesObject['metadata']) =>
    fakeClient({ create: refusal('AlreadyExists', 409), get: () => ({ metadata }) });
  const ours = {
    name: 'web-web-0',
    namespace: 'edge',
    resourceVersion: '42',
    labels: { 'app.kubernetes.io/managed-by': 'dcred', 'dcred.dev/delegated-credential': 'web' },
    ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: 'web-0', uid: 'uid-of-web-0' }],
  };

  test("by the operator's own write: the caches are behind, and the key waits for that version", async () => {
    const { client } = existing(ours);
    await assert.rejects(applier(client).apply(MISSING, subject(), SIGNAL), (error) => {
      assert.ok(error instanceof StaleCacheError);
      assert.equal(error.resourceVersion, '42');
      return true;
    });
  });

  const strangers: Readonly<Record<string, KubernetesObject['metadata']>> = {
    "without dcred's labels": { ...ours, labels: {} },
    'without an owner': { ...ours, ownerReferences: [] },
    'of another resource': { ...ours, labels: { ...ours.labels, 'dcred.dev/delegated-credential': 'other' } },
    'of another pod': {
      ...ours,
      ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: 'web-1', uid: 'uid-of-web-1' }],
    },
  };
  for (const [what, metadata] of Object.entries(strangers)) {
    test(`by a Secret ${what}: it is left alone, and the pod fails`, async () => {
      const { client, calls } = existing(metadata);
      await assert.rejects(applier(client).apply(MISSING, subject(), SIGNAL), { code: 'SecretNameTaken' });
      assert.deepEqual(
        calls.map(({ verb }) => verb),
        ['create', 'get'],
      );
    });
  }

  describe('by a Secret that a backup tool restored without its owner', () => {
    const restored = {
      ...ours,
      uid: 'uid-of-restored',
      ownerReferences: [],
      annotations: { 'dcred.dev/pod-name': 'web-0', 'dcred.dev/pod-uid': 'uid-of-yesterday' },
    };
    /** The Secret, then the pod. */
    const world = (
      secret: KubernetesObject['metadata'],
      pod: () => KubernetesObject,
      listed = secret,
      onDelete: () => KubernetesObject | undefined = () => undefined,
    ) => {
      const gets = [() => ({ metadata: secret }), pod];
      const get = () => gets.shift()?.();
      const list = () => ({ metadata: listed });
      return fakeClient({ create: refusal('AlreadyExists', 409), get, list, delete: onDelete });
    };
    const successor = () => ({ metadata: { uid: 'uid-of-web-0' } });
    const alive = () => ({ metadata: { uid: 'uid-of-yesterday' } });
    const deleted = {
      verb: 'delete',
      name: 'web-web-0',
      preconditions: { uid: 'uid-of-restored', resourceVersion: '42' },
    };

    for (const [what, pod] of Object.entries({ gone, 'another one now': successor })) {
      test(`and whose pod is ${what}: exactly that one is deleted, and the key is planned again`, async () => {
        const { client, calls } = world(restored, pod);
        await assert.rejects(applier(client).apply(MISSING, subject(), SIGNAL), StaleCacheError);
        assert.deepEqual(calls.at(-1), deleted);
        assert.equal(calls[2]?.name, 'metadata.name=web-web-0,type=dcred.dev/delegated-credential');
      });
    }

    const kept: Readonly<Record<string, ReturnType<typeof world>>> = {
      'the pod exists': world(restored, alive),
      'it is of another type': world(restored, gone, { ...restored, uid: 'another' }),
      'it has changed since': world(restored, gone, { ...restored, resourceVersion: '43' }),
      'it has another owner': world(
        { ...restored, ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'n', uid: 'u' }] },
        gone,
      ),
      'it does not say for which pod': world({ ...restored, annotations: {} }, gone),
      'it names no pod that can exist': world(
        { ...restored, annotations: { ...restored.annotations, 'dcred.dev/pod-name': '../x' } },
        gone,
      ),
      'it has no label with a resource': world(
        { ...restored, labels: { 'app.kubernetes.io/managed-by': 'dcred' } },
        gone,
      ),
      'it is being deleted': world({ ...restored, deletionTimestamp: '2026-11-22T22:00:00Z' }, gone),
    };
    for (const [what, { calls, client }] of Object.entries(kept)) {
      test(`is left alone where ${what}`, async () => {
        await assert.rejects(applier(client).apply(MISSING, subject(), SIGNAL), { code: 'SecretNameTaken' });
        assert.ok(calls.every(({ verb }) => verb !== 'delete'));
      });
    }

    test("is still in the way after a proxy's page in the place of the answer to its deletion", async () => {
      const { calls, client } = world(restored, gone, restored, unserved);
      await assert.rejects(applier(client).apply(MISSING, subject(), SIGNAL), { name: 'ApiError', status: 404 });
      assert.deepEqual(calls.at(-1), deleted);
    });

    test('is left alone where the pod cannot be read', async () => {
      for (const answer of [refusal('Forbidden', 403), unserved]) {
        const { calls, client } = world(restored, answer);
        await assert.rejects(applier(client).apply(MISSING, subject(), SIGNAL));
        assert.ok(calls.every(({ verb }) => verb !== 'delete'));
      }
    });
  });

  test('and was deleted a moment later', async () => {
    const { client } = fakeClient({ create: refusal('AlreadyExists', 409), get: gone });
    await assert.rejects(applier(client).apply(MISSING, subject(), SIGNAL), StaleCacheError);
  });
});

describe('a re-issue that was planned on a stale cache', () => {
  test("by a proxy's page in the place of an answer, nothing is known to have changed: it is refused for now", async () => {
    const { client } = fakeClient({ replace: unserved });
    const refused = { code: 'SecretRefused', transient: true };
    await assert.rejects(applier(client).apply(DUE, subject(), SIGNAL), refused);
  });

  for (const [reason, replace] of Object.entries({ Conflict: refusal('Conflict', 409), NotFound: gone })) {
    test(`is refused by the API server with ${reason} and planned again`, async () => {
      const { client, calls } = fakeClient({ replace });
      await assert.rejects(applier(client).apply(DUE, subject(), SIGNAL), StaleCacheError);
      assert.equal(calls.length, 1);
    });
  }

  test('of an immutable Secret deletes exactly that one, so that a new one can be created', async () => {
    const { client, calls } = fakeClient({ replace: refusal('Invalid', 422, 'data: field is immutable when set') });
    await assert.rejects(applier(client).apply(DUE, subject(), SIGNAL), StaleCacheError);
    const { uid, resourceVersion } = issuedSecret();
    assert.deepEqual(calls[1], { verb: 'delete', name: 'web-web-0', preconditions: { uid, resourceVersion } });
  });

  test('that the API server refuses as invalid keeps the Secret that exists', async () => {
    const { client, calls } = fakeClient({ replace: refusal('Invalid', 422, 'metadata.annotations: Too long') });
    await assert.rejects(applier(client).apply(DUE, subject(), SIGNAL), { code: 'SecretRefused' });
    assert.equal(calls.length, 1);
  });
});

describe('a Secret that another client made immutable', () => {
  const immutable = refusal('Invalid', 422, 'data: field is immutable when `immutable` is set');

  test('and holds by finalizers is not deleted, and the first of them are named, however many there are', async () => {
    for (const count of [1, 5, 6, 10_000]) {
      const finalizers = Array.from({ length: count }, (_, index) => `example.com/${index}-${'x'.repeat(40)}`);
      const { client, calls } = fakeClient({ replace: immutable });
      const step: Step = { ...DUE, replaces: issuedSecret({ finalizers }) };
      await assert.rejects(applier(client).apply(step, subject(), SIGNAL), (error) => {
        assert.ok(error instanceof PodFailure && error.code === 'SecretRefused');
        assert.match(
          error.message,
          /has the finalizers example\.com\/0-x.*: remove them, and dcred replaces the Secret$/,
        );
        assert.ok(error.message.length < 1_000, `${error.message.length} characters`);
        return true;
      });
      assert.ok(calls.every(({ verb }) => verb !== 'delete'));
    }
  });
});

describe('a gate', () => {
  const lift = (answers: Answers) => {
    const { calls, client } = fakeClient(answers);
    return { calls, done: applier(client).apply({ kind: 'ungate' }, subject(), SIGNAL) };
  };

  test('is removed together with its annotation, from exactly that pod', async () => {
    const { calls, done } = lift({});
    assert.deepEqual(await done, { kind: 'ungated', podResourceVersion: '8' });
    const preconditions = {
      metadata: { uid: 'uid-of-web-0', annotations: { 'gate.dcred.dev/web': null } },
      spec: { schedulingGates: [{ $patch: 'delete', name: 'gate.dcred.dev/web' }] },
    };
    assert.deepEqual(calls, [{ verb: 'strategicMergePatch', name: 'web-0', preconditions }]);
  });

  for (const [reason, strategicMergePatch] of Object.entries({ NotFound: gone, Conflict: refusal('Conflict', 409) })) {
    test(`of a pod that is gone or replaced (${reason}): it is reconciled again`, async () => {
      await assert.rejects(lift({ strategicMergePatch }).done, StaleCacheError);
    });
  }

  test('that dcred has no permission to remove is a failure of the pod', async () => {
    const { done } = lift({ strategicMergePatch: refusal('Forbidden', 403, 'pods "web-0" is forbidden') });
    await assert.rejects(done, { code: 'GateNotLifted', message: /no permission to patch pods here .*is forbidden/ });
  });

  test('that dcred may remove in a moment, when the API server has read the roles, is retried', async () => {
    const message =
      'pods "web-0" is forbidden: User "system:serviceaccount:dcred:operator" cannot patch resource "pods"';
    const { done } = lift({ strategicMergePatch: refusal('Forbidden', 403, message) });
    await assert.rejects(done, { code: 'GateNotLifted', transient: true });
  });

  test('that cannot be removed now is retried', async () => {
    for (const strategicMergePatch of [refusal('InternalError', 500), unserved]) {
      const { done } = lift({ strategicMergePatch });
      await assert.rejects(done, { code: 'GateNotLifted', transient: true });
    }
  });
});

describe('nothing is deleted because a cache does not show something', () => {
  const podGone: Step = { kind: 'delete', reason: 'PodGone', secret: issuedSecret() };
  const pod = (uid: string, phase: string) => () => ({ metadata: { uid }, status: { phase } });

  test('a pod that still exists keeps its Secret', async () => {
    const { client, calls } = fakeClient({ get: pod('uid-of-web-0', 'Running') });
    await assert.rejects(applier(client).apply(podGone, subject(), SIGNAL), StaleCacheError);
    assert.deepEqual(
      calls.map(({ verb }) => verb),
      ['get'],
    );
  });

  test('a resource that still exists keeps its Secrets', async () => {
    const { client, calls } = fakeClient({});
    const step: Step = { kind: 'delete', reason: 'ResourceGone', secret: issuedSecret() };
    await assert.rejects(applier(client).apply(step, subject(), SIGNAL), StaleCacheError);
    assert.equal(calls.length, 1);
  });

  test('a kind that the API server does not serve at the moment may have the object all the same', async () => {
    const alive = pod('uid-of-web-0', 'Running');
    const answers = {
      PodGone: [unserved],
      ResourceGone: [unserved],
      NotSelected: [alive, unserved],
      GrantWithdrawn: [alive, unserved],
    } as const;
    for (const [reason, gets] of Object.entries(answers)) {
      const left = [...gets];
      const { client, calls } = fakeClient({ get: () => left.shift()?.() });
      const step = { kind: 'delete', reason: reason as keyof typeof answers, secret: issuedSecret() } as const;
      await assert.rejects(applier(client).apply(step, subject(), SIGNAL), StaleCacheError, reason);
      assert.deepEqual(
        calls.map(({ verb }) => verb),
        gets.map(() => 'get'),
        reason,
      );
    }
  });

  test('a Secret whose label names no resource goes, whatever a client has made of the label', async () => {
    for (const resourceName of ['', 'other', 'Other', 'a_b', '0.9', 'x'.repeat(63)]) {
      const { client, calls } = fakeClient({ get: gone });
      const step: Step = { kind: 'delete', reason: 'ResourceGone', secret: issuedSecret({ resourceName }) };
      const key = { namespace: 'edge', resourceName, pod: 'web-0' };
      await applier(client).apply(step, { ...subject(), key, resource: undefined }, SIGNAL);
      assert.equal(calls.at(-1)?.verb, 'delete', resourceName);
    }
  });

  const trulyGone: Readonly<Record<string, () => KubernetesObject | undefined>> = {
    'does not exist': gone,
    'was replaced under the same name': pod('another-uid', 'Running'),
    'has succeeded': pod('uid-of-web-0', 'Succeeded'),
    'has failed': pod('uid-of-web-0', 'Failed'),
  };
  for (const [what, get] of Object.entries(trulyGone)) {
    test(`a pod that ${what} loses its Secret, and only that one`, async () => {
      const { client, calls } = fakeClient({ get });
      await applier(client).apply(podGone, subject(), SIGNAL);
      const { uid, resourceVersion } = issuedSecret();
      assert.deepEqual(calls[1], { verb: 'delete', name: 'web-web-0', preconditions: { uid, resourceVersion } });
    });
  }

  test('a Secret that is gone already is fine; one that has changed is planned again', async () => {
    const goneAlready = fakeClient({ get: gone, delete: gone });
    await applier(goneAlready.client).apply(podGone, subject(), SIGNAL);
    const changed = fakeClient({ get: gone, delete: refusal('Conflict', 409) });
    await assert.rejects(applier(changed.client).apply(podGone, subject(), SIGNAL), StaleCacheError);
  });

  test("a Secret counts as deleted only by the API server's word: a proxy's page is a refusal that may pass", async () => {
    const { client } = fakeClient({ get: gone, delete: unserved });
    const refused = { code: 'SecretRefused', transient: true };
    await assert.rejects(applier(client).apply(podGone, subject(), SIGNAL), refused);
  });
});

describe("a Secret that another client may have written under dcred's name", () => {
  const spec = specOf();
  const request = {
    namespace: 'edge',
    name: 'web-web-0',
    resourceName: 'web',
    pod: podOf(),
    spec,
    certificate: good.certificate,
    signer: good.signer,
    replaces: undefined,
    now: Math.floor(Date.now() / 1000),
  };

  async function verify(change: Readonly<Record<string, string>>) {
    const manifest = await makeSecret(request, generateCredentialKey, SIGNAL);
    const object = { ...manifest, metadata: { ...manifest.metadata, uid: 'u', resourceVersion: '7' } };
    const current = readIssuedSecret(object);
    assert.ok(current !== undefined);
    const { client, calls } = fakeClient({ get: () => ({ ...object, data: { ...manifest.data, ...change } }) });
    const applied = await applier(client).apply({ kind: 'verify', secret: current }, subject(), SIGNAL);
    return { applied, verbs: calls.map(({ verb }) => verb) };
  }

  test('and holds what it should costs one read', async () => {
    const { applied, verbs } = await verify({});
    assert.deepEqual([applied.kind, verbs], ['verified', ['get']]);
  });

  for (const [what, change] of Object.entries({
    'another key': { 'dc.key': Buffer.from(good.keyPem).toString('base64') },
    'no key at all': { 'dc.key': 'AAAA' },
    'another credential in one of the formats': { 'dc.hex': 'AAAA' },
    'one more file': { 'extra.txt': 'AAAA' },
  })) {
    test(`and holds ${what} is issued again`, async () => {
      const { applied, verbs } = await verify(change);
      assert.ok(applied.kind === 'issued' && applied.reason === 'Modified');
      assert.deepEqual(verbs, ['get', 'replace']);
    });
  }
});
