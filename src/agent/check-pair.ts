/** Checks whether the files of one mounted version are a valid credential, safe for a server to load. Pure. */
import { createHash } from 'node:crypto';
import { type Certificate, readCertificateChain } from '../credential/certificate.ts';
import { credentialKeyFromPem } from '../credential/credential-key.ts';
import { CertificateError, CredentialKeyError, MalformedCredentialError } from '../credential/errors.ts';
import type { CredentialFileName } from '../credential/files.ts';
import { type CredentialFormat, fizzKeyPem, readCredentialFile } from '../credential/formats.ts';
import { USAGES, type Usage } from '../credential/scheme.ts';
import { type VerifyRequest, verifyCredential } from '../credential/verify.ts';
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
  /** The side of TLS that the credential is signed for. */
  readonly usage: Usage;
}

export interface BadPair {
  readonly ok: false;
  readonly code: string;
  readonly message: string;
}

/** The same credential for different servers: each reads its own format and no other. */
const FORMATS: readonly (readonly [CredentialFileName, CredentialFormat])[] = [
  ['dc.bin', 'raw'],
  ['dc.hex', 'hex'],
  ['dc.pem', 'pem'],
  ['fizz.pem', 'fizz'],
];

/**
 * @param wanted the side of TLS that the credential must be signed for; undefined: either
 * @param now seconds since the epoch
 */
export function checkPair(files: Files, wanted: Usage | undefined, now: number): GoodPair | BadPair {
  try {
    const bytes = readCredentialFile(contentOf(files, 'dc.bin')).bytes;
    const [certificate] = readCertificateChain(contentOf(files, 'tls.crt').toString('utf8'));
    const { subjectPublicKeyInfo } = credentialKeyFromPem(contentOf(files, 'dc.key').toString('utf8'));
    const request = { bytes, certificate, now, publicKey: subjectPublicKeyInfo };
    const usage = wanted ?? signedUsage(request);
    const verified = verifyCredential({ ...request, usage });
    if (!verified.ok) return { ok: false, code: verified.code, message: verified.message };
    const parts = { bytes, certificate, subjectPublicKeyInfo, usage };
    for (const [name, format] of FORMATS) {
      const content = files.get(name);
      const bad = content === undefined ? undefined : checkCopy(name, format, content, parts);
      if (bad !== undefined) return bad;
    }
    return {
      ok: true,
      fingerprint: fingerprintOf(files),
      expiresAt: verified.expiresAt,
      subject: certificate.subject,
      certificateSha256: certificate.sha256,
      keyAlgorithm: verified.keyAlgorithm,
      usage,
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

/** The usage is not in the credential, only in what is signed. Where the signature is of neither, nothing else is of use. */
function signedUsage(request: Omit<VerifyRequest, 'usage'>): Usage {
  const isSigned = (usage: Usage) =>
    verifyCredential({ ...request, usage } as VerifyRequest).checks.every(
      ({ code, ok }) => ok || code !== 'BadSignature',
    );
  return USAGES.find(isSigned) ?? 'Server';
}

interface Parts {
  readonly bytes: Uint8Array;
  readonly certificate: Certificate;
  readonly subjectPublicKeyInfo: Uint8Array;
  readonly usage: Usage;
}

function checkCopy(
  name: CredentialFileName,
  format: CredentialFormat,
  content: Buffer,
  parts: Parts,
): BadPair | undefined {
  const file = readCredentialFile(content);
  if (file.format !== format) {
    const message = `${name} holds a credential in the format ${file.format}: its readers expect ${format}`;
    return { ok: false, code: 'WrongFormat', message };
  }
  const mixed = (what: string): BadPair => ({
    ok: false,
    code: 'Mixed',
    message: `${name} contains a different ${what}`,
  });
  if (Buffer.compare(file.bytes, parts.bytes) !== 0) return mixed('credential than dc.bin');
  if (name !== 'fizz.pem') return undefined;
  // Fizz reads nothing but this file.
  if (file.usage !== parts.usage) return mixed('usage than the one it is for');
  const leaf = file.leafPem === undefined ? undefined : readCertificateChain(file.leafPem)[0];
  if (leaf?.sha256 !== parts.certificate.sha256) return mixed('certificate than tls.crt');
  const keyPem = fizzKeyPem(content.toString('latin1'), parts.usage);
  const key = keyPem === undefined ? new Uint8Array() : credentialKeyFromPem(keyPem).subjectPublicKeyInfo;
  return Buffer.compare(key, parts.subjectPublicKeyInfo) === 0 ? undefined : mixed('key than dc.key');
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
