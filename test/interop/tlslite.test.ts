import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { credentialFiles } from '../../src/credential/files.ts';
import { issueCredential } from '../../src/credential/issue.ts';
import type { Usage } from '../../src/credential/scheme.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { leaf } from '../credential/openssl.ts';
import { startBoringServer } from './boringssl-server.ts';
import { findPeers } from './peers.ts';
import { findTlslite } from './tlslite.ts';

/** BoringSSL serves dcred's credentials, tlslite-ng judges them and shows which one it got. */

const [peers, tlslite] = [await findPeers(), await findTlslite()];
const absent = (peers.available ? undefined : peers.reason) ?? (tlslite.available ? undefined : tlslite.reason);

test('tlslite-ng is at hand', { skip: process.env['CI'] === 'true' ? false : (absent ?? false) }, () => {
  assert.equal(absent, undefined, 'in CI the real peers must be there');
});

describe('credentials between BoringSSL and tlslite-ng', { skip: absent ?? false }, () => {
  const made = leaf();

  /** What the client saw of what was served. */
  async function meet(algorithm: 'ECDSAP256' | 'ECDSAP384' | 'ECDSAP521', usage: Usage = 'Server') {
    assert.ok(peers.available && tlslite.available);
    const directory = await mkdtemp(join(tmpdir(), 'dcred-tlslite-'));
    try {
      const certificate = readDelegationCertificate(made.certificatePem);
      const key = await generateCredentialKey(algorithm);
      const [signer, now] = [signerFromPem(made.keyPem), Math.floor(Date.now() / 1_000)];
      const issued = await issueCredential({ certificate, signer, key, usage, lifetimeSeconds: 7_200, now });
      for (const [name, content] of credentialFiles({ certificate, key, issued })) {
        await writeFile(join(directory, name), content);
      }
      await using server = await startBoringServer({ binary: peers.serverBinary, directory });
      const seen = await tlslite.connect({ port: server.port, name: 'web.example' });
      return { seen, served: Buffer.from(issued.bytes).toString('hex') };
    } finally {
      await rm(directory, { recursive: true });
    }
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
});
