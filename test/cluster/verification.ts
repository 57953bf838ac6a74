/** Verifies issued Secrets with other code than the one that made them: @noble/curves for signatures, OpenSSL for the key. */
import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { readCredentialFile } from '../../src/credential/formats.ts';
import { verifyWithNoble } from '../../src/credential/noble.ts';
import type { Usage } from '../../src/credential/scheme.ts';
import { verifyCredential } from '../../src/credential/verify.ts';
import type { Secret } from '../../testing/cluster/cluster.ts';

export const FILES = ['tls.crt', 'dc.key', 'dc.bin', 'dc.hex', 'dc.pem'] as const;

export function file(secret: Secret, name: string): Buffer {
  const content = secret.data?.[name];
  assert.ok(content !== undefined, `Secret ${secret.metadata.name} has no ${name}`);
  return Buffer.from(content, 'base64');
}

export interface Verified {
  /** Seconds since the epoch. */
  readonly expiresAt: number;
  /** Tells two keys apart. */
  readonly publicKey: string;
}

/** Asserts that key, credential and leaf belong together and are valid now, and that the annotations match. */
export function assertServes(secret: Secret, usage: Usage = 'Server', now = Math.floor(Date.now() / 1000)): Verified {
  const annotations = secret.metadata.annotations ?? {};
  const certificate = readDelegationCertificate(file(secret, 'tls.crt').toString());
  const publicKey = createPublicKey(file(secret, 'dc.key').toString()).export({ type: 'spki', format: 'der' });
  const bytes = file(secret, 'dc.bin');
  const result = verifyCredential({ bytes, certificate, usage, now, publicKey, verifySignature: verifyWithNoble });
  assert.ok(result.ok, result.ok ? '' : `${secret.metadata.name}: ${result.message}`);
  for (const name of ['dc.hex', 'dc.pem']) {
    assert.deepEqual(
      Buffer.from(readCredentialFile(file(secret, name)).bytes),
      bytes,
      `${name} holds another credential`,
    );
  }
  assert.equal(annotations['dcred.dev/certificate-sha256'], certificate.sha256);
  assert.equal(Date.parse(annotations['dcred.dev/expires-at'] ?? '') / 1000, result.expiresAt);
  assert.equal(annotations['dcred.dev/pod-uid'], secret.metadata.ownerReferences?.[0]?.uid);
  return { expiresAt: result.expiresAt, publicKey: publicKey.toString('base64') };
}
