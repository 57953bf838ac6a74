/** Makes the Secret of one pod: a fresh key, a credential for it, and the check that key, credential and leaf belong together. */
import type { DelegatedCredentialSpec } from '../api/delegated-credential.ts';
import type { CredentialKey } from '../credential/credential-key.ts';
import type { DelegationCertificate } from '../credential/delegation-certificate.ts';
import { issueCredential } from '../credential/issue.ts';
import type { KeyAlgorithm } from '../credential/scheme.ts';
import type { Signer } from '../credential/signer.ts';
import { verifyCredential } from '../credential/verify.ts';
import type { IssuedSecret } from '../issued-secret/issued-secret.ts';
import { type SecretManifest, secretManifest } from '../issued-secret/secret-manifest.ts';
import { wantedMetadata } from './core/plan.ts';
import { renewalTime } from './core/schedule.ts';

/** A credential that dcred made does not verify. It is never published. */
export class UnverifiedCredentialError extends Error {
  readonly code = 'UNVERIFIED_CREDENTIAL';
  override readonly name = 'UnverifiedCredentialError';
}

export interface SecretRequest {
  readonly namespace: string;
  readonly name: string;
  readonly resourceName: string;
  readonly pod: { readonly name: string; readonly uid: string };
  readonly spec: DelegatedCredentialSpec;
  readonly certificate: DelegationCertificate;
  readonly signer: Signer;
  readonly replaces: IssuedSecret | undefined;
  /** Seconds since the epoch. */
  readonly now: number;
}

export type GenerateKey = (algorithm: KeyAlgorithm) => Promise<CredentialKey>;

/**
 * Writes nothing.
 * @throws UnverifiedCredentialError, CertificateError, and whatever the signer throws
 */
export async function makeSecret(
  request: SecretRequest,
  generateKey: GenerateKey,
  signal: AbortSignal,
): Promise<SecretManifest> {
  const { certificate, now, pod, signer, spec } = request;
  const { lifetimeSeconds, renewBeforeSeconds, usage } = spec;
  const key = await generateKey(spec.keyAlgorithm);
  const credential = await issueCredential({ certificate, signer, key, usage, lifetimeSeconds, now, signal });
  const verified = verifyCredential({
    bytes: credential.bytes,
    certificate,
    usage,
    now,
    publicKey: key.subjectPublicKeyInfo,
  });
  if (!verified.ok) {
    throw new UnverifiedCredentialError(
      `the credential made for pod "${pod.name}" does not verify: ${verified.message}`,
    );
  }
  const { issuedAt, expiresAt } = credential;
  const renewAt = renewalTime({ issuedAt, expiresAt, podUid: pod.uid, lifetimeSeconds, renewBeforeSeconds });
  return secretManifest({
    ...request,
    key,
    credential,
    renewAt,
    template: wantedMetadata(spec),
  });
}
