/** Finds the way from a leaf to a trusted certificate. Pure. */
import { X509Certificate } from 'node:crypto';
import type { Certificate } from './certificate.ts';

/** The deepest chain that is followed; real ones have two to four certificates. */
const MAX_DEPTH = 8;

/**
 * The shortest path from a leaf to one of `roots`, over `intermediates`, every certificate on it valid at `now` (seconds since the
 * epoch); undefined when there is none. Checks names, signatures, validity and that issuers are CAs; not path lengths, name
 * constraints or revocation: it answers "did this CA issue it", not "would a browser trust it". Looks at every certificate once,
 * however they are cross-signed: O(certificates squared) comparisons of names, and signatures only where those match.
 */
export function findTrustPath(
  leaf: Certificate,
  intermediates: readonly Certificate[],
  roots: readonly Certificate[],
  now: number,
): readonly Certificate[] | undefined {
  const trusted = new Set(roots.map(({ sha256 }) => sha256));
  const issuers = [...roots.filter(isTrustAnchor), ...intermediates.filter(({ authority }) => authority)].map(
    (certificate) => ({ certificate, x509: new X509Certificate(certificate.der) }),
  );
  const seen = new Set([leaf.sha256]);
  let paths: readonly (readonly [Certificate, ...Certificate[]])[] = [[leaf]];
  for (let depth = 0; depth <= MAX_DEPTH; depth += 1) {
    // The certificate that was reached last comes first.
    const valid = paths.filter(([{ notAfter, notBefore }]) => notBefore <= now && now <= notAfter);
    const found = valid.find(([last]) => trusted.has(last.sha256));
    if (found !== undefined) return found.toReversed();
    paths = valid.flatMap((path) => {
      const subject = new X509Certificate(path[0].der);
      return issuers.flatMap(({ certificate, x509 }) => {
        if (seen.has(certificate.sha256) || !issued(certificate, x509, subject)) return [];
        seen.add(certificate.sha256);
        return [[certificate, ...path] as const];
      });
    });
  }
  return undefined;
}

/**
 * A CA, or a self-issued certificate of version 1, which cannot say that it is one: OpenSSL, BoringSSL and NSS trust such a root,
 * and none of them such an intermediate.
 */
function isTrustAnchor({ authority, der, version }: Certificate): boolean {
  if (authority || version !== 1) return authority;
  const x509 = new X509Certificate(der);
  return x509.checkIssued(x509);
}

function issued({ publicKey }: Certificate, issuer: X509Certificate, subject: X509Certificate): boolean {
  return subject.checkIssued(issuer) && subject.verify(publicKey);
}
