/** How long a credential may live (RFC 9345 section 4.1.3), and when it expires. Pure. */
import { formatRfc3339 } from '../text/rfc3339.ts';
import type { Certificate } from './certificate.ts';
import { checkCertificateValidity } from './delegation-certificate.ts';
import { CertificateError } from './errors.ts';

/** The most that may remain of a credential's life, ever (RFC 9345 section 4.1.3). */
export const MAX_VALIDITY_SECONDS = 604_800;
/** A peer whose clock is behind sees a longer remaining life; this much of it is allowed for. */
export const CLOCK_SKEW_SECONDS = 3_600;
export const MAX_LIFETIME_SECONDS = MAX_VALIDITY_SECONDS - CLOCK_SKEW_SECONDS;
/** Shorter than this, a credential would be gone before a pod could load it. */
export const MIN_LIFETIME_SECONDS = 60;

/** valid_time is a u32 that counts seconds from the certificate's notBefore. */
const MAX_VALID_TIME = 0xffff_ffff;

export interface ExpiryRequest {
  readonly certificate: Pick<Certificate, 'subject' | 'notBefore' | 'notAfter'>;
  readonly lifetimeSeconds: number;
  /** Seconds since the epoch. */
  readonly now: number;
}

/**
 * When a credential issued now expires, in seconds since the epoch: after its lifetime, or one second before the certificate's
 * notAfter where that is earlier. A credential expires strictly before its certificate, so that no peer ever sees one without
 * the other.
 * Throws CertificateError (`CertificateInvalid`) when the certificate is not valid now, leaves less than MIN_LIFETIME_SECONDS, or
 * is too old for valid_time; and RangeError for
 * a lifetime outside MIN_LIFETIME_SECONDS..MAX_LIFETIME_SECONDS.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { expiryFor } from 'dcred/credential';
 *
 * const certificate = { subject: 'CN=web.example', notBefore: 0, notAfter: 100_000 };
 * assert.equal(expiryFor({ certificate, lifetimeSeconds: 3_600, now: 1_000 }), 4_600);
 * assert.equal(expiryFor({ certificate, lifetimeSeconds: 3_600, now: 99_000 }), 99_999);
 */
export function expiryFor({ certificate, lifetimeSeconds, now }: ExpiryRequest): number {
  if (
    !Number.isInteger(lifetimeSeconds) ||
    lifetimeSeconds < MIN_LIFETIME_SECONDS ||
    lifetimeSeconds > MAX_LIFETIME_SECONDS
  ) {
    throw new RangeError(
      `a credential's lifetime is ${MIN_LIFETIME_SECONDS} to ${MAX_LIFETIME_SECONDS} seconds; got ${lifetimeSeconds}`,
    );
  }
  const invalid = checkCertificateValidity(certificate, now);
  if (invalid !== undefined) throw invalid;
  const expiry = Math.min(now + lifetimeSeconds, certificate.notAfter - 1);
  if (expiry - certificate.notBefore > MAX_VALID_TIME) {
    throw new CertificateError(
      'CertificateInvalid',
      `the certificate "${certificate.subject}" has been valid since ${formatRfc3339(certificate.notBefore)}, longer than valid_time ` +
        'can count (136 years): renew it',
    );
  }
  if (expiry - now >= MIN_LIFETIME_SECONDS) return expiry;
  throw new CertificateError(
    'CertificateInvalid',
    `the certificate "${certificate.subject}" expires at ${formatRfc3339(certificate.notAfter)}, too soon for a credential of at ` +
      `least ${MIN_LIFETIME_SECONDS} seconds: renew it`,
  );
}
