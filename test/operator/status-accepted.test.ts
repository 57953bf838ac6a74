/** Whatever a certificate, a signer or the API server says: the status made from it is small, and the API server accepts it. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { DELEGATED_CREDENTIALS } from '../../src/api/resource-types.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import type { KubernetesObject } from '../../src/kubernetes/objects.ts';
import { SECRETS } from '../../src/kubernetes/resource-type.ts';
import { type CertificateState, readCertificateSecret, refused } from '../../src/operator/core/certificate-state.ts';
import { resourceStatus, unreadableStatus } from '../../src/operator/core/status.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { delegation, specOf } from '../../testing/support/builders.ts';
import { leaf } from '../../testing/support/openssl.ts';
import { operatorsClient } from './cluster.ts';

const CRD = join(import.meta.dirname, '..', '..', 'crds', 'dcred.dev_delegatedcredentials.yaml');
const MAX_STATUS_LENGTH = 24_576;
const signal = new AbortController().signal;
const NOW = 1_800_000_000;
const NO_PODS = {
  selected: 0,
  issued: 0,
  failed: 0,
  failures: [],
  notInjected: 0,
  earliestExpiry: undefined,
  renewalDeadline: undefined,
  nextRenewal: undefined,
};

const nasty = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc
    .constantFrom('\u0000', '\u0085', '\u001b[31m', '\u202e', '\u200b', '\ud800', '\n', '"', '\u{1f512}', 'x')
    .chain((one) => fc.constantFrom(1, 100, 40_000).map((count) => one.repeat(count))),
);
const good = delegation();
const certificate = fc
  .record({
    subject: nasty,
    dnsNames: fc.oneof(
      fc.array(nasty, { maxLength: 10 }),
      fc.constant(Array.from({ length: 30_000 }, () => 'a.example')),
    ),
    dnsNamesOmitted: fc.nat(100_000),
    notAfter: fc.integer({ min: NOW, max: NOW + 200_000 }),
  })
  .map(
    (parts): CertificateState => ({
      kind: 'usable',
      certificate: { ...good.certificate, ...parts },
      signer: good.signer,
    }),
  );
const state = fc.oneof(
  certificate,
  nasty.map((message) => refused('CertificateInvalid', message)),
  nasty.map((message): CertificateState => ({ kind: 'pending', message })),
);
const pods = fc.record({
  selected: fc.nat(100_000),
  issued: fc.nat(100_000),
  failed: fc.nat(100_000),
  failures: fc.array(fc.record({ pod: nasty, message: nasty }), { maxLength: 10 }),
  notInjected: fc.nat(10),
  earliestExpiry: fc.option(fc.integer({ min: 0, max: 4_000_000_000 }), { nil: undefined }),
  renewalDeadline: fc.constant(undefined),
  nextRenewal: fc.option(fc.integer({ min: 0, max: 4_000_000_000 }), { nil: undefined }),
});

describe('with a real API server, the status', () => {
  let plane: ControlPlane;
  let client: ApiClient;

  before(async () => {
    plane = await startControlPlane();
    await plane.kubectl(['apply', '--server-side', '-f', CRD]);
    await plane.untilServed('delegatedcredentials.dcred.dev');
    client = await operatorsClient(plane);
    const resource = { metadata: { namespace: 'default', name: 'web' }, spec: specOf() };
    await client.create(DELEGATED_CREDENTIALS, resource, { signal });
  });
  after(async () => {
    await client?.close();
    await plane?.stop();
  });

  async function accepted(status: ReturnType<typeof resourceStatus>): Promise<void> {
    const applied = { metadata: { namespace: 'default', name: 'web' }, status };
    const options = { signal, subresource: 'status', force: true };
    const written = await client.apply<KubernetesObject<{ status: unknown }>>(DELEGATED_CREDENTIALS, applied, options);
    assert.deepEqual(written.status, JSON.parse(JSON.stringify(status)), 'nothing of it is dropped or changed');
    assert.ok(JSON.stringify(status).length <= MAX_STATUS_LENGTH, `${JSON.stringify(status).length} characters`);
  }

  test('of any certificate and any pods is accepted', async () => {
    await fc.assert(
      fc.asyncProperty(state, pods, fc.boolean(), async (some, tally, selects) => {
        const spec = specOf(selects ? { podSelector: {} } : {});
        await accepted(resourceStatus({ spec, generation: 1, previous: {}, certificate: some, pods: tally, now: NOW }));
      }),
      { numRuns: 150 },
    );
  });

  test('of any spec that cannot be read is accepted', async () => {
    await fc.assert(
      fc.asyncProperty(nasty, async (problem) => accepted(unreadableStatus(problem, 1, {}, NOW))),
      { numRuns: 30 },
    );
  });

  const MADE: Readonly<Record<string, () => Parameters<typeof leaf>[0]>> = {
    'a subject of 60 characters with an escape': () => ({ subject: `/CN=${'a'.repeat(50)}\u001b[31m` }),
    'a C1 control in the subject': () => ({ subject: '/CN=web\u0085example' }),
    'a subject that is turned round': () => ({ subject: '/CN=web\u202eexample' }),
    'a subject of many parts': () => ({
      subject: Array.from({ length: 600 }, (_, n) => `/OU=unit ${n} of many`).join(''),
    }),
  };
  for (const [what, options] of Object.entries(MADE)) {
    test(`of a real certificate with ${what} is accepted`, async () => {
      const { certificatePem, keyPem } = leaf(options());
      const data = { 'tls.crt': certificatePem, 'tls.key': keyPem };
      const encoded = Object.fromEntries(
        Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')]),
      );
      const secret = {
        metadata: { namespace: 'default', name: `made-${randomUUID()}` },
        type: 'Opaque',
        data: encoded,
      };
      await client.create(SECRETS, secret, { signal });
      const read = await readCertificateSecret(secret, 'web-tls', signal);
      assert.equal(read.kind, 'usable');
      await accepted(
        resourceStatus({ spec: specOf(), generation: 1, previous: {}, certificate: read, pods: NO_PODS, now: NOW }),
      );
    });
  }
});

test('DNS names beyond the first are counted', () => {
  const dnsNames = Array.from({ length: 100 }, (_, index) => `w${index}.example`);
  const usable: CertificateState = {
    kind: 'usable',
    certificate: { ...good.certificate, dnsNames, dnsNamesOmitted: 29_900 },
    signer: good.signer,
  };
  const { certificate: shown } = resourceStatus({
    spec: specOf(),
    generation: 1,
    previous: {},
    certificate: usable,
    pods: NO_PODS,
    now: NOW,
  });
  assert.deepEqual([shown?.dnsNames?.length, shown?.dnsNamesOmitted], [32, 29_968]);
});
