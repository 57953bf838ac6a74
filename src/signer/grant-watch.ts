/**
 * DelegationGrants of the signer's own cluster: those in the namespaces of its certificates, where only a certificate's owner writes.
 * Decided by the same function as in the operator. A certificate's own namespace needs a grant too: what runs beside a guarded key
 * gets no credential by being there.
 */
import { isReadableGrant, readDelegationGrant } from '../api/read-grant.ts';
import { DELEGATION_GRANTS } from '../api/resource-types.ts';
import { MAX_LIFETIME_SECONDS } from '../credential/lifetime.ts';
import { decideGrant, type Grant as GrantObject, needsNamespace } from '../grant/decide.ts';
import { NamespacedCache, namespacedKey } from '../kubernetes/cache/namespaced-cache.ts';
import { Reflector, type ReflectorOptions } from '../kubernetes/cache/reflector.ts';
import { NAMESPACES } from '../kubernetes/resource-type.ts';
import { splitCertificateName } from './config.ts';
import type { Grant, GrantQuestion } from './policy.ts';

export interface GrantWatchOptions extends Pick<ReflectorOptions<never>, 'client' | 'clock' | 'random' | 'log'> {
  /** Of the certificates. */
  readonly namespaces: readonly string[];
  /** The name that clients of the signer's own cluster have as theirs; undefined: there are none. */
  readonly cluster: string | undefined;
  readonly onChange: () => void;
}

/** A grant that cannot be read permits nothing. */
interface Watched {
  readonly namespace: string;
  readonly name: string;
  readonly grant: GrantObject | undefined;
}

interface NamespaceFacts {
  readonly name: string;
  readonly uid: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
}

export class GrantWatch {
  readonly #options: GrantWatchOptions;
  readonly #grants: NamespacedCache<Watched>;
  readonly #namespaces: Reflector<NamespaceFacts>;

  constructor(options: GrantWatchOptions) {
    this.#options = options;
    const { log, namespaces, onChange } = options;
    this.#grants = new NamespacedCache(
      namespaces,
      ({ namespace, observe }) =>
        new Reflector<Watched>({
          ...options,
          type: DELEGATION_GRANTS,
          namespace,
          observe,
          transform: (raw) => {
            const read = readDelegationGrant(raw);
            const { name, namespace: home } = read.metadata;
            return { name, namespace: home, grant: isReadableGrant(read) ? read : undefined };
          },
          keyOf: namespacedKey,
          onChange,
        }),
      (namespace, reason) => log.error({ namespace, reason }, 'grants cannot be read: none of this namespace counts'),
    );
    this.#namespaces = new Reflector<NamespaceFacts>({
      ...options,
      type: NAMESPACES,
      metadataOnly: true,
      transform: ({ metadata: { labels = {}, name = '', uid } }) => ({ name, uid, labels: { ...labels } }),
      keyOf: ({ name }) => name,
      onChange,
    });
  }

  /** The grants that cover the question, as those of the configuration are written: of several, the terms of the most generous. */
  covering(question: GrantQuestion): readonly Grant[] {
    const certificate = splitCertificateName(question.certificate);
    if (certificate === undefined) return [];
    const { cluster, namespace, usage } = question;
    const facts = this.#namespaces.store.get(namespace);
    const consumer =
      cluster === this.#options.cluster
        ? { namespace, uid: facts?.uid, labels: facts?.labels }
        : { cluster, namespace };
    const request = { certificate, usage, consumer, lifetimeSeconds: MAX_LIFETIME_SECONDS };
    const terms = decideGrant(this.#of(certificate.namespace), request);
    if (terms === undefined) return [];
    const { lifetimeSeconds: maxLifetimeSeconds, maxPods, onWithdraw } = terms;
    return [
      { certificate: question.certificate, from: [{}], usages: [usage], maxLifetimeSeconds, maxPods, onWithdraw },
    ];
  }

  /** Whether some namespace of that cluster may have credentials of the certificate. */
  mayRead(name: string, cluster: string): boolean {
    const certificate = splitCertificateName(name);
    if (certificate === undefined) return false;
    const own = cluster === this.#options.cluster;
    return this.#of(certificate.namespace).some(
      ({ spec }) =>
        spec.certificateRef.name === certificate.name &&
        spec.from.some((from) => (own ? from.cluster === undefined : from.cluster === cluster)),
    );
  }

  /**
   * Why nothing can be decided yet; undefined: it can. A grant that was not read yet must not look like one that was withdrawn: that
   * would have issued Secrets deleted.
   */
  get problem(): string | undefined {
    const { cluster, namespaces } = this.#options;
    const unread = namespaces.find((namespace) => !this.#grants.hasSynced(namespace));
    if (unread !== undefined) return `the DelegationGrants of namespace "${unread}" cannot be read yet`;
    if (cluster === undefined || this.#namespaces.hasSynced) return undefined;
    const needed = [...this.#grants.values()].some(({ grant }) => grant !== undefined && needsNamespace(grant));
    return needed ? 'the labels of namespaces, which a DelegationGrant selects by, cannot be read yet' : undefined;
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#grants.run(signal), this.#namespaces.run(signal)]);
  }

  #of(home: string): readonly GrantObject[] {
    return [...this.#grants.values()].flatMap(({ grant, namespace }) =>
      namespace === home && grant !== undefined ? [grant] : [],
    );
  }
}
