/** Checks whether the files of one mounted version are a valid credential, safe for a server to load. Pure. */
import { createHash } from 'node:crypto';
import { readCertificateChain } from '../credential/certificate.ts';
import { credentialKeyFromPem } from '../credential/credential-key.ts';
import { CertificateError, CredentialKeyError, MalformedCredentialError } from '../credential/errors.ts';
import { readCredentialFile } from '../credential/formats.ts';
import type { Usage } from '../credential/scheme.ts';
import { verifyCredential } from '../credential/verify.ts';
import type { Files } from './mounted-version.ts';

/** Safe to be logged. */
export interface GoodPair {
  readonly ok: true;
  /** SHA-256 of all files. The same content in another mounted version needs no reload. */
  readonly fingerprint: string;
  /** Seconds since the epoch. */
  readonly expiresAt: number;
  readonly subject: string;
  readonly certificateSha256: string;
  readonly keyAlgorithm: string;
}

export interface BadPair {
  readonly ok: false;
  readonly code: string;
  readonly message: string;
}

/** The same credential in the formats of other servers. */
const COPIES = ['dc.hex', 'dc.pem', 'fizz.pem'] as const;

/**
 * @param usage the side of TLS that the credential must be signed for
 * @param now seconds since the epoch
 */
export function checkPair(files: Files, usage: Usage, now: number): GoodPair | BadPair {
  try {
    const bytes = readCredentialFile(contentOf(files, 'dc.bin')).bytes;
    const [certificate] = readCertificateChain(contentOf(files, 'tls.crt').toString('utf8'));
    const { subjectPublicKeyInfo } = credentialKeyFromPem(contentOf(files, 'dc.key').toString('utf8'));
    const verified = verifyCredential({ bytes, certificate, usage, now, publicKey: subjectPublicKeyInfo });
    if (!verified.ok) return { ok: false, code: verified.code, message: verified.message };
    for (const name of COPIES) {
      const content = files.get(name);
      if (content !== undefined && Buffer.compare(readCredentialFile(content).bytes, bytes) !== 0) {
        return { ok: false, code: 'Mixed', message: `${name} contains a different credential than dc.bin` };
      }
    }
    return {
      ok: true,
      fingerprint: fingerprintOf(files),
      expiresAt: verified.expiresAt,
      subject: certificate.subject,
      certificateSha256: certificate.sha256,
      keyAlgorithm: verified.keyAlgorithm,
    };
  } catch (error) {
    if (
      error instanceof CertificateError ||
      error instanceof CredentialKeyError ||
      error instanceof MalformedCredentialError
    ) {
      return { ok: false, code: error.code, message: error.message };
    }
    throw error;
  }
}

function contentOf(files: Files, name: 'dc.bin' | 'dc.key' | 'tls.crt'): Buffer {
  const content = files.get(name);
  if (content === undefined) throw new TypeError(`a mounted version without ${name}`);
  return content;
}

function fingerprintOf(files: Files): string {
  const hash = createHash('sha256');
  for (const [name, content] of files) hash.update(`${name}\0${content.length}\0`).update(content);
  return hash.digest('hex');
}
