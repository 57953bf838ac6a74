/** Issues delegated credentials (RFC 9345 section 4): composes what is signed, and has it signed. No clock. */
import type { CredentialKey } from './credential-key.ts';
import { checkCertificateUsage, type DelegationCertificate } from './delegation-certificate.ts';
import { CertificateError, CredentialKeyError } from './errors.ts';
import { expiryFor } from './lifetime.ts';
import { type KeyAlgorithm, schemeBySubjectPublicKeyInfo, type Usage } from './scheme.ts';
import type { Signer } from './signer.ts';
import { type DelegatedCredential, encodeDelegatedCredential, signatureInput } from './wire.ts';

/** The key that is delegated to: a whole one, or the public half alone of one that the issuer never sees. */
type IssueSubject =
  | { readonly key: Pick<CredentialKey, 'subjectPublicKeyInfo'>; readonly subjectPublicKeyInfo?: never }
  | { readonly subjectPublicKeyInfo: Uint8Array; readonly key?: never };

export type IssueRequest = IssueSubject & {
  readonly certificate: DelegationCertificate;
  readonly signer: Signer;
  readonly usage: Usage;
  /** 60 .. 601200; shortened where the certificate expires first. */
  readonly lifetimeSeconds: number;
  /** Seconds since the epoch. */
  readonly now: number;
  readonly signal?: AbortSignal;
};

export interface IssuedCredential {
  /** struct DelegatedCredential. */
  readonly bytes: Uint8Array;
  readonly credential: DelegatedCredential;
  /** Seconds since the epoch. */
  readonly expiresAt: number;
  readonly issuedAt: number;
  readonly usage: Usage;
  /** Of the credential key. */
  readonly keyAlgorithm: KeyAlgorithm;
}

/**
 * Signs a credential. It is not verified here: whoever publishes it does that, against what it publishes.
 * Throws CertificateError (expired, not yet valid, about to expire, not for this usage, another key's signer), CredentialKeyError,
 * RangeError for the lifetime, and whatever the signer throws.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readFileSync } from 'node:fs';
 * import { generateCredentialKey, issueCredential, readDelegationCertificate, signerFromPem } from 'dcred/credential';
 *
 * const certificate = readDelegationCertificate(readFileSync('leaf.crt', 'utf8'));
 * const signer = signerFromPem(readFileSync('leaf.key', 'utf8'));
 * const key = await generateCredentialKey('ECDSAP256');
 * const now = Date.parse('2026-11-22T22:00:00Z') / 1000;
 * const issued = await issueCredential({ certificate, signer, key, usage: 'Server', lifetimeSeconds: 172_800, now });
 * assert.equal(issued.expiresAt, now + 172_800);
 */
export async function issueCredential(request: IssueRequest): Promise<IssuedCredential> {
  const { certificate, lifetimeSeconds, now, signal, signer, usage } = request;
  const { subjectPublicKeyInfo } = request.key ?? request;
  const scheme = schemeBySubjectPublicKeyInfo(subjectPublicKeyInfo);
  if (scheme === undefined) {
    throw new CredentialKeyError('KeyUnsupported', 'credentials cannot be issued for a public key of this kind');
  }
  if (signer.scheme.keyAlgorithm !== certificate.keyAlgorithm) {
    throw new CertificateError(
      'CertificateInvalid',
      `the private key (${signer.scheme.keyAlgorithm}) does not belong to the certificate "${certificate.subject}" ` +
        `(${certificate.keyAlgorithm}): use the key that the certificate was made for`,
    );
  }
  const unsuitable = checkCertificateUsage(certificate, usage);
  if (unsuitable !== undefined) throw unsuitable;
  const expiresAt = expiryFor({ certificate, lifetimeSeconds, now });
  const body = {
    validTime: expiresAt - certificate.notBefore,
    dcCertVerifyAlgorithm: scheme.code,
    subjectPublicKeyInfo,
  };
  const algorithm = signer.scheme.code;
  const message = signatureInput(usage, certificate.der, body, algorithm);
  const signature = await signer.sign(message, signal === undefined ? {} : { signal });
  const credential: DelegatedCredential = { ...body, algorithm, signature };
  return {
    bytes: encodeDelegatedCredential(credential),
    credential,
    expiresAt,
    issuedAt: now,
    usage,
    keyAlgorithm: scheme.keyAlgorithm,
  };
}
