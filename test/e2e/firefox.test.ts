import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { credentialFiles } from '../../src/credential/files.ts';
import { issueCredential } from '../../src/credential/issue.ts';
import type { KeyAlgorithm, Usage } from '../../src/credential/scheme.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { startBoringServer } from '../../testing/peers/boringssl-server.ts';
import { startFirefox, whyNoFirefox } from '../../testing/peers/firefox.ts';
import { MarionetteError } from '../../testing/peers/marionette.ts';
import { findPeers } from '../../testing/peers/peers.ts';
import { createTestAuthority, type LeafFiles, type TestAuthority } from '../../testing/support/certificates.ts';

/** Whether a browser accepts what dcred issues, without a cluster. */

const peers = await findPeers();
const absent = (await whyNoFirefox()) || (peers.available ? false : peers.reason);

describe('Firefox', { skip: absent }, () => {
  let directory: string;
  let authority: TestAuthority;
  let leaf: LeafFiles;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'dcred-firefox-'));
    authority = await createTestAuthority();
    leaf = await authority.issue();
    await writeFile(join(directory, 'leaf.key'), leaf.keyPem);
  });
  after(() => rm(directory, { recursive: true }));

  /** Serves a credential to one page load. */
  async function load(options: {
    readonly algorithm?: KeyAlgorithm;
    readonly usage?: Usage;
    readonly screenshot?: string;
  }) {
    assert.ok(peers.available);
    const { algorithm = 'ECDSAP256', usage = 'Server', screenshot } = options;
    const certificate = readDelegationCertificate(leaf.certificatePem);
    const key = await generateCredentialKey(algorithm);
    const signer = signerFromPem(leaf.keyPem);
    const now = Math.floor(Date.now() / 1_000);
    const issued = await issueCredential({ certificate, signer, key, usage, lifetimeSeconds: 7_200, now });
    for (const [name, content] of credentialFiles({ certificate, key, issued })) {
      await writeFile(join(directory, name), content);
    }
    const leafKeyFile = join(directory, 'leaf.key');
    await using server = await startBoringServer({ binary: peers.serverBinary, directory, leafKeyFile });
    await using firefox = await startFirefox({ authority: authority.certificatePem, address: '127.0.0.1' });
    const page = await firefox.visit(`https://web.example:${server.port}/`);
    if (screenshot !== undefined) await firefox.screenshot(screenshot);
    return page;
  }

  for (const algorithm of ['ECDSAP256', 'ECDSAP384', 'ECDSAP521'] as const) {
    test(`loads a page by a ${algorithm} credential`, async (t: TestContext) => {
      const began = performance.now();
      const screenshot = join(directory, 'page.png');
      const { certificate, ...page } = await load({ algorithm, screenshot });
      t.diagnostic(`after ${((performance.now() - began) / 1_000).toFixed(1)} s, Firefox's start included`);
      assert.deepEqual(page, { isDelegatedCredential: true, protocol: 'TLS 1.3', text: 'delegated' });
      assert.equal(certificate, new X509Certificate(leaf.certificatePem).fingerprint256);
      assert.deepEqual([...(await readFile(screenshot)).subarray(0, 4)], [0x89, 0x50, 0x4e, 0x47]);
      const kept = process.env['DCRED_SCREENSHOTS'];
      if (kept !== undefined) await writeFile(join(kept, `${algorithm}.png`), await readFile(screenshot));
    });
  }

  test('passes over an Ed25519 credential, and loads the page by the certificate alone', async () => {
    const page = await load({ algorithm: 'Ed25519' });
    assert.deepEqual([page.isDelegatedCredential, page.text], [false, 'ordinary']);
  });

  test('shows an error for a credential that was signed for a client', async () => {
    await assert.rejects(load({ usage: 'Client' }), (error) => {
      assert.ok(error instanceof MarionetteError);
      assert.match(error.message, /nssFailure|SSL_ERROR|reached error page/i);
      return true;
    });
  });
});
