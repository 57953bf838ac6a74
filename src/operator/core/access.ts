/** What a resource may do with the certificate that it refers to, by the grants that are known. Pure. */
import type { DelegatedCredentialSpec } from '../../api/delegated-credential.ts';
import type { DelegationGrantResource } from '../../api/delegation-grant.ts';
import type { Terms } from '../../grant/decide.ts';

export type Access =
  /** No grant is needed. */
  | { readonly kind: 'own' }
  /** The grants, or the labels of the namespace, are not known yet. */
  | { readonly kind: 'pending' }
  | { readonly kind: 'refused' }
  | { readonly kind: 'granted'; readonly terms: AccessTerms };

interface AccessTerms extends Terms {
  /** Undefined: the signer decided, which does not name the grant. */
  readonly grant?: DelegationGrantResource | undefined;
}

export const OWN: Access = Object.freeze({ kind: 'own' });

/** The resource as it may be carried out: the very same object where its terms change nothing. */
export function underTerms<R extends { readonly spec: DelegatedCredentialSpec }>(resource: R, access: Access): R {
  const spec = specUnderTerms(resource.spec, access);
  return spec === resource.spec ? resource : { ...resource, spec };
}

/**
 * With the smaller one of the two lifetimes, and a renewal that comes as early in it, as a share
 * of the lifetime, as the resource wants it.
 */
function specUnderTerms(spec: DelegatedCredentialSpec, access: Access): DelegatedCredentialSpec {
  if (access.kind !== 'granted') return spec;
  const { lifetimeSeconds } = access.terms;
  if (lifetimeSeconds >= spec.lifetimeSeconds) return spec;
  const { renewBeforeSeconds } = spec;
  if (renewBeforeSeconds === undefined) return { ...spec, lifetimeSeconds };
  const scaled = Math.floor((renewBeforeSeconds * lifetimeSeconds) / spec.lifetimeSeconds);
  return { ...spec, lifetimeSeconds, renewBeforeSeconds: Math.max(1, scaled) };
}

/** Equal where nothing that a pod depends on differs. */
export function termsKey(access: Access): string {
  if (access.kind !== 'granted') return access.kind;
  const { lifetimeSeconds, maxPods, onWithdraw } = access.terms;
  return [lifetimeSeconds, maxPods, onWithdraw].join();
}
