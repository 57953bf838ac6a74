import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LeafFiles } from '../../testing/support/certificates.ts';
import { leaf } from '../../testing/support/openssl.ts';
import { eventually } from '../../testing/support/processes.ts';
import { sha256Of } from './issued.ts';
import { scenario, servedNamespace } from './scenario.ts';
import { assertServes } from './verification.ts';

const running = scenario();
const SECOND = 1000;
const HOUR = 3_600 * SECOND;
const DAY = 24 * HOUR;

interface WrongCertificate {
  readonly what: string;
  readonly files: () => Promise<Partial<LeafFiles> | undefined>;
  readonly reason: string;
  readonly message: RegExp;
}

const soon = (from: number, to: number) => ({
  notBefore: new Date(Date.now() + from),
  notAfter: new Date(Date.now() + to),
});

const WRONG: readonly WrongCertificate[] = [
  {
    what: 'no Secret at all',
    files: async () => undefined,
    reason: 'CertificateNotFound',
    message: /Secret "web-tls" with tls\.crt .* does not exist.*kubectl create secret tls web-tls/,
  },
  {
    what: 'no key in the Secret',
    files: async () => ({ certificatePem: (await running().authority.issue()).certificatePem }),
    reason: 'CertificateInvalid',
    message: /has no tls\.key/,
  },
  {
    what: 'the key of another certificate',
    files: async () => ({
      certificatePem: (await running().authority.issue()).certificatePem,
      keyPem: (await running().authority.issue()).keyPem,
    }),
    reason: 'CertificateInvalid',
    message: /the private key does not belong to the certificate/,
  },
  {
    what: 'garbage',
    files: async () => ({ certificatePem: 'garbage', keyPem: 'garbage' }),
    reason: 'CertificateInvalid',
    message: /expected PEM|no certificate/,
  },
  {
    what: 'no DelegationUsage',
    files: () => running().authority.issue({ delegationUsage: false }),
    reason: 'CertificateCannotDelegate',
    message: /1\.3\.6\.1\.4\.1\.44363\.44.*ask its CA/,
  },
  {
    what: 'no digitalSignature',
    files: async () => leaf({ keyUsage: 'critical,keyAgreement' }),
    reason: 'CertificateCannotDelegate',
    message: /lacks keyUsage digitalSignature/,
  },
  {
    what: 'RSA',
    files: async () => leaf({ key: 'RSA' }),
    reason: 'CertificateKeyUnsupported',
    message: /Firefox.*P-256/,
  },
  {
    what: 'Ed25519',
    files: async () => leaf({ key: 'Ed25519' }),
    reason: 'CertificateKeyUnsupported',
    message: /Firefox/,
  },
  {
    what: 'expired',
    files: () => running().authority.issue(soon(-10 * DAY, -DAY)),
    reason: 'CertificateInvalid',
    message: /expired.*(renew|replace)/i,
  },
  {
    what: 'not yet valid',
    files: () => running().authority.issue(soon(DAY, 10 * DAY)),
    reason: 'CertificateInvalid',
    message: /not (yet )?valid/,
  },
  {
    what: 'about to expire',
    files: () => running().authority.issue(soon(-DAY, 45 * SECOND)),
    reason: 'CertificateInvalid',
    message: /expires at .*too soon.*renew the certificate/,
  },
];

test('a wrong certificate gets its own reason and what to do, and other resources are still served', async (t) => {
  const { cluster } = running();
  const good = await servedNamespace(running());
  for (const [index, { what, files, reason, message }] of WRONG.entries()) {
    await t.test(what, async () => {
      const namespace = await cluster.namespace();
      const spec = { certificateRef: { name: 'web-tls' }, podSelector: { matchLabels: { app: 'web' } } };
      await cluster.createResource(namespace, 'web', spec);
      await cluster.createPod(namespace, 'web-a');
      // Last: one is about to expire.
      const wrong = await files();
      if (wrong !== undefined) await cluster.putCertificate(namespace, 'web-tls', wrong);
      const ready = await cluster.untilReason(namespace, 'web', reason);
      assert.equal(ready.status, 'False');
      assert.match(ready.message, message);
      assert.equal((await cluster.secrets(namespace)).length, 0);
      await eventually('an Event on the resource', async () =>
        (await cluster.events(namespace)).find((event) => event.reason === reason && event.regarding?.name === 'web'),
      );
      await cluster.createPod(good, `web-${index}`);
      await cluster.untilSecrets(good, index + 1);

      // Once it is fixed, it works.
      await cluster.putCertificate(namespace, 'web-tls', await running().authority.issue());
      await cluster.untilReason(namespace, 'web', 'Issued');
    });
  }
});

test('a certificate of another namespace that has not granted it is refused', async () => {
  const { cluster } = running();
  const owner = await servedNamespace(running());
  const namespace = await cluster.namespace();
  await cluster.createResource(namespace, 'web', {
    certificateRef: { name: 'web-tls', namespace: owner },
    podSelector: { matchLabels: { app: 'web' } },
  });
  await cluster.createPod(namespace, 'web-a');
  const ready = await cluster.untilReason(namespace, 'web', 'CertificateNotPermitted');
  assert.match(ready.message, /put the certificate into a Secret of this namespace/);
  assert.equal((await cluster.secrets(namespace)).length, 0);
});

test('a new leaf voids every credential: all are re-issued from it', async () => {
  const { authority, cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.createPods(namespace, 20);
  await cluster.untilSecrets(namespace, 20);
  await cluster.untilReason(namespace, 'web', 'Issued');
  const before = (await cluster.resource(namespace, 'web')).status?.certificate?.sha256;
  assert.ok(before !== undefined);
  await cluster.putCertificate(namespace, 'web-tls', await authority.issue());
  const secrets = await eventually('every Secret to stand on the new leaf', async () => {
    const all = await cluster.secrets(namespace);
    return all.every(({ metadata }) => metadata.annotations?.['dcred.dev/certificate-sha256'] !== before)
      ? all
      : undefined;
  });
  for (const secret of secrets) assertServes(secret);
  assert.equal(secrets.length, 20);
  await cluster.untilStatus(namespace, 'web', 'the new leaf', ({ certificate }) => certificate?.sha256 !== before);
  await cluster.untilReason(namespace, 'web', 'Issued');
});

test('losing the certificate leaves what was issued alone, and is reported', async () => {
  const { cluster } = running();
  const namespace = await servedNamespace(running());
  await cluster.createPod(namespace, 'web-a');
  const [before] = await cluster.untilSecrets(namespace, 1);
  await cluster.plane.kubectl(['delete', 'secret', 'web-tls', '-n', namespace]);
  await cluster.untilReason(namespace, 'web', 'CertificateNotFound');
  const [still] = await cluster.secrets(namespace);
  assert.equal(still?.metadata.resourceVersion, before?.metadata.resourceVersion);
  await cluster.untilPods(namespace, 'web', { selected: 1, issued: 1, failed: 0 });
});

test('a certificate that expires within the lifetime shortens the credential, stops its renewal, and the condition says so', async () => {
  const { authority, cluster, operator } = running();
  const namespace = await cluster.namespace();
  const notAfter = new Date(Math.floor(Date.now() / SECOND) * SECOND + HOUR);
  await cluster.putCertificate(namespace, 'web-tls', await authority.issue({ notAfter }));
  await cluster.createResource(namespace, 'web', {
    certificateRef: { name: 'web-tls' },
    podSelector: { matchLabels: { app: 'web' } },
  });
  await cluster.createPod(namespace, 'web-a');
  const [secret] = await cluster.untilSecrets(namespace, 1);
  assert.ok(secret !== undefined);
  assert.equal(assertServes(secret).expiresAt, notAfter.getTime() / SECOND - 1);
  const ready = await cluster.untilReason(namespace, 'web', 'Issued');
  assert.match(ready.message, /the certificate expires at .* renew the certificate$/);
  assert.equal(await operator.metric('dcred_credentials_issued_total{reason="RenewalDue"}'), 0);
});

test('P-384 and P-521 leaves delegate too', async () => {
  const { authority, cluster } = running();
  for (const curve of ['P-384', 'P-521'] as const) {
    const namespace = await servedNamespace(running());
    const files = await authority.issue({ curve });
    await cluster.putCertificate(namespace, 'web-tls', files);
    await cluster.createPod(namespace, 'web-a');
    const secret = await eventually(`a credential of the ${curve} leaf`, async () => {
      const [found] = await cluster.secrets(namespace);
      return found?.metadata.annotations?.['dcred.dev/certificate-sha256'] === sha256Of(files) ? found : undefined;
    });
    assertServes(secret);
    await cluster.untilStatus(namespace, 'web', 'the leaf', (status) => status.certificate?.sha256 === sha256Of(files));
    await cluster.untilReason(namespace, 'web', 'Issued');
  }
});
