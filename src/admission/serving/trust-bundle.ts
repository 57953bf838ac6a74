/** The authorities that the API server trusts for this webhook: `caBundle` of its configuration. */
import { X509Certificate } from 'node:crypto';

/** How the common name of every authority of ours begins. */
export const AUTHORITY_NAME = 'dcred webhook CA';

const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
/** Each lives for a whole certificate's life and is replaced at two thirds of it, so that two are the rule. */
const MAX_AUTHORITIES = 4;

export interface Authority {
  /** SHA-256. */
  readonly id: string;
  readonly pem: string;
  /** Milliseconds since the epoch. */
  readonly notAfter: number;
}

/** The authorities in a PEM text. Whatever else is in it is passed over. */
export function readBundle(text: string): readonly Authority[] {
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
 * The bundle as it should be: `needed`, and of those that are in it already the ones that have not expired, for another replica
 * may still serve a leaf of theirs. They can stay until then: their keys exist no more, and so there will be no other leaf.
 */
export function mergeBundle(
  present: readonly Authority[],
  needed: readonly Pick<Authority, 'id' | 'pem'>[],
  now: number,
): string {
  const wanted = new Map(needed.map(({ id, pem }) => [id, pem.trim()]));
  const kept = present.filter(({ id, notAfter }) => notAfter > now && !wanted.has(id));
  kept.sort((a, b) => b.notAfter - a.notAfter);
  const room = Math.max(0, MAX_AUTHORITIES - wanted.size);
  for (const { id, pem } of kept.slice(0, room)) wanted.set(id, pem.trim());
  // In one order, whoever writes it.
  const sorted = [...wanted].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([, pem]) => `${pem}\n`).join('');
}
