/** Makes the Secret of one pod: a fresh key, a credential for it, and the check that key, credential and leaf belong together. */
import type { DelegatedCredentialSpec } from '../../api/delegated-credential.ts';
import { type CredentialKey, credentialKeyFromPem } from '../../credential/credential-key.ts';
import type { CredentialSigner } from '../../credential/credential-signer.ts';
import type { DelegationCertificate } from '../../credential/delegation-certificate.ts';
import { CredentialKeyError } from '../../credential/errors.ts';
import { type IssuedCredential, issueCredential } from '../../credential/issue.ts';
import type { KeyAlgorithm } from '../../credential/scheme.ts';
import type { Signer } from '../../credential/signer.ts';
import { verifyCredential } from '../../credential/verify.ts';
import type { IssuedSecret } from '../../issued-secret/issued-secret.ts';
import { type SecretManifest, secretManifest } from '../../issued-secret/secret-manifest.ts';
import { type InSpan, untraced } from '../../tracing/tracing.ts';
import { wantedMetadata } from '../core/plan.ts';
import { renewalTime } from '../core/schedule.ts';

/** A credential that dcred made does not verify. It is never published. */
export class UnverifiedCredentialError extends Error {
  readonly code = 'UnverifiedCredential';
  override readonly name = 'UnverifiedCredentialError';
}

export interface SecretRequest {
  readonly namespace: string;
  readonly name: string;
  readonly resourceName: string;
  readonly pod: { readonly name: string; readonly uid: string };
  readonly spec: DelegatedCredentialSpec;
  readonly onWithdraw?: 'Keep' | 'Delete' | undefined;
  readonly certificate: DelegationCertificate;
  readonly signer: Signer | CredentialSigner;
  /** Seconds; undefined: as long as the spec says. */
  readonly lifetimeCap?: number | undefined;
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
  inSpan: InSpan = untraced,
): Promise<SecretManifest> {
  const { certificate, now, pod, signer, spec } = request;
  const { usage } = spec;
  const lifetimeSeconds = Math.min(spec.lifetimeSeconds, request.lifetimeCap ?? spec.lifetimeSeconds);
  const key = await inSpan('generate key', {}, () => generateKey(spec.keyAlgorithm));
  const holder = { namespace: request.namespace, resource: request.resourceName, podUid: pod.uid };
  const credential = await inSpan('sign credential', {}, () =>
    issueCredential({ certificate, signer, key, usage, holder, lifetimeSeconds, now, signal }),
  );
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
  return compose(request, key, credential);
}

export type RebuildRequest = Omit<SecretRequest, 'signer' | 'replaces'> & { readonly replaces: IssuedSecret };

/**
 * The Secret as it would be published now for the key and the credential that it holds: of the current chain, labels and
 * annotations. Undefined where key, credential and leaf do not belong together or the credential has expired. Writes nothing.
 * @param data of the Secret that is replaced, base64
 */
export function rebuildSecret(
  request: RebuildRequest,
  data: Readonly<Record<string, string>>,
): SecretManifest | undefined {
  const { certificate, now, replaces, spec } = request;
  const { facts } = replaces;
  if (facts === undefined) return undefined;
  try {
    const key = credentialKeyFromPem(decode(data['dc.key']).toString());
    const bytes = Uint8Array.from(decode(data['dc.bin']));
    const publicKey = key.subjectPublicKeyInfo;
    const verified = verifyCredential({ bytes, certificate, usage: spec.usage, now, publicKey });
    if (!verified.ok || verified.expiresAt !== facts.expiresAt || key.algorithm !== facts.keyAlgorithm)
      return undefined;
    const { credential, expiresAt } = verified;
    const { issuedAt, keyAlgorithm } = facts;
    return compose(request, key, { bytes, credential, expiresAt, issuedAt, usage: spec.usage, keyAlgorithm });
  } catch (error) {
    // Whatever stands there is not what dcred wrote, and the key among it must not reach a message.
    if (error instanceof CredentialKeyError) return undefined;
    throw error;
  }
}

function decode(base64: string | undefined): Buffer {
  return Buffer.from(base64 ?? '', 'base64');
}

function compose(
  request: Omit<SecretRequest, 'signer'>,
  key: CredentialKey,
  credential: IssuedCredential,
): SecretManifest {
  const { pod, spec } = request;
  const { lifetimeSeconds, renewBeforeSeconds } = spec;
  const { issuedAt, expiresAt } = credential;
  const renewAt = renewalTime({ issuedAt, expiresAt, podUid: pod.uid, lifetimeSeconds, renewBeforeSeconds });
  return secretManifest({ ...request, key, credential, renewAt, template: wantedMetadata(spec) });
}
