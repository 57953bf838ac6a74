/** Whether a credential may be signed: grants, RFC 9345's limits and the signer's own. Pure; asked again for every credential. */
import { checkCertificateValidity, type DelegationCertificate } from '../credential/delegation-certificate.ts';
import { MAX_LIFETIME_SECONDS } from '../credential/lifetime.ts';
import { schemeBySubjectPublicKeyInfo, type Usage } from '../credential/scheme.ts';
import { isUsableKey } from '../credential/usable-key.ts';
import { type Terms, undominated } from '../grant/decide.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import type { RefusalReason, SignRequest } from './protocol.ts';

/** Which pods may have credentials of a certificate: the same words as the custom resource DelegationGrant. */
export interface SignerGrant {
  readonly certificate: string;
  /** Any of them. */
  readonly from: readonly GrantSource[];
  readonly usages: readonly Usage[];
  /** Undefined: as long as RFC 9345 and the signer allow. */
  readonly maxLifetimeSeconds: number | undefined;
  /** Of one DelegatedCredential. The operator counts them; omitted: any number. */
  readonly maxPods?: number | undefined;
  /** What the operator does with issued Secrets once nothing covers them any more; omitted: keeps them. */
  readonly onWithdraw?: 'Keep' | 'Delete' | undefined;
}

/** Who wants to use which certificate. */
export interface GrantQuestion {
  readonly certificate: string;
  readonly usage: Usage;
  /** The client's, from its credentials. */
  readonly cluster: string;
  /** Of the pods. */
  readonly namespace: string;
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
  readonly grants: readonly SignerGrant[];
  /** Whether the signer should have one of that name, usable or not. */
  readonly isConfigured: boolean;
  /** Undefined: it cannot be used now. */
  readonly certificate: DelegationCertificate | undefined;
  /** The signer's own cap. */
  readonly maxLifetimeSeconds: number;
  /** Seconds since the epoch. */
  readonly now: number;
}

export type PolicyDecision = { readonly ok: true; readonly certificate: DelegationCertificate } | PolicyRefusal;

export interface PolicyRefusal {
  readonly ok: false;
  readonly reason: RefusalReason;
  readonly message: string;
}

/** The same words whether the certificate or the grant is missing. */
export const NOT_PERMITTED: PolicyRefusal = Object.freeze({
  ok: false,
  reason: 'NotPermitted',
  message: 'no grant allows this namespace to use such a certificate: ask its owner for a grant',
});

/** To a client with a grant: a signer that restarts must not look like an owner who withdraws. */
const NOT_USABLE: PolicyRefusal = Object.freeze({
  ok: false,
  reason: 'SigningFailed',
  message: 'the signer cannot use the certificate now, its log says why: try again',
});

/** An ordered list of guards; the first that fails gives the reason. */
export function decideRequest(input: PolicyInput): PolicyDecision {
  const { certificate, request } = input;
  const [longest] = termsOf(input.grants, { ...request, cluster: input.cluster }, input.maxLifetimeSeconds);
  if (longest === undefined || !input.isConfigured) return NOT_PERMITTED;
  if (certificate === undefined) return NOT_USABLE;
  const invalid = checkCertificateValidity(certificate, input.now);
  if (invalid !== undefined) return refuse('CertificateInvalid', invalid.message);
  const scheme = schemeBySubjectPublicKeyInfo(request.subjectPublicKeyInfo);
  if (scheme === undefined || scheme.code !== request.dcCertVerifyAlgorithm) {
    return refuse('PublicKeyUnsupported', 'the public key is not of the kind that dcCertVerifyAlgorithm names');
  }
  if (!isUsableKey(request.subjectPublicKeyInfo, scheme)) {
    return refuse('PublicKeyUnsupported', 'the public key is not a point on its curve');
  }
  const lifetime = checkLifetime(input, certificate, longest.lifetimeSeconds);
  if (lifetime !== undefined) return lifetime;
  return { ok: true, certificate };
}

/** Whether a client may read the public certificate: it may have credentials of it in some namespace of its own cluster. */
export function mayRead(grants: readonly SignerGrant[], certificate: string, cluster: string): boolean {
  return grants.some(
    (grant) =>
      grant.certificate === certificate && grant.from.some((source) => (source.cluster ?? cluster) === cluster),
  );
}

/**
 * The terms of the grants that cover a use, the longest lifetime first: each of them alone permits it. Which one is the most generous
 * depends on the lifetime that is wanted, so all are given that may be. Empty where no grant covers the use.
 * @param cap the signer's own, in seconds
 */
export function termsOf(grants: readonly SignerGrant[], question: GrantQuestion, cap: number): readonly Terms[] {
  const all = grants
    .filter((grant) => grantCovers(grant, question))
    .map(({ maxLifetimeSeconds = MAX_LIFETIME_SECONDS, maxPods, onWithdraw = 'Keep' }) => ({
      lifetimeSeconds: Math.min(maxLifetimeSeconds, cap, MAX_LIFETIME_SECONDS),
      maxPods,
      onWithdraw,
    }));
  return undominated(all);
}

export function grantCovers({ certificate, from, usages }: SignerGrant, question: GrantQuestion): boolean {
  if (certificate !== question.certificate || !usages.includes(question.usage)) return false;
  return from.some(
    ({ cluster = question.cluster, namespace = question.namespace }) =>
      cluster === question.cluster && namespace === question.namespace,
  );
}

function checkLifetime(
  { now, request: { expiresAt } }: PolicyInput,
  certificate: DelegationCertificate,
  longest: number,
): PolicyRefusal | undefined {
  if (expiresAt <= now)
    return refuse('LifetimeNotAllowed', `the expiry ${formatRfc3339(expiresAt)} is not in the future`);
  if (expiresAt - now > longest) {
    return refuse(
      'LifetimeNotAllowed',
      `a life of ${expiresAt - now} s exceeds the ${longest} s that are allowed; the signer's clock says ${formatRfc3339(now)}: compare it with yours`,
    );
  }
  if (expiresAt >= certificate.notAfter) {
    const end = formatRfc3339(certificate.notAfter);
    return refuse('LifetimeNotAllowed', `the credential would outlive its certificate, which expires at ${end}`);
  }
  return undefined;
}

function refuse(reason: RefusalReason, message: string): PolicyRefusal {
  return { ok: false, reason, message };
}
