/** The files of an issued credential, as a Secret or a directory holds them. Pure. */
import type { Certificate } from './certificate.ts';
import type { CredentialKey } from './credential-key.ts';
import { toFizz, toHex, toPem } from './formats.ts';
import type { IssuedCredential } from './issue.ts';

export const CREDENTIAL_FILE_NAMES = ['tls.crt', 'dc.key', 'dc.bin', 'dc.hex', 'dc.pem', 'fizz.pem'] as const;
export type CredentialFileName = (typeof CREDENTIAL_FILE_NAMES)[number];

/** The files that hold a private key: mode 0600 wherever they are written. */
export const SECRET_FILE_NAMES: ReadonlySet<CredentialFileName> = new Set<CredentialFileName>(['dc.key', 'fizz.pem']);

export interface CredentialFilesRequest {
  readonly certificate: Pick<Certificate, 'chainPem'>;
  readonly key: CredentialKey;
  readonly issued: IssuedCredential;
}

/**
 * The content of each file, for a Secret or a directory. `fizz.pem` is absent unless the key is P-256, all that Fizz takes.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readFileSync } from 'node:fs';
 * import {
 *   credentialFiles, generateCredentialKey, issueCredential, readDelegationCertificate, signerFromPem,
 * } from 'dcred/credential';
 *
 * const certificate = readDelegationCertificate(readFileSync('leaf.crt', 'utf8'));
 * const signer = signerFromPem(readFileSync('leaf.key', 'utf8'));
 * const key = await generateCredentialKey('Ed25519');
 * const now = Date.parse('2026-11-22T22:00:00Z') / 1000;
 * const issued = await issueCredential({ certificate, signer, key, usage: 'Server', lifetimeSeconds: 3_600, now });
 * const files = credentialFiles({ certificate, key, issued });
 * assert.deepEqual([...files.keys()], ['tls.crt', 'dc.key', 'dc.bin', 'dc.hex', 'dc.pem']);
 */
export function credentialFiles({
  certificate: { chainPem },
  issued: { bytes, usage },
  key,
}: CredentialFilesRequest): ReadonlyMap<CredentialFileName, Uint8Array> {
  const files = new Map<CredentialFileName, Uint8Array>([
    ['tls.crt', Buffer.from(chainPem)],
    ['dc.key', Buffer.from(key.pkcs8Pem())],
    ['dc.bin', bytes],
    ['dc.hex', Buffer.from(toHex(bytes))],
    ['dc.pem', Buffer.from(toPem(bytes))],
  ]);
  if (key.algorithm === 'ECDSAP256') {
    files.set('fizz.pem', Buffer.from(toFizz({ bytes, usage, keyPem: key.pkcs8Pem(), chainPem })));
  }
  return files;
}
