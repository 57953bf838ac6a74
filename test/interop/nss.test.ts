import assert from 'node:assert/strict';
import { constants, createPrivateKey, sign } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { readCertificateChain } from '../../src/credential/certificate.ts';
import { type CredentialKey, generateCredentialKey } from '../../src/credential/credential-key.ts';
import { type DelegationCertificate, readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { credentialFiles } from '../../src/credential/files.ts';
import { issueCredential } from '../../src/credential/issue.ts';
import { type KeyAlgorithm, schemeByKeyAlgorithm, type Usage } from '../../src/credential/scheme.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { encodeDelegatedCredential, signatureInput } from '../../src/credential/wire.ts';
import { type BoringServer, startBoringServer } from '../../testing/peers/boringssl-server.ts';
import { createNssClient, type NssClient, type NssOutcome } from '../../testing/peers/nss-client.ts';
import { findPeers } from '../../testing/peers/peers.ts';
import { authority, type Leaf, leaf } from '../../testing/support/openssl.ts';
import { agedLeaf } from './aged-leaf.ts';

/**
 * dcred's credentials between independent peers: BoringSSL serves them, NSS (Firefox's TLS) judges them. What dcred's issuer refuses to
 * make is made here by hand, to show that it is right to refuse.
 */

const NAME = 'web.example';
const HOUR = 3600;
const DAY = 24 * HOUR;
const now = () => Math.floor(Date.now() / 1000);

const peers = await findPeers();
const absent = peers.available ? undefined : peers.reason;

test('BoringSSL and NSS are available', { skip: process.env['CI'] === 'true' ? false : (absent ?? false) }, () => {
  assert.equal(absent, undefined, 'in CI the real peers must be there');
});

describe('credentials between BoringSSL and NSS', { skip: absent ?? false, concurrency: 2 }, () => {
  if (!peers.available) return;
  const { serverBinary } = peers;
  const ca = authority();
  const web = leaf({ issuer: ca });
  let directory: string;
  let client: NssClient;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'dcred-interop-'));
    client = await createNssClient(ca.certificatePem);
  });
  after(async () => {
    await client[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  /** The files of an issued Secret, in a directory that is made for them. */
  async function writeSecret(name: string, files: ReadonlyMap<string, string | Uint8Array>): Promise<string> {
    const target = join(directory, name);
    await mkdir(target, { recursive: true });
    for (const [file, content] of files) await writeFile(join(target, file), content);
    return target;
  }

  async function issue(made: Leaf, algorithm: KeyAlgorithm, usage: Usage = 'Server') {
    const certificate = readDelegationCertificate(made.certificatePem);
    const key = await generateCredentialKey(algorithm);
    const signer = signerFromPem(made.keyPem);
    const issued = await issueCredential({ certificate, signer, key, usage, lifetimeSeconds: 2 * HOUR, now: now() });
    return credentialFiles({ certificate, key, issued });
  }

  /** By hand, from the issuer's parts, without its checks. */
  async function forge(made: Leaf, { expiresIn, usage = 'Server' }: { expiresIn: number; usage?: Usage }) {
    const [certificate] = readCertificateChain(made.certificatePem);
    const key = await generateCredentialKey('ECDSAP256');
    const body = {
      validTime: now() + expiresIn - certificate.notBefore,
      dcCertVerifyAlgorithm: schemeByKeyAlgorithm('ECDSAP256').code,
      subjectPublicKeyInfo: key.subjectPublicKeyInfo,
    };
    const isRsa = certificate.keyAlgorithm === undefined;
    const algorithm = isRsa ? 0x0804 : schemeByKeyAlgorithm('ECDSAP256').code;
    const message = signatureInput(usage, certificate.der, body, algorithm);
    const signature = isRsa ? signPss(made.keyPem, message) : await signerFromPem(made.keyPem).sign(message, {});
    return secretFiles(
      certificate as DelegationCertificate,
      key,
      encodeDelegatedCredential({ ...body, algorithm, signature }),
    );
  }

  /** Serves the files to one NSS handshake. */
  async function meet(name: string, files: ReadonlyMap<string, string | Uint8Array>, made: Leaf, credentials = true) {
    const served = await writeSecret(name, files);
    const leafKeyFile = join(directory, `${name}.key`);
    await writeFile(leafKeyFile, made.keyPem);
    await using server = await startBoringServer({ binary: serverBinary, directory: served, leafKeyFile });
    return await handshake(server, credentials);
  }

  async function handshake(server: BoringServer, credentials = true): Promise<{ nss: NssOutcome; boringssl: string }> {
    const nss = await client.connect({ port: server.port, name: NAME, credentials });
    return { nss, boringssl: await server.nextLine() };
  }

  function assertUsed({ boringssl, nss }: Awaited<ReturnType<typeof meet>>): void {
    assert.equal(nss.connected, true, nss.output);
    assert.equal(nss.receivedCredential, true, nss.output);
    assert.equal(boringssl, 'delegated');
  }

  function assertRefused({ boringssl, nss }: Awaited<ReturnType<typeof meet>>, error: string): void {
    assert.equal(nss.error, error, nss.output);
    assert.equal(nss.connected, false);
    assert.match(boringssl, /^failed /);
  }

  for (const algorithm of ['ECDSAP256', 'ECDSAP384', 'ECDSAP521'] as const) {
    test(`a ${algorithm} credential is used`, async () => {
      assertUsed(await meet(algorithm, await issue(web, algorithm), web));
    });
  }

  for (const key of ['P-384', 'P-521'] as const) {
    test(`a ${key} leaf may sign`, async () => {
      const made = leaf({ key, issuer: ca });
      assertUsed(await meet(key, await issue(made, 'ECDSAP256'), made));
    });
  }

  test('a leaf that is three months old may sign: valid_time counts from its notBefore', async () => {
    const old = await agedLeaf(ca, 90 * DAY);
    assertUsed(await meet('old-leaf', await issue(old, 'ECDSAP256'), old));
  });

  test('a pod needs no key of the leaf: the files of its Secret are enough', async () => {
    const served = await writeSecret('pod', await issue(web, 'ECDSAP256'));
    await using server = await startBoringServer({ binary: serverBinary, directory: served });
    assertUsed(await handshake(server));
    const { boringssl, nss } = await handshake(server, false);
    assert.equal(boringssl, 'failed NO_CERTIFICATE_SET', 'a client without support cannot be served without it');
    assert.equal(nss.connected, false);
  });

  test('a client without support is served with the ordinary certificate', async () => {
    const { boringssl, nss } = await meet('no-support', await issue(web, 'ECDSAP256'), web, false);
    assert.deepEqual([nss.connected, nss.receivedCredential, boringssl], [true, false, 'ordinary']);
  });

  test('an Ed25519 credential is not used: NSS does not offer the algorithm, and gets the ordinary certificate', async () => {
    const { boringssl, nss } = await meet('ed25519', await issue(web, 'Ed25519'), web);
    assert.deepEqual([nss.connected, nss.receivedCredential, boringssl], [true, false, 'ordinary']);
  });

  test('a reload takes the new credential, and keeps the old one when the new cannot be loaded', async () => {
    const served = await writeSecret('reload', await issue(web, 'ECDSAP256'));
    await using server = await startBoringServer({ binary: serverBinary, directory: served });
    await writeSecret('reload', await issue(web, 'ECDSAP384'));
    assert.equal(await server.reload(), 'reloaded');
    assertUsed(await handshake(server));
    await writeFile(join(served, 'dc.bin'), 'half a file');
    assert.match(await server.reload(), /^kept BoringSSL refuses dc\.bin/);
    assertUsed(await handshake(server));
  });

  test('an RSA leaf is refused', async () => {
    const rsa = leaf({ key: 'RSA', issuer: ca });
    assertRefused(
      await meet('rsa', await forge(rsa, { expiresIn: HOUR }), rsa),
      'SSL_ERROR_UNSUPPORTED_SIGNATURE_ALGORITHM',
    );
  });

  test('a credential of eight days is refused', async () => {
    const files = await forge(web, { expiresIn: 8 * DAY });
    assertRefused(await meet('eight-days', files, web), 'SSL_ERROR_DC_INAPPROPRIATE_VALIDITY_PERIOD');
  });

  test('an expired credential is refused', async () => {
    const old = await agedLeaf(ca, DAY);
    assertRefused(await meet('expired', await forge(old, { expiresIn: -HOUR }), old), 'SSL_ERROR_DC_EXPIRED');
  });

  test('a credential signed for a client is refused from a server', async () => {
    assertRefused(await meet('client', await issue(web, 'ECDSAP256', 'Client'), web), 'SSL_ERROR_DC_BAD_SIGNATURE');
  });

  test('a leaf without DelegationUsage is refused', async () => {
    const plain = leaf({ issuer: ca, delegationUsage: null });
    assertRefused(
      await meet('no-usage', await forge(plain, { expiresIn: HOUR }), plain),
      'SSL_ERROR_DC_INVALID_KEY_USAGE',
    );
  });

  test('a credential of another leaf with the same name is refused', async () => {
    const files = new Map<string, string | Uint8Array>(await issue(leaf({ issuer: ca }), 'ECDSAP256'));
    files.set('tls.crt', web.certificatePem);
    assertRefused(await meet('other-leaf', files, web), 'SSL_ERROR_DC_BAD_SIGNATURE');
  });
});

function signPss(keyPem: string, message: Uint8Array): Uint8Array {
  const key = createPrivateKey(keyPem);
  return sign('sha256', message, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 });
}

function secretFiles(
  certificate: DelegationCertificate,
  key: CredentialKey,
  bytes: Uint8Array,
): ReadonlyMap<string, string | Uint8Array> {
  return new Map<string, string | Uint8Array>([
    ['tls.crt', certificate.chainPem],
    ['dc.key', key.pkcs8Pem()],
    ['dc.bin', bytes],
  ]);
}
