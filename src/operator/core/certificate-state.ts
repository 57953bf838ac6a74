/** Reads a certificate Secret: to a certificate and its signer, or to the reason why it cannot be used. */
import type { DelegatedCredentialSpec } from '../../api/delegated-credential.ts';
import { ISSUED_SECRET_TYPE, RESOURCE_LABEL, SERVING_CERTIFICATE_TYPE } from '../../api/keys.ts';
import { PEM_LIMITS } from '../../credential/certificate.ts';
import type { CredentialSigner } from '../../credential/credential-signer.ts';
import {
  checkCertificateUsage,
  checkCertificateValidity,
  type DelegationCertificate,
  readDelegationCertificate,
} from '../../credential/delegation-certificate.ts';
import { CertificateError } from '../../credential/errors.ts';
import { MIN_LIFETIME_SECONDS } from '../../credential/lifetime.ts';
import type { Usage } from '../../credential/scheme.ts';
import { assertSignerMatches, type Signer, signerFromPem } from '../../credential/signer.ts';
import type { ObjectKey } from '../../issued-secret/names.ts';
import type { KubernetesObject } from '../../kubernetes/objects.ts';
import { formatRfc3339 } from '../../text/rfc3339.ts';
import type { Access } from './access.ts';
import { checkNextCertificate, NEXT_CERTIFICATE_KEY, NEXT_KEY_KEY, type NextCertificate } from './next-certificate.ts';

export type CertificateSecret = KubernetesObject<{
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
}>;

/** Types that are never a certificate, and that clusters have many of: they are not watched, and not read as one. */
export const NEVER_CERTIFICATES: readonly string[] = [
  ISSUED_SECRET_TYPE,
  SERVING_CERTIFICATE_TYPE,
  'helm.sh/release.v1',
  'kubernetes.io/service-account-token',
  'kubernetes.io/dockerconfigjson',
  'bootstrap.kubernetes.io/token',
];

/** Reasons of the Ready condition that speak of the certificate. */
export const CERTIFICATE_REASONS = [
  'CertificateNotFound',
  'CertificateNotPermitted',
  'CertificateInvalid',
  'CertificateCannotDelegate',
  'CertificateKeyUnsupported',
] as const;
export type CertificateReason = (typeof CERTIFICATE_REASONS)[number];

export type CertificateState =
  /** Not read yet, or not readable for now: then with a message. */
  | { readonly kind: 'pending'; readonly message?: string; readonly reason?: 'SignerUnavailable' }
  | { readonly kind: 'refused'; readonly reason: CertificateReason; readonly message: string }
  | {
      readonly kind: 'usable';
      readonly certificate: DelegationCertificate;
      readonly signer: Signer | CredentialSigner;
      /** The longest life that the signer allows, in seconds, counted from the operator's present; undefined: any. */
      readonly lifetimeCap?: () => number;
      /** Announced to follow it. */
      readonly next?: NextCertificate;
    };

export const PENDING: CertificateState = Object.freeze({ kind: 'pending' });

/** The API server has not answered for this Secret for some time. */
export const UNSEEN: CertificateState = Object.freeze({
  kind: 'pending',
  message:
    'the certificate Secret cannot be watched at the moment, so nothing is issued from what was read before: see the log of the ' +
    'operator; issuing resumes once the watch does',
});

/** Base64 takes four characters for three bytes, and may hold a line break here and there. */
const MAX_ENCODED_LENGTH = Math.ceil(PEM_LIMITS.maxBytes * 1.4);

/** `secret` is undefined where none has that name. Independent of the time: see `stateAt`. */
export async function readCertificateSecret(
  secret: CertificateSecret | undefined,
  name: string,
  signal: AbortSignal,
): Promise<CertificateState> {
  if (secret === undefined || isNeverCertificate(secret)) return notFound(name);
  const tooLarge = KEYS.find((key) => (secret.data?.[key]?.length ?? 0) > MAX_ENCODED_LENGTH);
  if (tooLarge !== undefined) {
    return refused(
      'CertificateInvalid',
      `Secret "${name}": ${tooLarge} is larger than ${PEM_LIMITS.maxBytes} bytes: keep only the leaf and its chain in tls.crt, and ` +
        'only its key in tls.key',
    );
  }
  const [chainPem, keyPem] = KEYS.map((key) => decode(secret, key));
  // The same words as for a Secret that does not exist: who may write resources may not be permitted to know of Secrets.
  if (chainPem === undefined && keyPem === undefined) return notFound(name);
  if (chainPem === undefined || keyPem === undefined) {
    return refused(
      'CertificateInvalid',
      `Secret "${name}" has no ${chainPem === undefined ? 'tls.crt' : 'tls.key'}: it needs the certificate (leaf first, then its ` +
        'chain) in tls.crt and its private key in tls.key, both PEM',
    );
  }
  try {
    const certificate = readDelegationCertificate(chainPem);
    const signer = signerFromPem(keyPem);
    await assertSignerMatches(signer, certificate, { signal });
    const next = await checkNextCertificate(
      {
        chainPem: decode(secret, NEXT_CERTIFICATE_KEY),
        keyPem: decode(secret, NEXT_KEY_KEY),
        current: certificate,
        currentKeyPem: keyPem,
      },
      signal,
    );
    return { kind: 'usable', certificate, signer, ...(next === undefined ? {} : { next }) };
  } catch (error) {
    if (error instanceof CertificateError) return refused(error.code, `Secret "${name}": ${error.message}`);
    throw error;
  }
}

/**
 * The state at `now` (seconds since the epoch): a certificate that is expired, not yet valid, or too close to its expiry for a
 * credential of the shortest lifetime, is refused.
 */
export function stateAt(state: CertificateState, now: number): CertificateState {
  if (state.kind !== 'usable') return state;
  const { certificate } = state;
  const invalid = checkCertificateValidity(certificate, now);
  if (invalid !== undefined) return refused('CertificateInvalid', invalid.message);
  if (latestExpiry(certificate) - now >= MIN_LIFETIME_SECONDS) return state;
  return refused(
    'CertificateInvalid',
    `the certificate "${certificate.subject}" expires at ${formatRfc3339(certificate.notAfter)}, too soon for another credential: renew the certificate`,
  );
}

/** When the result of `stateAt` changes next, in seconds since the epoch; undefined for never. */
export function nextStateChange(state: CertificateState, now: number): number | undefined {
  if (state.kind !== 'usable') return undefined;
  const { certificate } = state;
  const moments = [
    certificate.notBefore,
    latestExpiry(certificate) - MIN_LIFETIME_SECONDS + 1,
    certificate.notAfter + 1,
  ];
  return moments.find((moment) => moment > now);
}

/** The latest second at which a credential of this certificate may expire: strictly before notAfter, as in `expiryFor`. */
export function latestExpiry({ notAfter }: Pick<DelegationCertificate, 'notAfter'>): number {
  return notAfter - 1;
}

/** The certificate of a resource, as far as the resource may use it, and good for its usage. Ignores the clock: see `stateAt`. */
export function stateFor(
  { certificateRef, usage }: Pick<DelegatedCredentialSpec, 'certificateRef' | 'usage'>,
  ownNamespace: string,
  access: Access,
  stateOf: (secret: ObjectKey) => CertificateState,
): CertificateState {
  const { name, namespace = ownNamespace } = certificateRef;
  if (access.kind === 'pending') return PENDING;
  if (access.kind === 'refused') return notPermitted({ name, namespace }, ownNamespace, usage);
  const state = stateOf({ namespace, name });
  // A grant must not tell whether the Secret is there: not by its words, and not by when they come (see `answersAt`).
  if (access.kind === 'granted' && state.kind === 'refused' && state.reason === 'CertificateNotFound') {
    return notPermitted({ name, namespace }, ownNamespace, usage);
  }
  if (state.kind !== 'usable') return state;
  const unfit = checkCertificateUsage(state.certificate, usage);
  return unfit === undefined ? state : refused(unfit.code, `Secret "${name}": ${unfit.message}`);
}

/** The same words whether the grant or the Secret is missing. */
function notPermitted({ name, namespace }: ObjectKey, ownNamespace: string, usage: Usage): CertificateState {
  return refused(
    'CertificateNotPermitted',
    `no DelegationGrant in namespace "${namespace}" lets namespace "${ownNamespace}" use Secret "${name}" for usage ${usage}, or there ` +
      "is no such Secret: ask that namespace's owner for the grant" +
      (namespace === ownNamespace
        ? ''
        : ', or put the certificate into a Secret of this namespace and remove certificateRef.namespace'),
  );
}

export function isNeverCertificate({ metadata, type = '' }: CertificateSecret): boolean {
  return NEVER_CERTIFICATES.includes(type) || Object.hasOwn(metadata.labels ?? {}, RESOURCE_LABEL);
}

function notFound(name: string): CertificateState {
  return refused(
    'CertificateNotFound',
    `Secret "${name}" with tls.crt (leaf first) and tls.key does not exist in this namespace: create it ` +
      `(kubectl create secret tls ${name} --cert=FILE --key=FILE)`,
  );
}

/** RBAC refuses, from the beginning or from now on. */
export function notReadable({ name, namespace }: ObjectKey): CertificateState {
  return refused(
    'CertificateNotPermitted',
    `dcred has no permission to read Secret "${name}" in namespace "${namespace}": grant its service account get, list and watch on it`,
  );
}

/** An error that nobody expected; only its kind is shown, because it may quote what was read. */
export function unreadable(name: string, kind: string): CertificateState {
  return refused('CertificateInvalid', `Secret "${name}": the certificate or its key cannot be read (${kind})`);
}

export function refused(reason: CertificateReason, message: string): CertificateState {
  return { kind: 'refused', reason, message };
}

const KEYS = ['tls.crt', 'tls.key'] as const;

function decode({ data }: CertificateSecret, key: string): string | undefined {
  const value = data?.[key]?.slice(0, MAX_ENCODED_LENGTH);
  return value === undefined || value === '' ? undefined : Buffer.from(value, 'base64').toString('utf8');
}
