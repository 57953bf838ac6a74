/**
 * DelegationGrants of the signer's own cluster: those in the namespaces of its certificates, where only a certificate's owner writes.
 * Decided by the same function as in the operator. A certificate's own namespace needs a grant too: what runs beside a guarded key
 * gets no credential by being there.
 */
import { isReadableGrant, mayBeOf, readDelegationGrant } from '../api/read-grant.ts';
import { DELEGATION_GRANTS } from '../api/resource-types.ts';
import { MAX_LIFETIME_SECONDS } from '../credential/lifetime.ts';
import { covers, type Grant as GrantObject, type GrantRequest, needsNamespace } from '../grant/decide.ts';
import { isApiError } from '../kubernetes/api-error.ts';
import { NamespacedCache, namespacedKey } from '../kubernetes/cache/namespaced-cache.ts';
import { Reflector, type ReflectorOptions } from '../kubernetes/cache/reflector.ts';
import { listAll } from '../kubernetes/client/list-all.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
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

/** By the certificate that is granted. */
const CERTIFICATE = 'certificate';

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
          transform: readGrant,
          keyOf: namespacedKey,
          indexes: { [CERTIFICATE]: ({ grant }) => (grant === undefined ? [] : [grant.spec.certificateRef.name]) },
          onChange,
        }),
      (namespace, reason) =>
        log.error({ namespace, reason }, 'failed to read the grants of a namespace, ignoring them'),
      onChange,
    );
    this.#namespaces = new Reflector<NamespaceFacts>({
      ...options,
      type: NAMESPACES,
      metadataOnly: true,
      transform: readNamespace,
      keyOf: ({ name }) => name,
      onChange,
    });
  }

  /** The grants that cover the question, as those of the configuration are written. */
  covering(question: GrantQuestion): readonly Grant[] {
    const request = this.#requestOf(question, this.#namespaces.store.get(question.namespace));
    if (request === undefined) return [];
    const { certificate, usage } = request;
    return this.#of(certificate)
      .filter((grant) => covers(grant, request))
      .map(({ spec: { maxLifetimeSeconds, maxPods, onWithdraw } }) => ({
        certificate: question.certificate,
        from: [{}],
        usages: [usage],
        maxLifetimeSeconds,
        maxPods,
        onWithdraw,
      }));
  }

  /**
   * Whether the API server, asked now, has a grant that covers the question. The watches may lag, and would show grants as deleted
   * whose whole kind was: that is an uninstallation, and counts as covered here. So does a grant of the certificate that this version cannot read: it may
   * cover the question. Throws ApiError.
   */
  async isCoveredNow(question: GrantQuestion, signal: AbortSignal): Promise<boolean> {
    const { client, cluster } = this.#options;
    const certificate = splitCertificateName(question.certificate);
    if (certificate === undefined) return false;
    try {
      const grants = await listAll(client, DELEGATION_GRANTS, { namespace: certificate.namespace }, signal);
      const own = question.cluster === cluster;
      const facts = own ? await this.#namespaceNow(question.namespace, signal) : undefined;
      const request = this.#requestOf(question, facts);
      return grants.some((raw) => {
        const { grant } = readGrant(raw);
        if (grant === undefined) return mayBeOf(raw, certificate.name);
        return request !== undefined && covers(grant, request);
      });
    } catch (error) {
      if (isApiError(error, 'NotFound')) return true;
      throw error;
    }
  }

  /** Whether some namespace of that cluster may have credentials of the certificate. */
  mayRead(name: string, cluster: string): boolean {
    const certificate = splitCertificateName(name);
    if (certificate === undefined) return false;
    const own = cluster === this.#options.cluster;
    return this.#of(certificate).some(({ spec }) =>
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

  #of({ name, namespace }: GrantRequest['certificate']): readonly GrantObject[] {
    return [...this.#grants.byIndex(namespace, CERTIFICATE, name)].flatMap(({ grant }) => grant ?? []);
  }

  /** @param facts of the pods' namespace, where that is one of the signer's own cluster */
  #requestOf(question: GrantQuestion, facts: NamespaceFacts | undefined): GrantRequest | undefined {
    const certificate = splitCertificateName(question.certificate);
    if (certificate === undefined) return undefined;
    const { cluster, namespace, usage } = question;
    const isOwn = cluster === this.#options.cluster;
    const consumer = isOwn ? { namespace, uid: facts?.uid, labels: facts?.labels } : { cluster, namespace };
    return { certificate, usage, consumer, lifetimeSeconds: MAX_LIFETIME_SECONDS };
  }

  /** By a list, which the watch needs too: the account needs no further permission. */
  async #namespaceNow(name: string, signal: AbortSignal): Promise<NamespaceFacts | undefined> {
    const selection = { fieldSelector: `metadata.name=${name}`, metadataOnly: true };
    const [found] = await listAll(this.#options.client, NAMESPACES, selection, signal);
    return found === undefined ? undefined : readNamespace(found);
  }
}

function readGrant(raw: KubernetesObject): Watched {
  const read = readDelegationGrant(raw);
  const { name, namespace } = read.metadata;
  return { name, namespace, grant: isReadableGrant(read) ? read : undefined };
}

function readNamespace({ metadata: { labels = {}, name = '', uid } }: KubernetesObject): NamespaceFacts {
  return { name, uid, labels: { ...labels } };
}
