/** The checker itself: it finds nothing in a good namespace, and names each kind of violation that is seeded. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { makeSecret } from '../../src/operator/pods/issuer.ts';
import { type Delegation, delegation, specOf } from '../../testing/support/builders.ts';
import type { ApiObject } from './admin.ts';
import {
  describe as describeViolations,
  fingerprint,
  mustAlwaysHold,
  type Observation,
  violations,
} from './checker.ts';

const NAMESPACE = 'edge';
/** Read once the leaves are made: they are not valid before. */
let now: number;

type Entries = Readonly<Record<string, string>>;

let delegations: readonly [Delegation, Delegation];
let good: Observation;

const pod = (name: string, labels: Entries = { app: 'web' }): ApiObject => ({
  metadata: { name, namespace: NAMESPACE, uid: `uid-of-${name}`, resourceVersion: '1', labels },
});

const encoded = (files: Entries): Entries =>
  Object.fromEntries(Object.entries(files).map(([name, text]) => [name, Buffer.from(text).toString('base64')]));

const certificateSecret = ({ chainPem, keyPem }: Delegation, name = 'web-tls'): ApiObject => ({
  metadata: { name, namespace: NAMESPACE, uid: `uid-of-${name}`, resourceVersion: '2' },
  data: encoded({ 'tls.crt': chainPem, 'tls.key': keyPem }),
});

async function issuedFor(name: string, { certificate, signer }: Delegation): Promise<ApiObject> {
  const request = {
    namespace: NAMESPACE,
    name: `web-${name}`,
    resourceName: 'web',
    pod: { name, uid: `uid-of-${name}` },
    spec: specOf({ lifetimeSeconds: 3600 }),
    certificate,
    signer,
    replaces: undefined,
    now,
  };
  const manifest = await makeSecret(request, generateCredentialKey, new AbortController().signal);
  const metadata = { name: `web-${name}`, uid: `uid-of-secret-${name}`, resourceVersion: '3', ...manifest.metadata };
  return { ...manifest, metadata } as ApiObject;
}

const resource = (issued: number): ApiObject => ({
  metadata: { name: 'web', namespace: NAMESPACE, uid: 'uid-of-resource', resourceVersion: '9', generation: 4 },
  spec: { certificateRef: { name: 'web-tls' }, podSelector: { matchLabels: { app: 'web' } } },
  status: {
    observedGeneration: 4,
    conditions: [{ type: 'Ready', status: 'True', reason: 'Issued' }],
    pods: { selected: issued, issued, failed: 0 },
  },
});

before(async () => {
  delegations = [delegation(), delegation()];
  now = Math.floor(Date.now() / 1000);
  const [first] = delegations;
  const stranger = certificateSecret(first, 'stranger');
  good = {
    namespace: NAMESPACE,
    pods: [pod('a'), pod('b'), pod('other', { app: 'other' })],
    secrets: [certificateSecret(first), stranger, await issuedFor('a', first), await issuedFor('b', first)],
    resources: [resource(2)],
    now,
    foreign: new Map([['stranger', fingerprint(stranger)]]),
  };
});

const found = (observation: Observation) => violations(observation).map(({ rule }) => rule);

/** The same, with one Secret changed. */
function withSecret(name: string, change: (secret: ApiObject) => ApiObject): Observation {
  const secrets = good.secrets.map((secret) => (secret.metadata.name === name ? change(secret) : secret));
  return { ...good, secrets };
}

/** The same, with pod `a` requesting another name than its Secret has. */
function askingFor(name: string): Observation {
  const annotations = { 'secret.dcred.dev/web': name };
  const renamed = (one: ApiObject) => ({ ...one, metadata: { ...one.metadata, annotations } });
  return { ...good, pods: good.pods.map((one) => (one.metadata.name === 'a' ? renamed(one) : one)) };
}

const withData = (secret: ApiObject, data: Entries): ApiObject => ({
  ...secret,
  data: { ...(secret['data'] as Entries), ...data },
});

const dataOf = (name: string): Entries => {
  const secret = good.secrets.find(({ metadata }) => metadata.name === name);
  return secret?.['data'] as Entries;
};

const flipped = (base64: string): string => {
  const bytes = Buffer.from(base64, 'base64');
  const last = bytes.length - 1;
  bytes[last] = (bytes[last] ?? 0) ^ 1;
  return bytes.toString('base64');
};

test('a namespace in which all is right has no violation', () => {
  assert.equal(describeViolations(violations(good)), '');
});

describe('each seeded violation is found', () => {
  const cases: readonly {
    readonly what: string;
    readonly rule: string;
    readonly seed: () => Observation | Promise<Observation>;
  }[] = [
    {
      what: 'a live pod without a Secret',
      rule: 'unserved',
      seed: () => ({ ...good, secrets: good.secrets.filter(({ metadata }) => metadata.name !== 'web-a') }),
    },
    {
      what: 'two Secrets of one pod',
      rule: 'several',
      seed: async () => {
        const second = await issuedFor('a', delegations[0]);
        const renamed = { ...second, metadata: { ...second.metadata, name: 'web-a-2' } };
        return { ...good, secrets: [...good.secrets, renamed] };
      },
    },
    {
      what: 'a Secret under another name than the pod requests',
      rule: 'unserved',
      seed: () => askingFor('chosen'),
    },
    {
      what: 'an expired credential',
      rule: 'invalid',
      seed: () => ({ ...good, now: now + 3601 }),
    },
    {
      what: 'a missing file',
      rule: 'invalid',
      seed: () =>
        withSecret('web-a', (secret) => {
          const { 'dc.hex': _, ...rest } = secret['data'] as Entries;
          return { ...secret, data: rest };
        }),
    },
    {
      what: 'the key of another pod',
      rule: 'invalid',
      seed: () => withSecret('web-a', (secret) => withData(secret, { 'dc.key': dataOf('web-b')['dc.key'] ?? '' })),
    },
    {
      what: 'the credential of another pod in one of the files',
      rule: 'invalid',
      seed: () => withSecret('web-a', (secret) => withData(secret, { 'dc.pem': dataOf('web-b')['dc.pem'] ?? '' })),
    },
    {
      what: "another pod's file for Fizz",
      rule: 'invalid',
      seed: () => withSecret('web-a', (secret) => withData(secret, { 'fizz.pem': dataOf('web-b')['fizz.pem'] ?? '' })),
    },
    {
      what: 'a signature with one bit changed',
      rule: 'invalid',
      seed: () =>
        withSecret('web-a', (secret) => withData(secret, { 'dc.bin': flipped(dataOf('web-a')['dc.bin'] ?? '') })),
    },
    {
      what: 'a leaf that did not sign the credential',
      rule: 'invalid',
      seed: () => withSecret('web-a', (secret) => withData(secret, encoded({ 'tls.crt': delegations[1].chainPem }))),
    },
    {
      what: 'a credential of the previous leaf',
      rule: 'other-leaf',
      seed: () => withSecret('web-tls', (secret) => withData(secret, encoded({ 'tls.crt': delegations[1].chainPem }))),
    },
    {
      what: 'a chain that is not the current one',
      rule: 'other-chain',
      seed: () =>
        withSecret('web-tls', (secret) =>
          withData(secret, encoded({ 'tls.crt': `${delegations[0].chainPem}\n${delegations[1].chainPem}` })),
        ),
    },
    {
      what: 'a renewal that is late',
      rule: 'overdue',
      seed: () => ({ ...good, now: now + 3000 }),
    },
    {
      what: 'a requested renewal that was not made',
      rule: 'overdue',
      seed: () => {
        const requested = { 'dcred.dev/renew-requested-at': new Date((now + 10) * 1000).toISOString() };
        const asked = resource(2);
        const resources = [{ ...asked, metadata: { ...asked.metadata, annotations: requested } }];
        return { ...good, resources, now: now + 20 };
      },
    },
    {
      what: 'an expiry that differs from its annotation',
      rule: 'untrue-annotation',
      seed: () =>
        withSecret('web-a', (secret) => {
          const annotations = { ...secret.metadata.annotations, 'dcred.dev/expires-at': '2030-01-01T00:00:00Z' };
          return { ...secret, metadata: { ...secret.metadata, annotations } };
        }),
    },
    {
      what: 'a Secret whose pod is gone',
      rule: 'orphan',
      seed: () => ({
        ...good,
        pods: good.pods.filter(({ metadata }) => metadata.name !== 'a'),
        resources: [resource(1)],
      }),
    },
    {
      what: 'a Secret whose pod was replaced by one of the same name',
      rule: 'orphan',
      seed: () => ({
        ...good,
        pods: good.pods.map((one) =>
          one.metadata.name === 'a' ? { ...one, metadata: { ...one.metadata, uid: 'another' } } : one,
        ),
      }),
    },
    {
      what: 'a Secret whose resource is gone',
      rule: 'orphan',
      seed: () => ({ ...good, resources: [] }),
    },
    {
      what: 'a Secret whose pod is not selected',
      rule: 'unselected',
      seed: () => ({
        ...good,
        pods: good.pods.map((one) => (one.metadata.name === 'a' ? pod('a', { app: 'other' }) : one)),
        resources: [resource(1)],
      }),
    },
    {
      what: 'a foreign Secret that was changed',
      rule: 'foreign-changed',
      seed: () =>
        withSecret('stranger', (secret) => ({ ...secret, metadata: { ...secret.metadata, resourceVersion: '77' } })),
    },
    {
      what: 'a foreign Secret that is gone',
      rule: 'foreign-changed',
      seed: () => ({ ...good, secrets: good.secrets.filter(({ metadata }) => metadata.name !== 'stranger') }),
    },
    {
      what: 'a status that counts wrongly',
      rule: 'status',
      seed: () => ({ ...good, resources: [resource(3)] }),
    },
    {
      what: 'a status that counts a pod whose new name is taken',
      rule: 'status',
      seed: () => askingFor('stranger'),
    },
    {
      what: 'a status that counts a pod whose new name is invalid',
      rule: 'status',
      seed: () => askingFor('Not_a_Name'),
    },
  ];

  for (const { rule, seed, what } of cases) {
    test(what, async () => {
      const seeded = await seed();
      assert.ok(found(seeded).includes(rule as never), `found only: ${describeViolations(violations(seeded))}`);
    });
  }
});

test('an invalid credential and a changed foreign Secret are wrong at any moment; the rest only once the operator had time to recover', () => {
  const at = (rule: 'invalid' | 'foreign-changed' | 'unserved' | 'other-leaf' | 'orphan') =>
    mustAlwaysHold({ rule, subject: '', detail: '' });
  assert.deepEqual(
    ['invalid', 'foreign-changed'].map((rule) => at(rule as 'invalid')),
    [true, true],
  );
  assert.deepEqual(
    ['unserved', 'other-leaf', 'orphan'].map((rule) => at(rule as 'orphan')),
    [false, false, false],
  );
});
