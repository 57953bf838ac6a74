/** Reads a certificate Secret: to a certificate and its signer, or to the reason why it cannot be used. */
import {
  checkCertificateValidity,
  type DelegationCertificate,
  readDelegationCertificate,
} from '../../credential/delegation-certificate.ts';
import { CertificateError } from '../../credential/errors.ts';
import { MIN_LIFETIME_SECONDS } from '../../credential/lifetime.ts';
import { assertSignerMatches, type Signer, signerFromPem } from '../../credential/signer.ts';
import type { KubernetesObject } from '../../kubernetes/objects.ts';
import { formatRfc3339 } from '../../text/rfc3339.ts';

export type CertificateSecret = KubernetesObject<{ readonly data?: Readonly<Record<string, string>> }>;

/** Reasons of the Ready condition that speak of the certificate. */
export type CertificateReason =
  | 'CertificateNotFound'
  | 'CertificateNotPermitted'
  | 'CertificateInvalid'
  | 'CertificateCannotDelegate'
  | 'CertificateKeyUnsupported';

export type CertificateState =
  /** Not read yet. */
  | { readonly kind: 'pending' }
  | { readonly kind: 'refused'; readonly reason: CertificateReason; readonly message: string }
  | { readonly kind: 'usable'; readonly certificate: DelegationCertificate; readonly signer: Signer };

export const PENDING: CertificateState = Object.freeze({ kind: 'pending' });

/** `secret` is undefined where none has that name. Independent of the time: see `stateAt`. */
export async function readCertificateSecret(
  secret: CertificateSecret | undefined,
  name: string,
  signal: AbortSignal,
): Promise<CertificateState> {
  if (secret === undefined) {
    return refused(
      'CertificateNotFound',
      `Secret "${name}" does not exist in this namespace: create it with tls.crt (leaf first) and tls.key ` +
        `(kubectl create secret tls ${name} --cert=FILE --key=FILE)`,
    );
  }
  const chainPem = decode(secret, 'tls.crt');
  const keyPem = decode(secret, 'tls.key');
  const missing = [chainPem === undefined ? 'tls.crt' : '', keyPem === undefined ? 'tls.key' : ''].filter(Boolean);
  if (chainPem === undefined || keyPem === undefined) {
    return refused(
      'CertificateInvalid',
      `Secret "${name}" has no ${missing.join(' and no ')}: it needs the certificate (leaf first, then its chain) in tls.crt and ` +
        'its private key in tls.key, both PEM',
    );
  }
  try {
    const certificate = readDelegationCertificate(chainPem);
    const signer = signerFromPem(keyPem);
    await assertSignerMatches(signer, certificate, { signal });
    return { kind: 'usable', certificate, signer };
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

export function refused(reason: CertificateReason, message: string): CertificateState {
  return { kind: 'refused', reason, message };
}

function decode({ data }: CertificateSecret, key: string): string | undefined {
  const value = data?.[key];
  return value === undefined || value === '' ? undefined : Buffer.from(value, 'base64').toString('utf8');
}
