/**
 * With shards: the users of our grants whose own namespaces other replicas serve. The status of a grant counts all of its users, and is
 * written by the replica that serves the grant's namespace. Of a user elsewhere it sees what the other replica writes into its status.
 */
import { isReadable } from '../../api/read.ts';
import { certificateOf } from '../../grant/request.ts';
import { formatObjectKey, parseObjectKey } from '../../issued-secret/names.ts';
import type { Resource } from '../caches.ts';
import type { Certificates } from '../certificates/certificates.ts';
import { OWN } from '../core/access.ts';
import type { GrantController } from './grant-controller.ts';

export interface ForeignUsersOptions {
  readonly resources: {
    get(namespace: string, name: string): Resource | undefined;
    values(): Iterable<Resource>;
  };
  readonly serves: (namespace: string) => boolean;
  readonly certificates: Pick<Certificates, 'access' | 'follow'>;
  readonly grants: Pick<GrantController, 'used'>;
}

export class ForeignUsers {
  readonly #options: ForeignUsersOptions;
  /** Keys of the resources that are followed here and served elsewhere. */
  readonly #followed = new Set<string>();

  constructor(options: ForeignUsersOptions) {
    this.#options = options;
  }

  /** The resource, or what it may do with its certificate, may have changed. Its own controller calls the same where it is served here. */
  changed(key: string): void {
    const { certificates, grants, resources, serves } = this.#options;
    const { name, namespace } = parseObjectKey(key);
    if (serves(namespace)) {
      this.#followed.delete(key);
      return;
    }
    const value = resources.get(namespace, name)?.value;
    if (value !== undefined && isReadable(value) && serves(certificateOf(value).namespace)) {
      this.#followed.add(key);
      certificates.follow(key, value);
      grants.used(key, certificates.access(value), value.status.pods?.issued ?? 0);
    } else if (this.#followed.delete(key)) {
      certificates.follow(key, undefined);
      grants.used(key, OWN, 0);
    }
  }

  /** Other namespaces are served here than before, and what was served here is released. */
  refresh(): void {
    for (const key of [...this.#followed]) this.changed(key);
    for (const resource of this.#options.resources.values()) this.changed(formatObjectKey(resource));
  }
}
