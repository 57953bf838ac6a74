import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { certificateSecret, readSecret } from '../../../src/admission/serving/certificate-secret.ts';
import {
  type CertificateFiles,
  makeCertificate,
  readServingCertificate,
} from '../../../src/admission/serving/serving-certificate.ts';
import { mergeBundle, readBundle } from '../../../src/admission/serving/trust-bundle.ts';
import { trustedAuthorities, trusting } from '../../../src/admission/serving/webhook-configuration.ts';
import { createTestAuthority } from '../../../testing/support/certificates.ts';
import { tryRun } from '../../../testing/support/processes.ts';

const DAY_MS = 86_400_000;
const NOW = Date.UTC(2027, 0, 15);
const NAMES = ['dcred-webhook.dcred-system.svc', '127.0.0.1', '::1'];
const make = (now = NOW) => makeCertificate({ names: NAMES, now, lifetimeMs: 30 * DAY_MS });

describe('a serving certificate', () => {
  let files: CertificateFiles;
  let other: CertificateFiles;
  before(async () => {
    [files, other] = await Promise.all([make(), make()]);
  });

  test('is read back with its times: renewed when a third of its life is left', () => {
    const read = readServingCertificate(files, NAMES, NOW);
    assert.ok(typeof read !== 'string', 'the certificate is not usable');
    assert.equal(read.issuedAt, NOW);
    assert.equal(read.notAfter, NOW + 30 * DAY_MS);
    assert.equal(read.renewAt, NOW + 20 * DAY_MS);
  });

  test('is accepted by OpenSSL for a server of these names under this authority', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dcred-serving-'));
    try {
      for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
      for (const [host, status] of [
        ['dcred-webhook.dcred-system.svc', 0],
        ['example.org', 2],
      ] as const) {
        const args = ['verify', '-x509_strict', '-purpose', 'sslserver', '-attime', String(NOW / 1000)];
        args.push('-verify_hostname', host, '-CAfile', join(folder, 'ca.crt'), join(folder, 'tls.crt'));
        const result = await tryRun('openssl', args);
        assert.equal(result.status, status, result.stderr);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('has an authority that can sign no further authority, and whose key is nowhere', () => {
    const authority = new X509Certificate(files['ca.crt']);
    assert.ok(authority.ca);
    assert.deepEqual(Object.keys(files), ['ca.crt', 'tls.crt', 'tls.key']);
    assert.ok(!authority.checkPrivateKey(createPrivateKey(files['tls.key'])));
  });

  test('cannot be used, and the reason reveals nothing of the files, when', async (t) => {
    const garbage = `-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n`;
    const brokenChain = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
    for (const [what, changed, reason] of [
      ['a file is missing', { 'tls.key': '' }, 'it is incomplete'],
      ['the key is another one', { 'tls.key': other['tls.key'] }, 'its key does not match its certificate'],
      ['the authority is another one', { 'ca.crt': other['ca.crt'] }, 'it is not signed by its CA'],
      ['the key is garbage', { 'tls.key': garbage }, 'it cannot be parsed, or not be served'],
      ['the authority is no CA', { 'ca.crt': files['tls.crt'] }, 'its CA is not one that dcred made'],
      ['the chain is garbage', { 'tls.crt': files['tls.crt'] + brokenChain }, 'it cannot be parsed, or not be served'],
      ['the certificate is garbage', { 'tls.crt': 'secret' }, 'it cannot be parsed, or not be served'],
    ] as const) {
      await t.test(what, () => assert.equal(readServingCertificate({ ...files, ...changed }, NAMES, NOW), reason));
    }
    await t.test('it has expired', () =>
      assert.equal(readServingCertificate(files, NAMES, NOW + 31 * DAY_MS), 'it has expired'),
    );
    await t.test('the clock went back', () => {
      assert.equal(readServingCertificate(files, NAMES, NOW - DAY_MS), 'it is not yet valid');
    });
    await t.test('the Service has another name', () => {
      assert.equal(
        readServingCertificate(files, [...NAMES, 'other.svc'], NOW),
        'it does not cover the required DNS names',
      );
    });
  });

  test('in a Secret: read back; foreign when of another type; unusable when empty, as a chart may create it', () => {
    const secret = certificateSecret({ namespace: 'ns', name: 'cert' }, files, undefined);
    assert.equal(readSecret(secret, NAMES, NOW).kind, 'usable');
    assert.equal(readSecret({ ...secret, type: 'kubernetes.io/tls' }, NAMES, NOW).kind, 'foreign');
    assert.deepEqual(readSecret({ metadata: {}, type: secret.type }, NAMES, NOW), {
      kind: 'unusable',
      problem: 'it is incomplete',
    });
    assert.equal(readSecret(undefined, NAMES, NOW).kind, 'missing');
  });

  test('in a Secret that is replaced: over exactly that version, keeping what other clients put there', () => {
    const labels = { 'app.kubernetes.io/managed-by': 'Helm' };
    const metadata = { namespace: 'ns', name: 'cert', uid: 'u', resourceVersion: '7', labels, managedFields: [] };
    const secret = certificateSecret({ namespace: 'ns', name: 'cert' }, files, { metadata, data: { old: 'x' } });
    assert.deepEqual(secret.metadata, { namespace: 'ns', name: 'cert', uid: 'u', resourceVersion: '7', labels });
    assert.deepEqual(Object.keys(secret.data), ['ca.crt', 'tls.crt', 'tls.key']);
  });
});

describe('the bundle of trusted authorities', () => {
  const pems: string[] = [];
  before(async () => {
    for (const days of [0, 1, 2, 3, 4, 5]) pems.push((await make(NOW + days * DAY_MS))['ca.crt']);
  });
  after(() => pems.splice(0));
  const bundle = (...indexes: readonly number[]) => readBundle(indexes.map((index) => pems[index]).join(''));
  const ids = (text: string) => new Set(readBundle(text).map(({ id }) => id));

  test('keeps the old beside the new, in the same order whichever replica writes it', () => {
    const [old, next] = [bundle(0), bundle(1)];
    const merged = mergeBundle(old, next, NOW);
    assert.deepEqual(ids(merged), new Set([...old, ...next].map(({ id }) => id)));
    assert.equal(mergeBundle(next, old, NOW), merged);
    assert.equal(mergeBundle(readBundle(merged), next, NOW), merged);
  });

  test('drops what has expired', () => {
    assert.deepEqual(ids(mergeBundle(bundle(0), bundle(3), NOW + 31 * DAY_MS)), ids(pems[3] ?? ''));
  });

  test('does not grow indefinitely: it keeps those in use, and the latest of the others', () => {
    const merged = ids(mergeBundle(bundle(0, 1, 2, 3, 4), bundle(5), NOW));
    assert.deepEqual(merged, new Set(bundle(5, 4, 3, 2).map(({ id }) => id)));
  });

  test("drops garbage and authorities that are not the webhook's", async () => {
    const foreign = (await createTestAuthority('someone else')).certificatePem;
    assert.deepEqual(
      readBundle(`${foreign}garbage\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`),
      [],
    );
    assert.deepEqual(ids(mergeBundle(readBundle(foreign), bundle(0), NOW)), ids(pems[0] ?? ''));
  });

  test('is the same in every webhook of a configuration, over the version that was read', () => {
    const base64 = (text = '') => Buffer.from(text).toString('base64');
    const configuration = {
      metadata: { name: 'c', resourceVersion: '5' },
      webhooks: [
        { name: 'a', clientConfig: { caBundle: base64(pems[0]), url: 'https://localhost' } },
        { name: 'b', clientConfig: {} },
      ],
    };
    assert.deepEqual(trustedAuthorities(configuration), [], 'what not every webhook trusts is not trusted');
    const written = trusting(configuration, bundle(1), NOW);
    assert.deepEqual(written.metadata, { name: 'c', resourceVersion: '5' });
    assert.deepEqual(Object.keys(written.webhooks[0]?.clientConfig ?? {}), ['caBundle'], 'no other field');
    assert.deepEqual(
      trustedAuthorities({ metadata: {}, webhooks: written.webhooks }).map(({ id }) => id),
      bundle(1).map(({ id }) => id),
    );
  });
});
