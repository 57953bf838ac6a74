/** Where the certificates of resources come from: Secrets that the operator reads itself, or a signer that holds their keys. */
import type { DelegatedCredentialResource } from '../api/delegated-credential.ts';
import type { Access } from './core/access.ts';
import type { CertificateState } from './core/certificate-state.ts';

export interface Referrer {
  readonly metadata: Pick<DelegatedCredentialResource['metadata'], 'namespace'>;
  readonly spec: DelegatedCredentialResource['spec'];
}

export interface Certificates {
  /** Follows what a resource refers to; undefined when the resource is gone. */
  follow(resourceKey: string, resource: Referrer | undefined): void;
  /** Whether the resource may use its certificate, and on which terms. `OWN` where that is decided elsewhere. */
  access(resource: Referrer): Access;
  /** The certificate of a resource, as far as the resource may use it. Ignores the clock: see `stateAt`. */
  resolve(resource: Referrer): CertificateState;
  /** Resolves when nothing is followed any more, after the signal. */
  ended(): Promise<void>;
}
