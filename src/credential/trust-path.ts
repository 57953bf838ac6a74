import { X509Certificate } from 'node:crypto';
import type { Certificate } from './certificate.ts';

/** The deepest chain that is followed; real ones have two to four certificates. */
const MAX_DEPTH = 8;

/**
 * The path from a leaf to one of `roots`, over `intermediates`, every certificate on it valid at `now` (seconds since the epoch);
 * undefined when there is none. Checks names, signatures, validity and that issuers are CAs; not path lengths, name
 * constraints or revocation: it answers "did this CA issue it", not "would a browser trust it".
 */
export function findTrustPath(
  leaf: Certificate,
  intermediates: readonly Certificate[],
  roots: readonly Certificate[],
  now: number,
): readonly Certificate[] | undefined {
  return extend([leaf], { intermediates, roots, now });
}

interface Candidates {
  readonly intermediates: readonly Certificate[];
  readonly roots: readonly Certificate[];
  readonly now: number;
}

function extend(path: readonly Certificate[], candidates: Candidates): readonly Certificate[] | undefined {
  const last = path.at(-1);
  if (last === undefined || path.length > MAX_DEPTH || !isValid(last, candidates.now)) return undefined;
  if (candidates.roots.some((root) => root.sha256 === last.sha256)) return path;
  for (const issuer of [...candidates.roots, ...candidates.intermediates]) {
    if (path.some((passed) => passed.sha256 === issuer.sha256) || !issued(issuer, last)) continue;
    const found = extend([...path, issuer], candidates);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isValid({ notAfter, notBefore }: Certificate, now: number): boolean {
  return notBefore <= now && now <= notAfter;
}

function issued(issuer: Certificate, subject: Certificate): boolean {
  if (!issuer.authority) return false;
  const certificate = new X509Certificate(subject.der);
  return certificate.checkIssued(new X509Certificate(issuer.der)) && certificate.verify(issuer.publicKey);
}
