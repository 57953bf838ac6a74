import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { credentialFiles } from '../../src/credential/files.ts';
import { issueCredential } from '../../src/credential/issue.ts';
import type { KeyAlgorithm, Usage } from '../../src/credential/scheme.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { startBoringServer } from '../../testing/peers/boringssl-server.ts';
import { createNssClient } from '../../testing/peers/nss-client.ts';
import { findPeers } from '../../testing/peers/peers.ts';
import { findTlslite } from '../../testing/peers/tlslite.ts';
import { authority, leaf } from '../../testing/support/openssl.ts';

/** tlslite-ng judges dcred's credentials that BoringSSL serves, and shows which one it got; and serves them to NSS. */

const NAME = 'web.example';
const [peers, tlslite] = [await findPeers(), await findTlslite()];
const absent = (peers.available ? undefined : peers.reason) ?? (tlslite.available ? undefined : tlslite.reason);

test('tlslite-ng is available', { skip: process.env['CI'] === 'true' ? false : (absent ?? false) }, () => {
  assert.equal(absent, undefined, 'in CI the real peers must be there');
});

describe('credentials and tlslite-ng', { skip: absent ?? false }, () => {
  const ca = authority();
  const made = leaf({ issuer: ca });

  /** The files of an issued Secret in their own folder, which is removed on disposal. */
  async function issue(algorithm: KeyAlgorithm, usage: Usage = 'Server') {
    const directory = await mkdtemp(join(tmpdir(), 'dcred-tlslite-'));
    const certificate = readDelegationCertificate(made.certificatePem);
    const key = await generateCredentialKey(algorithm);
    const [signer, now] = [signerFromPem(made.keyPem), Math.floor(Date.now() / 1_000)];
    const issued = await issueCredential({ certificate, signer, key, usage, lifetimeSeconds: 7_200, now });
    for (const [name, content] of credentialFiles({ certificate, key, issued })) {
      await writeFile(join(directory, name), content);
    }
    const hex = Buffer.from(issued.bytes).toString('hex');
    return { directory, hex, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
  }

  /** What tlslite-ng saw of what BoringSSL served. */
  async function meet(algorithm: KeyAlgorithm, usage?: Usage) {
    assert.ok(peers.available && tlslite.available);
    await using served = await issue(algorithm, usage);
    await using server = await startBoringServer({ binary: peers.serverBinary, directory: served.directory });
    const seen = await tlslite.connect({ port: server.port, name: NAME });
    return { seen, served: served.hex };
  }

  for (const algorithm of ['ECDSAP256', 'ECDSAP384', 'ECDSAP521'] as const) {
    test(`a ${algorithm} credential is used, and is the one that was issued`, async () => {
      const { seen, served } = await meet(algorithm);
      assert.equal(seen, served);
    });
  }

  test('a credential for clients is refused', async () => {
    await assert.rejects(meet('ECDSAP256', 'Client'), /tlslite-ng: TLS/);
  });

  for (const file of ['dc.pem', 'dc.bin']) {
    test(`${file} is served by tlslite-ng without the leaf's key, and NSS uses it`, async () => {
      assert.ok(tlslite.available);
      await using served = await issue('ECDSAP256');
      await using server = await tlslite.serve(served.directory, file);
      await using nss = await createNssClient(ca.certificatePem);
      const { connected, output, receivedCredential } = await nss.connect({ port: server.port, name: NAME });
      assert.deepEqual([connected, receivedCredential], [true, true], output);
      assert.equal(await tlslite.connect({ port: server.port, name: NAME }), served.hex);
    });
  }
});
