/** Certificates that the operator reads itself, each only for as long as a resource may use it. */
import { certificateOf, type Referrer } from '../../grant/request.ts';
import type { CertificateWatcher } from '../certificates/certificate-watcher.ts';
import type { Certificates } from '../certificates/certificates.ts';
import type { Access } from '../core/access.ts';
import { type CertificateState, stateFor } from '../core/certificate-state.ts';
import type { Grants } from './grants.ts';

export class GrantedCertificates implements Certificates {
  readonly #watcher: CertificateWatcher;
  readonly #grants: Grants;

  constructor(watcher: CertificateWatcher, grants: Grants) {
    this.#watcher = watcher;
    this.#grants = grants;
  }

  /** A Secret that may not be used is not read either; one that may not be used any more is dropped from memory. */
  follow(resourceKey: string, resource: Referrer | undefined): void {
    this.#grants.follow(resourceKey, resource);
    const mayRead = resource !== undefined && ['own', 'granted'].includes(this.access(resource).kind);
    this.#watcher.refer(resourceKey, mayRead ? certificateOf(resource) : undefined);
  }

  access(resource: Referrer): Access {
    return this.#grants.decide(resource);
  }

  resolve(resource: Referrer): CertificateState {
    const { metadata, spec } = resource;
    return stateFor(spec, metadata.namespace, this.access(resource), (secret) => this.#watcher.state(secret));
  }

  async ended(): Promise<void> {
    await Promise.all([this.#watcher.ended(), this.#grants.ended()]);
  }
}
