/** Issues delegated credentials (RFC 9345 section 4): decides what is in one, and has it signed. No clock. */
import type { CredentialKey } from './credential-key.ts';
import { type CredentialHolder, type CredentialSigner, composingSigner } from './credential-signer.ts';
import { checkCertificateUsage, type DelegationCertificate } from './delegation-certificate.ts';
import { CredentialKeyError, UnexpectedCredentialError } from './errors.ts';
import { expiryFor } from './lifetime.ts';
import { type KeyAlgorithm, schemeBySubjectPublicKeyInfo, type Usage } from './scheme.ts';
import type { Signer } from './signer.ts';
import { type Credential, type DelegatedCredential, decodeDelegatedCredential } from './wire.ts';

/** The key that is delegated to: a whole one, or the public half alone of one that the issuer never sees. */
type IssueSubject =
  | { readonly key: Pick<CredentialKey, 'subjectPublicKeyInfo'>; readonly subjectPublicKeyInfo?: never }
  | { readonly subjectPublicKeyInfo: Uint8Array; readonly key?: never };

export type IssueRequest = IssueSubject & {
  readonly certificate: DelegationCertificate;
  /** The delegation key, or whoever signs credentials with it. */
  readonly signer: Signer | CredentialSigner;
  readonly usage: Usage;
  /** Passed on to a signer in another process. */
  readonly holder?: CredentialHolder | undefined;
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
 * RangeError for the lifetime, UnexpectedCredentialError for a signer that answers with another credential than was requested, and
 * whatever the signer throws.
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
  const { certificate, holder, lifetimeSeconds, now, signal, signer, usage } = request;
  const { subjectPublicKeyInfo } = request.key ?? request;
  const scheme = schemeBySubjectPublicKeyInfo(subjectPublicKeyInfo);
  if (scheme === undefined) {
    throw new CredentialKeyError('KeyUnsupported', 'credentials cannot be issued for a public key of this kind');
  }
  const unsuitable = checkCertificateUsage(certificate, usage);
  if (unsuitable !== undefined) throw unsuitable;
  const expiresAt = expiryFor({ certificate, lifetimeSeconds, now });
  const dcCertVerifyAlgorithm = scheme.code;
  const credentialSigner = 'signCredential' in signer ? signer : composingSigner(signer);
  const bytes = await credentialSigner.signCredential(
    { certificate, usage, dcCertVerifyAlgorithm, subjectPublicKeyInfo, expiresAt, holder },
    signal === undefined ? {} : { signal },
  );
  const validTime = expiresAt - certificate.notBefore;
  const credential = readAnswer(bytes, { validTime, dcCertVerifyAlgorithm, subjectPublicKeyInfo });
  return {
    bytes,
    credential,
    expiresAt,
    issuedAt: now,
    usage,
    keyAlgorithm: scheme.keyAlgorithm,
  };
}

/** The signature is not checked here; what is signed is. Throws MalformedCredentialError and UnexpectedCredentialError. */
function readAnswer(bytes: Uint8Array, requested: Credential): DelegatedCredential {
  const credential = decodeDelegatedCredential(bytes);
  const different = (['validTime', 'dcCertVerifyAlgorithm'] as const).find(
    (field) => credential[field] !== requested[field],
  );
  if (different !== undefined) {
    throw new UnexpectedCredentialError(
      `the signer answered with a credential whose ${different} is ${credential[different]}; requested was ${requested[different]}`,
    );
  }
  if (Buffer.compare(credential.subjectPublicKeyInfo, requested.subjectPublicKeyInfo) === 0) return credential;
  throw new UnexpectedCredentialError('the signer answered with a credential for another public key');
}
