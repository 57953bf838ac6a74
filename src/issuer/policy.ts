/** What an issuer signs: names, usages and life. Pure. */
import type { Usage } from '../credential/scheme.ts';
import { printable } from '../text/printable.ts';
import { CsrError } from './read-csr.ts';

/** Of a CertificateRequest (cert-manager.io/v1). */
export interface RequestTerms {
  readonly isCA: boolean;
  readonly usages: readonly string[];
  /** Seconds; undefined: the issuer's own. 0 where what is requested is no duration of Go, or less than a second. */
  readonly durationSeconds: number | undefined;
}

export interface IssuerTerms {
  readonly dnsNames?: readonly string[] | undefined;
  readonly maxDurationSeconds: number;
}

/** The CA's certificate, as far as it bounds what it signs. */
export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface SigningPlan extends Validity {
  readonly usages: readonly Usage[];
}

/** Clients whose clock is behind accept it too. */
const BACKDATED_SECONDS = 300;
/** A certificate that expires sooner would be renewed without pause. */
export const MIN_DURATION_SECONDS = 3_600;
/** What an end-entity certificate has no use for, and what would make it a CA. */
const REFUSED_USAGES: ReadonlySet<string> = new Set(['cert sign', 'crl sign', 'ocsp signing', 'any']);

/** Throws CsrError for what is never signed. `now` in seconds. */
export function planCertificate(options: {
  readonly dnsNames: readonly string[];
  readonly request: RequestTerms;
  readonly issuer: IssuerTerms;
  readonly authority: Validity;
  readonly now: number;
}): SigningPlan {
  const { authority, dnsNames, issuer, now, request } = options;
  if (request.isCA) throw new CsrError('the request is for a CA: set isCA to false in the Certificate');
  const refused = request.usages.find((usage) => REFUSED_USAGES.has(usage));
  if (refused !== undefined)
    throw new CsrError(`the usage "${printable(refused, 40)}" is not for a delegation certificate: remove it`);
  const forbidden = dnsNames.find((name) => !isAllowed(name, issuer.dnsNames));
  if (forbidden !== undefined) {
    throw new CsrError(
      `the issuer's dnsNames do not allow the name "${printable(forbidden, 253)}": request another name, or add it to the issuer`,
    );
  }
  const wanted = request.durationSeconds ?? issuer.maxDurationSeconds;
  if (wanted < MIN_DURATION_SECONDS) throw new CsrError('duration must be 1h or longer, such as 2160h');
  const notBefore = Math.max(now - BACKDATED_SECONDS, authority.notBefore);
  const notAfter = Math.min(now + Math.min(wanted, issuer.maxDurationSeconds), authority.notAfter);
  return { notBefore, notAfter, usages: usagesOf(request.usages) };
}

/** cert-manager's words. Without either, a server's. */
function usagesOf(usages: readonly string[]): readonly Usage[] {
  const sides = [
    ...(usages.includes('server auth') ? (['Server'] as const) : []),
    ...(usages.includes('client auth') ? (['Client'] as const) : []),
  ];
  return sides.length === 0 ? ['Server'] : sides;
}

/** `*.a.b`: one label more, or that very wildcard. `.a.b`: any number of labels more. Else the name itself. */
export function isAllowed(name: string, patterns: readonly string[] | undefined): boolean {
  if (patterns === undefined) return true;
  return patterns.some((pattern) => {
    if (pattern.startsWith('.')) return name.endsWith(pattern) && name.length > pattern.length;
    if (!pattern.startsWith('*.')) return name === pattern;
    const rest = pattern.slice(1);
    return name.endsWith(rest) && name.length > rest.length && !name.slice(0, -rest.length).includes('.');
  });
}
