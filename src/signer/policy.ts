/** Whether a credential may be signed: grants, RFC 9345's limits and the signer's own. Pure; asked again for every credential. */
import { checkCertificateValidity, type DelegationCertificate } from '../credential/delegation-certificate.ts';
import { MAX_LIFETIME_SECONDS } from '../credential/lifetime.ts';
import { schemeBySubjectPublicKeyInfo, type Usage } from '../credential/scheme.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import type { RefusalReason, SignRequest } from './protocol.ts';

/** Which pods may have credentials of a certificate: the same words as the custom resource DelegationGrant. */
export interface Grant {
  readonly certificate: string;
  /** Any of them. */
  readonly from: readonly GrantSource[];
  readonly usages: readonly Usage[];
  /** Undefined: as long as RFC 9345 and the signer allow. */
  readonly maxLifetimeSeconds: number | undefined;
}

/** What is left out matches all. */
interface GrantSource {
  readonly cluster?: string;
  readonly namespace?: string;
}

export interface PolicyInput {
  readonly request: SignRequest;
  /** The cluster of the client that asks, from its credentials. */
  readonly cluster: string;
  readonly grants: readonly Grant[];
  /** Undefined: there is none of that name. */
  readonly certificate: DelegationCertificate | undefined;
  /** The signer's own cap. */
  readonly maxLifetimeSeconds: number;
  /** Seconds since the epoch. */
  readonly now: number;
}

export type Decision = { readonly ok: true; readonly certificate: DelegationCertificate } | Refusal;

export interface Refusal {
  readonly ok: false;
  readonly reason: RefusalReason;
  readonly message: string;
}

/** The same words whether the certificate or the grant is missing. */
export const NOT_PERMITTED: Refusal = Object.freeze({
  ok: false,
  reason: 'NotPermitted',
  message: 'no grant allows this namespace to use such a certificate: ask its owner for a grant',
});

/** An ordered list of guards; the first that fails gives the reason. */
export function decide(input: PolicyInput): Decision {
  const { certificate, request } = input;
  const grants = grantsFor(input);
  if (grants.length === 0 || certificate === undefined) return NOT_PERMITTED;
  const invalid = checkCertificateValidity(certificate, input.now);
  if (invalid !== undefined) return refuse('CertificateInvalid', invalid.message);
  const scheme = schemeBySubjectPublicKeyInfo(request.subjectPublicKeyInfo);
  if (scheme === undefined || scheme.code !== request.dcCertVerifyAlgorithm) {
    return refuse('PublicKeyUnsupported', 'the public key is not of the kind that dcCertVerifyAlgorithm names');
  }
  const lifetime = checkLifetime(input, certificate, longestLifetime(grants, input.maxLifetimeSeconds));
  if (lifetime !== undefined) return lifetime;
  return { ok: true, certificate };
}

/** Whether a client may read the public certificate: it may have credentials of it in some namespace of its own cluster. */
export function mayRead(grants: readonly Grant[], certificate: string, cluster: string): boolean {
  return grants.some(
    (grant) =>
      grant.certificate === certificate && grant.from.some((source) => (source.cluster ?? cluster) === cluster),
  );
}

function grantsFor({ cluster, grants, request }: PolicyInput): readonly Grant[] {
  return grants.filter(
    (grant) =>
      grant.certificate === request.certificate &&
      grant.usages.includes(request.usage) &&
      grant.from.some(
        (source) =>
          (source.cluster ?? cluster) === cluster && (source.namespace ?? request.namespace) === request.namespace,
      ),
  );
}

/** Of several grants that cover a request, the most generous counts: each of them alone would allow it. */
function longestLifetime(grants: readonly Grant[], own: number): number {
  const granted = Math.max(...grants.map(({ maxLifetimeSeconds }) => maxLifetimeSeconds ?? MAX_LIFETIME_SECONDS));
  return Math.min(granted, own, MAX_LIFETIME_SECONDS);
}

function checkLifetime(
  { now, request: { expiresAt } }: PolicyInput,
  certificate: DelegationCertificate,
  longest: number,
): Refusal | undefined {
  if (expiresAt <= now)
    return refuse('LifetimeNotAllowed', `the expiry ${formatRfc3339(expiresAt)} is not in the future`);
  if (expiresAt - now > longest) {
    return refuse('LifetimeNotAllowed', `a life of ${expiresAt - now} s exceeds the ${longest} s that are allowed`);
  }
  if (expiresAt >= certificate.notAfter) {
    const end = formatRfc3339(certificate.notAfter);
    return refuse('LifetimeNotAllowed', `the credential would outlive its certificate, which expires at ${end}`);
  }
  return undefined;
}

function refuse(reason: RefusalReason, message: string): Refusal {
  return { ok: false, reason, message };
}
