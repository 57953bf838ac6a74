/** The CAs that the API server trusts for this webhook: `caBundle` of its configuration. */
import { X509Certificate } from 'node:crypto';

/** Prefix of the common name of each of our CAs. */
export const AUTHORITY_NAME = 'dcred webhook CA';

const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
/** Each lives as long as its leaf and is replaced after two thirds of that, so two are usual. */
const MAX_AUTHORITIES = 4;

export interface TrustedAuthority {
  /** SHA-256. */
  readonly id: string;
  readonly pem: string;
  /** Milliseconds since the epoch. */
  readonly notAfter: number;
}

/** Our CAs in a PEM text. Anything else in it is skipped. */
export function readBundle(text: string): readonly TrustedAuthority[] {
  return (text.match(PEM) ?? []).flatMap((pem) => {
    try {
      const certificate = new X509Certificate(pem);
      const isOurs = certificate.ca && certificate.subject.startsWith(`CN=${AUTHORITY_NAME}`);
      if (!isOurs) return [];
      return [{ id: certificate.fingerprint256, pem, notAfter: certificate.validToDate.getTime() }];
    } catch {
      return [];
    }
  });
}

/**
 * The desired bundle: `needed`, and those present that have not expired, because another replica may still serve a leaf of theirs.
 * They are safe to keep until then: their keys are gone, so they sign no other leaf.
 */
export function mergeBundle(
  present: readonly TrustedAuthority[],
  needed: readonly Pick<TrustedAuthority, 'id' | 'pem'>[],
  now: number,
): string {
  const wanted = new Map(needed.map(({ id, pem }) => [id, pem.trim()]));
  const kept = present.filter(({ id, notAfter }) => notAfter > now && !wanted.has(id));
  kept.sort((a, b) => b.notAfter - a.notAfter);
  const room = Math.max(0, MAX_AUTHORITIES - wanted.size);
  for (const { id, pem } of kept.slice(0, room)) wanted.set(id, pem.trim());
  // Sorted, so that all replicas write the same bytes.
  const sorted = [...wanted].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([, pem]) => `${pem}\n`).join('');
}
