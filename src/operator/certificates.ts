/** Where the certificates of resources come from: Secrets that the operator reads itself, or a signer that holds their keys. */
import type { DelegatedCredentialResource } from '../api/delegated-credential.ts';
import type { CertificateState } from './core/certificate-state.ts';

export type Referrer = Pick<DelegatedCredentialResource, 'metadata' | 'spec'>;

export interface Certificates {
  /** Follows what a resource refers to; undefined when the resource is gone. */
  follow(resourceKey: string, resource: Referrer | undefined): void;
  /** The certificate of a resource, as far as the resource may use it. Ignores the clock: see `stateAt`. */
  resolve(resource: Referrer): CertificateState;
  /** Resolves when nothing is followed any more, after the signal. */
  ended(): Promise<void>;
}
