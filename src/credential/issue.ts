import type { CredentialKey } from './credential-key.ts';
import type { DelegationCertificate } from './delegation-certificate.ts';
import { CertificateError, CredentialKeyError } from './errors.ts';
import { expiryFor } from './lifetime.ts';
import { type KeyAlgorithm, schemeBySubjectPublicKeyInfo, type Usage } from './scheme.ts';
import type { Signer } from './signer.ts';
import { type DelegatedCredential, encodeDelegatedCredential, signatureInput } from './wire.ts';

/** For whom: a key of ours, or the public half alone of a key that we never see. */
type IssueSubject =
  | { readonly key: Pick<CredentialKey, 'subjectPublicKeyInfo'>; readonly subjectPublicKeyInfo?: never }
  | { readonly subjectPublicKeyInfo: Uint8Array; readonly key?: never };

export type IssueRequest = IssueSubject & {
  readonly certificate: DelegationCertificate;
  readonly signer: Signer;
  readonly usage: Usage;
  /** 60 .. 601200; shortened where the certificate ends first. */
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
 * Throws CertificateError (expired, not yet valid, about to expire, another key's signer), CredentialKeyError, RangeError for
 * the lifetime, and whatever the signer throws.
 */
export async function issueCredential(request: IssueRequest): Promise<IssuedCredential> {
  const { certificate, lifetimeSeconds, now, signal, signer, usage } = request;
  const { subjectPublicKeyInfo } = request.key ?? request;
  const scheme = schemeBySubjectPublicKeyInfo(subjectPublicKeyInfo);
  if (scheme === undefined) {
    throw new CredentialKeyError('KeyUnsupported', 'the public key is of a kind that credentials cannot be made for');
  }
  if (signer.scheme.keyAlgorithm !== certificate.keyAlgorithm) {
    throw new CertificateError(
      'CertificateInvalid',
      `the private key (${signer.scheme.keyAlgorithm}) does not belong to the certificate "${certificate.subject}" ` +
        `(${certificate.keyAlgorithm}): put the key and the certificate that were made together side by side`,
    );
  }
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
