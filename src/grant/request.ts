/** What a DelegatedCredential asks for, as a question of grants. Pure. */
import type { DelegatedCredentialResource } from '../api/delegated-credential.ts';
import type { GrantRequest } from './decide.ts';

/** Of a DelegatedCredential, what refers to a certificate. */
export interface Referrer {
  readonly metadata: Pick<DelegatedCredentialResource['metadata'], 'namespace'>;
  readonly spec: DelegatedCredentialResource['spec'];
}

/** Whether a grant decides on the use of the certificate. */
export function needsGrant(
  resource: Referrer,
  { requireGrant }: { /** Also in its own namespace. */ readonly requireGrant: boolean },
): boolean {
  return requireGrant || certificateOf(resource).namespace !== resource.metadata.namespace;
}

/** The Secret that a resource refers to. */
export function certificateOf({ metadata, spec }: Referrer): GrantRequest['certificate'] {
  const { name, namespace = metadata.namespace } = spec.certificateRef;
  return { namespace, name };
}

export function requestOf(resource: Referrer, consumer: GrantRequest['consumer']): GrantRequest {
  const { lifetimeSeconds, usage } = resource.spec;
  return { certificate: certificateOf(resource), usage, consumer, lifetimeSeconds };
}
