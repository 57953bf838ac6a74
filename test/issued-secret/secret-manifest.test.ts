import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { before, describe, test } from 'node:test';
import { readCertificateChain } from '../../src/credential/certificate.ts';
import { credentialKeyFromPem, generateCredentialKey } from '../../src/credential/credential-key.ts';
import { type CredentialFormat, readCredentialFile } from '../../src/credential/formats.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm, USAGES, type Usage } from '../../src/credential/scheme.ts';
import { verifyCredential } from '../../src/credential/verify.ts';
import { dataKeys, type IssuedSecret } from '../../src/issued-secret/issued-secret.ts';
import type { SecretManifest } from '../../src/issued-secret/secret-manifest.ts';
import { renewalTime } from '../../src/operator/core/schedule.ts';
import { makeSecret } from '../../src/operator/pods/issuer.ts';
import { type Delegation, delegation, issuedSecret, specOf } from '../../testing/support/builders.ts';
import { convert } from '../../testing/support/openssl.ts';

const POD = { name: 'web-0', uid: '5d7c2c1e-0000-4000-8000-000000000000' };
const signal = new AbortController().signal;
let authority: Delegation;
/** Read after the certificate was made, which is valid from that second on and not before. */
let now: number;

before(() => {
  authority = delegation();
  now = Math.floor(Date.now() / 1000);
});

function manifest({
  replaces,
  spec = {},
  moment = now,
  signer = authority.signer,
}: {
  replaces?: IssuedSecret;
  spec?: Parameters<typeof specOf>[0];
  moment?: number;
  signer?: Delegation['signer'];
} = {}): Promise<SecretManifest> {
  const request = {
    namespace: 'edge',
    name: 'web-web-0',
    resourceName: 'web',
    pod: POD,
    spec: specOf(spec),
    certificate: authority.certificate,
    signer,
    replaces,
    now: moment,
  };
  return makeSecret(request, generateCredentialKey, signal);
}

function file({ data }: SecretManifest, name: string): Buffer {
  const content = data[name];
  assert.ok(content !== undefined, `no ${name}`);
  return Buffer.from(content, 'base64');
}

describe('an issued Secret', () => {
  test('has the metadata of the contract, and no more', async () => {
    const made = await manifest();
    const { apiVersion, kind, metadata, type } = made;
    const { annotations = {} } = metadata;
    const issuedAt = new Date(now * 1000).toISOString().replace('.000Z', 'Z');
    const podUid = POD.uid;
    const times = { issuedAt: now, expiresAt: now + 172_800, lifetimeSeconds: 172_800, podUid };
    assert.deepEqual(
      { apiVersion, kind, type, metadata },
      {
        apiVersion: 'v1',
        kind: 'Secret',
        type: 'dcred.dev/delegated-credential',
        metadata: {
          name: 'web-web-0',
          namespace: 'edge',
          labels: { 'app.kubernetes.io/managed-by': 'dcred', 'dcred.dev/delegated-credential': 'web' },
          annotations: {
            'dcred.dev/pod-name': 'web-0',
            'dcred.dev/pod-uid': POD.uid,
            'dcred.dev/issued-at': issuedAt,
            'dcred.dev/expires-at': annotations['dcred.dev/expires-at'],
            'dcred.dev/renew-at': annotations['dcred.dev/renew-at'],
            'dcred.dev/certificate-sha256': authority.certificate.sha256,
            'dcred.dev/chain-sha256': authority.certificate.chainSha256,
            'dcred.dev/credential-sha256': createHash('sha256').update(file(made, 'dc.bin')).digest('hex'),
            'dcred.dev/usage': 'Server',
            'dcred.dev/key-algorithm': 'ECDSAP256',
          },
          ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', ...POD }],
        },
      },
    );
    assert.equal(Date.parse(annotations['dcred.dev/expires-at'] ?? '') / 1000, now + 172_800);
    assert.equal(Date.parse(annotations['dcred.dev/renew-at'] ?? '') / 1000, renewalTime(times));
  });

  for (const keyAlgorithm of KEY_ALGORITHMS) {
    for (const usage of USAGES) {
      test(`for ${keyAlgorithm} and ${usage} holds files that all say the same`, () =>
        assertFiles(keyAlgorithm, usage));
    }
  }

  test('holds the chain exactly as the certificate Secret does', async () => {
    assert.equal(file(await manifest(), 'tls.crt').toString(), authority.chainPem);
  });

  test('never holds the delegation key', async () => {
    const { data } = await manifest();
    const body = authority.keyPem.split('\n')[1] ?? 'none';
    for (const [name, content] of Object.entries(data)) {
      assert.ok(!Buffer.from(content, 'base64').toString('latin1').includes(body), name);
    }
  });

  test('has a new key every time', async () => {
    assert.notDeepEqual(file(await manifest(), 'dc.key'), file(await manifest(), 'dc.key'));
  });

  test('that replaces another names exactly the version that it replaces, and keeps what is foreign', async () => {
    const replaces = issuedSecret({
      uid: 'u7',
      resourceVersion: '42',
      foreign: { labels: { theirs: '1', team: 'shop' }, annotations: { note: 'theirs' } },
      template: { labels: { old: '1' }, annotations: {} },
    });
    const { metadata } = await manifest({ replaces, spec: { secretTemplate: { labels: { team: 'edge' } } } });
    assert.deepEqual([metadata.uid, metadata.resourceVersion], ['u7', '42']);
    assert.equal(metadata.labels?.['theirs'], '1');
    assert.equal(metadata.labels['team'], 'edge', 'the template wins');
    assert.equal(metadata.labels['old'], undefined, 'what the template once asked for goes');
    assert.equal(metadata.annotations?.['note'], 'theirs');
    assert.equal(metadata.managedFields, undefined, 'records of others stay');
  });

  test('that is restored claims every field', async () => {
    const { data, metadata } = await manifest({ replaces: issuedSecret({ intact: false }) });
    const [claim, ...more] = metadata.managedFields ?? [];
    assert.deepEqual(more, []);
    assert.equal(claim?.manager, 'dcred');
    const fields = JSON.stringify(claim.fieldsV1);
    const labels = metadata.labels ?? {};
    for (const key of [...Object.keys(data), ...Object.keys(labels), ...Object.keys(metadata.annotations ?? {})]) {
      assert.ok(fields.includes(`"f:${key}"`), key);
    }
  });

  test('cannot be disguised by a template', async () => {
    const labels = { 'dcred.dev/delegated-credential': 'other', 'app.kubernetes.io/managed-by': 'me' };
    const { metadata } = await manifest({ spec: { secretTemplate: { labels } } });
    assert.equal(metadata.labels?.['dcred.dev/delegated-credential'], 'web');
    assert.equal(metadata.labels['app.kubernetes.io/managed-by'], 'dcred');
  });
});

describe('nothing is published', () => {
  test('that a signer signed wrongly', async () => {
    const other = delegation();
    await assert.rejects(manifest({ signer: other.signer }), {
      code: 'UnverifiedCredential',
      message: /^the credential made for pod "web-0" does not verify: /,
    });
  });

  test('that a signer has refused', async () => {
    const signer = { ...authority.signer, sign: () => Promise.reject(new Error('the vault is sealed')) };
    await assert.rejects(manifest({ signer }), { message: 'the vault is sealed' });
  });

  test('of a certificate that has expired', async () => {
    const moment = authority.certificate.notAfter + 1;
    await assert.rejects(manifest({ moment }), { code: 'CertificateInvalid' });
  });

  test('of a certificate that is about to', async () => {
    const moment = authority.certificate.notAfter - 60;
    await assert.rejects(manifest({ moment }), { code: 'CertificateInvalid' });
  });
});

async function assertFiles(keyAlgorithm: KeyAlgorithm, usage: Usage): Promise<void> {
  const secret = await manifest({ spec: { keyAlgorithm, usage } });
  assert.deepEqual(Object.keys(secret.data).sort(), [...dataKeys(keyAlgorithm)].sort());
  assert.equal('fizz.pem' in secret.data, keyAlgorithm === 'ECDSAP256');

  const [leaf] = readCertificateChain(file(secret, 'tls.crt').toString());
  const keyPem = file(secret, 'dc.key').toString();
  assert.match(keyPem, /^-----BEGIN PRIVATE KEY-----\n/);
  const { subjectPublicKeyInfo } = credentialKeyFromPem(keyPem);
  const bytes = file(secret, 'dc.bin');
  const verified = verifyCredential({ bytes, certificate: leaf, usage, now, publicKey: subjectPublicKeyInfo });
  assert.ok(verified.ok, verified.ok ? '' : verified.message);
  assert.equal(Date.parse(secret.metadata.annotations?.['dcred.dev/expires-at'] ?? '') / 1000, verified.expiresAt);

  const formats: readonly (readonly [string, CredentialFormat])[] = [
    ['dc.bin', 'raw'],
    ['dc.hex', 'hex'],
    ['dc.pem', 'pem'],
    ...(keyAlgorithm === 'ECDSAP256' ? ([['fizz.pem', 'fizz']] as const) : []),
  ];
  for (const [name, format] of formats) {
    const read = readCredentialFile(file(secret, name));
    assert.equal(read.format, format);
    assert.deepEqual(Buffer.from(read.bytes), bytes, name);
  }
  assert.match(file(secret, 'dc.hex').toString(), /^[0-9a-f]+\n$/);
  assert.match(convert(keyPem, 'pkey', '-noout', '-text'), /Private-Key|ED25519/i, 'OpenSSL reads the key');
}
