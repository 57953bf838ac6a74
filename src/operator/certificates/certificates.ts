/** Where the certificates of resources come from: Secrets that the operator reads itself, or a signer that holds their keys. */
import type { Referrer } from '../../grant/request.ts';
import type { Access } from '../core/access.ts';
import type { CertificateState } from '../core/certificate-state.ts';

/** Questions to the keeper of the grants (the API server or the signer) before something is done that cannot be undone. */
export interface GrantProof {
  /**
   * The resource may still have the credential that was made for it on these terms.
   * @param resource with the lifetime that the terms permit
   * @throws StaleCacheError where it may not
   */
  holds(access: Extract<Access, { kind: 'granted' }>, resource: Referrer, signal: AbortSignal): Promise<void>;
  /**
   * Whether the resource has no permission to use its certificate any more. No answer, or one from who cannot know, proves nothing.
   * @param leafSha256 of the certificate that the issued Secret stands on
   */
  isWithdrawn(resource: Referrer, signal: AbortSignal, leafSha256?: string): Promise<boolean>;
}

export interface Certificates {
  /** Follows what a resource refers to; undefined when the resource is gone. */
  follow(resourceKey: string, resource: Referrer | undefined): void;
  /** Whether the resource may use its certificate, and on which terms. */
  access(resource: Referrer): Access;
  /** The certificate of a resource, as far as the resource may use it. Ignores the clock: see `stateAt`. */
  resolve(resource: Referrer): CertificateState;
  /** Resolves when nothing is followed any more, after the signal. */
  ended(): Promise<void>;
}
