/** Whether the files of one generation are something that a server may be told to load. Pure. */
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
  /** Of all files; one-way. The same content under another generation's name needs no reload. */
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

/** The same credential in other formats: each server reads another one. */
const COPIES = ['dc.hex', 'dc.pem', 'fizz.pem'] as const;

/** @param now seconds since the epoch */
export function checkPair(files: Files, usage: Usage, now: number): GoodPair | BadPair {
  try {
    const bytes = readCredentialFile(contentOf(files, 'dc.bin')).bytes;
    const [certificate] = readCertificateChain(contentOf(files, 'tls.crt').toString('utf8'));
    const { subjectPublicKeyInfo } = credentialKeyFromPem(contentOf(files, 'dc.key').toString('utf8'));
    const verdict = verifyCredential({ bytes, certificate, usage, now, publicKey: subjectPublicKeyInfo });
    if (!verdict.ok) return { ok: false, code: verdict.code, message: verdict.message };
    for (const name of COPIES) {
      const content = files.get(name);
      if (content !== undefined && Buffer.compare(readCredentialFile(content).bytes, bytes) !== 0) {
        return { ok: false, code: 'Mixed', message: `${name} holds another credential than dc.bin` };
      }
    }
    return {
      ok: true,
      fingerprint: fingerprintOf(files),
      expiresAt: verdict.expiresAt,
      subject: certificate.subject,
      certificateSha256: certificate.sha256,
      keyAlgorithm: verdict.keyAlgorithm,
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
  if (content === undefined) throw new TypeError(`a generation without ${name} was passed on`);
  return content;
}

function fingerprintOf(files: Files): string {
  const hash = createHash('sha256');
  for (const [name, content] of files) hash.update(`${name}\0${content.length}\0`).update(content);
  return hash.digest('hex');
}
