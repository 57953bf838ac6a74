/**
 * DelegationGrants of the signer's own cluster: those in the namespaces of its certificates, where only a certificate's owner writes.
 * Decided by the same function as in the operator. A certificate's own namespace needs a grant too: what runs beside a guarded key
 * gets no credential by being there.
 */
import { isDeepStrictEqual } from 'node:util';
import { mayBeOf } from '../api/read-grant.ts';
import { DELEGATION_GRANTS } from '../api/resource-types.ts';
import { MAX_LIFETIME_SECONDS } from '../credential/lifetime.ts';
import { covers, type Grant as GrantObject, type GrantRequest, needsNamespace } from '../grant/decide.ts';
import { type ApiError, isApiError } from '../kubernetes/api-error.ts';
import { NamespacedCache, namespacedKey } from '../kubernetes/cache/namespaced-cache.ts';
import { Reflector, type ReflectorEvent, type ReflectorOptions } from '../kubernetes/cache/reflector.ts';
import { NAMESPACES } from '../kubernetes/resource-type.ts';
import { splitCertificateName } from './config.ts';
import {
  ALL,
  type CountedLists,
  LiveGrants,
  readGrant,
  readNamespace,
  type Watched,
  type WatchedNamespace,
} from './live-grants.ts';
import type { GrantQuestion, SignerGrant } from './policy.ts';
import { isRefusal, Refusals } from './refusals.ts';

export interface GrantWatchOptions extends Pick<ReflectorOptions<never>, 'client' | 'clock' | 'random' | 'log'> {
  /** Of the certificates. */
  readonly namespaces: readonly string[];
  /** The name that clients of the signer's own cluster have as theirs; undefined: there are none. */
  readonly cluster: string | undefined;
  /**
   * Called when `covering` may answer something else. Not for a status or an annotation: whoever waits looks at all that it follows again,
   * and any tenant's controller may write those. Each list counts: a reading of before it counts no longer.
   */
  readonly onChange: () => void;
}

/** Whether the API server shows the objects of that kind. */
export interface GrantsReadable {
  readonly resource: string;
  /** Empty for namespaces. */
  readonly namespace: string;
  readonly isReadable: boolean;
}

/**
 * A signature is decided on by what the API server had no longer ago than this, whatever the watches show. Each certificate's namespace
 * costs the API server a list in that time, while credentials are signed.
 */
const MAX_AGE_MS = 10_000;
/** While the API server does not answer: an upgrade of it stops no renewals. A watch says nothing then, and the account may still read. */
const MAX_AGE_UNANSWERED_MS = 300_000;

/** By the certificate that is granted. */
const CERTIFICATE = 'certificate';

export class GrantWatch {
  readonly #options: GrantWatchOptions;
  readonly #grants: NamespacedCache<Watched>;
  /** Those that pods run in, under ALL: they are no objects of a namespace. */
  readonly #namespaces: NamespacedCache<WatchedNamespace>;
  readonly #refusedGrants: Refusals;
  readonly #refusedNamespaces: Refusals;
  readonly #live: LiveGrants;
  /** Said once, until it answers again. */
  #unanswered = false;

  constructor(options: GrantWatchOptions) {
    this.#options = options;
    const { client, clock, log, namespaces, onChange } = options;
    this.#refusedGrants = new Refusals((namespace, reason) =>
      log.error(
        { namespace, reason },
        'failed to read the grants of a namespace: nothing is signed under them meanwhile',
      ),
    );
    this.#refusedNamespaces = new Refusals((_, reason) =>
      log.error(
        { reason },
        'failed to read namespaces: nothing is signed under grants that select by labels meanwhile',
      ),
    );
    const refused = { refusedGrants: this.#refusedGrants, refusedNamespaces: this.#refusedNamespaces };
    this.#live = new LiveGrants({ client, clock, ...refused });
    this.#grants = new NamespacedCache(
      namespaces,
      ({ namespace, observe }) =>
        new Reflector<Watched>({
          ...options,
          type: DELEGATION_GRANTS,
          namespace,
          observe: (event) => {
            if (hasBegun(event)) this.#refusedGrants.watched(namespace ?? ALL);
            observe(event);
            if (event.kind !== 'list') return;
            this.#live.watchListedGrants(namespace ?? ALL, event.sinceMs);
            onChange();
          },
          transform: readGrant,
          keyOf: namespacedKey,
          indexes: { [CERTIFICATE]: ({ grant }) => (grant === undefined ? [] : [grant.spec.certificateRef.name]) },
          onChange: ({ current, previous }) => {
            if (!isDeepStrictEqual(current?.grant?.spec, previous?.grant?.spec)) onChange();
          },
        }),
      (namespace, reason) => this.#refusedGrants.refused(namespace, 'watch', reason),
      onChange,
    );
    this.#namespaces = new NamespacedCache(
      [],
      ({ observe }) =>
        new Reflector<WatchedNamespace>({
          ...options,
          type: NAMESPACES,
          metadataOnly: true,
          observe: (event) => {
            if (hasBegun(event)) this.#refusedNamespaces.watched(ALL);
            observe(event);
            if (event.kind !== 'list') return;
            this.#live.watchListedNamespaces(event.sinceMs);
            onChange();
          },
          transform: readNamespace,
          keyOf: ({ name }) => namespacedKey({ namespace: ALL, name }),
          onChange: ({ current, previous }) => {
            if (!isDeepStrictEqual(factsFrom(current), factsFrom(previous))) onChange();
          },
        }),
      (namespace, reason) => this.#refusedNamespaces.refused(namespace, 'watch', reason),
      onChange,
    );
  }

  /**
   * The grants that cover the question, as far as is known: written as those of the configuration are. Undefined: they were never
   * read, which must not look like a grant that was withdrawn.
   */
  covering(question: GrantQuestion): readonly SignerGrant[] | undefined {
    const request = this.#requestOf(question, this.#factsOf(question.namespace));
    if (request === undefined) return [];
    const { certificate, usage } = request;
    if (!this.#isDecidable(certificate, question)) return undefined;
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

  /** Whether `covering` rests on what the API server had a moment ago, or permits nothing: then it needs no confirmation. */
  isRecent(question: GrantQuestion): boolean {
    const certificate = splitCertificateName(question.certificate);
    if (certificate === undefined || (this.covering(question) ?? []).length === 0) return true;
    return this.#wasReadWithin(MAX_AGE_MS, 'own', certificate, question);
  }

  /**
   * Makes it so: `covering` answers by what the API server had a moment ago; where it does not answer, by what it had a few minutes ago.
   * Throws ApiError where neither can be had.
   */
  async refresh(question: GrantQuestion, signal: AbortSignal): Promise<void> {
    const certificate = splitCertificateName(question.certificate);
    if (certificate === undefined) return;
    const before = this.covering(question)?.length;
    const sinceMs = this.#options.clock.monotonic() - MAX_AGE_MS;
    try {
      await this.#live.grants(certificate.namespace, sinceMs, signal);
      if (this.#needsNamespace(certificate, question)) await this.#live.namespace(question.namespace, sinceMs, signal);
      this.#unanswered = false;
    } catch (error) {
      if (!isApiError(error) || isRefusal(error)) throw error;
      if (!this.#wasReadWithin(MAX_AGE_UNANSWERED_MS, 'all', certificate, question)) throw error;
      this.#warnUnanswered(error);
    }
    // A watch that is silent will not say so.
    if (this.covering(question)?.length !== before) this.#options.onChange();
  }

  /**
   * Whether the API server, at that time or later, had a grant that covers the question. The watches may lag, and would show grants
   * as deleted whose whole kind was: that is an uninstallation, and counts as covered here. So does a grant of the certificate that
   * this version cannot read: it may cover the question. Throws ApiError.
   * @param sinceMs on the monotonic clock
   */
  async wasCovered(question: GrantQuestion, sinceMs: number, signal: AbortSignal): Promise<boolean> {
    const certificate = splitCertificateName(question.certificate);
    if (certificate === undefined) return false;
    try {
      const found = await this.#live.grants(certificate.namespace, sinceMs, signal);
      if (found.some(({ unreadable }) => unreadable && mayBeOf(unreadable, certificate.name))) return true;
      const grants = found.flatMap(({ grant }) => grant ?? []);
      const needsFacts = this.#isOwn(question) && grants.some(needsNamespace);
      const facts = needsFacts ? await this.#live.namespace(question.namespace, sinceMs, signal) : undefined;
      const request = this.#requestOf(question, facts);
      return request !== undefined && grants.some((grant) => covers(grant, request));
    } catch (error) {
      if (isApiError(error, 'NotFound')) return true;
      throw error;
    }
  }

  /** Whether some namespace of that cluster may have credentials of the certificate; undefined: the grants were never read. */
  mayRead(name: string, cluster: string): boolean | undefined {
    const certificate = splitCertificateName(name);
    if (certificate === undefined) return false;
    if (!this.#hasRead(certificate)) return undefined;
    const own = cluster === this.#options.cluster;
    return this.#of(certificate).some(({ spec }) =>
      spec.from.some((from) => (own ? from.cluster === undefined : from.cluster === cluster)),
    );
  }

  /**
   * Why nothing can be decided yet; undefined: it can, but for what `refused` says. A grant that was not read yet must not look like
   * one that was withdrawn: that would have issued Secrets deleted.
   */
  get problem(): string | undefined {
    const { cluster, namespaces } = this.#options;
    const unread = namespaces.find((namespace) => !this.#grants.hasSettled(namespace));
    if (unread !== undefined) return `the DelegationGrants of namespace "${unread}" cannot be read yet`;
    if (cluster === undefined || this.#namespaces.hasSettled(ALL)) return undefined;
    const needed = [...this.#grants.values()].some(({ grant }) => grant !== undefined && needsNamespace(grant));
    return needed ? 'the labels of namespaces, which a DelegationGrant selects by, cannot be read yet' : undefined;
  }

  /** What the API server refuses to show now, to a watch or to what is signed; undefined: nothing. */
  get refused(): string | undefined {
    const grants = [...this.#refusedGrants.reasons].map(
      ([name, reason]) => `DelegationGrants of namespace "${name}": ${reason}`,
    );
    const labels = [...this.#refusedNamespaces.reasons.values()].map((reason) => `labels of namespaces: ${reason}`);
    const all = [...grants, ...labels];
    return all.length === 0 ? undefined : all.join('; ');
  }

  /** What the API server has shown, or refused to show; not what it has not answered yet. */
  get readable(): readonly GrantsReadable[] {
    const grants = [...new Set(this.#options.namespaces)]
      .filter((namespace) => this.#grants.hasSettled(namespace))
      .map((namespace) => ({
        resource: DELEGATION_GRANTS.plural,
        namespace,
        isReadable: !this.#refusedGrants.reasons.has(namespace),
      }));
    if (this.#options.cluster === undefined || !this.#namespaces.hasSettled(ALL)) return grants;
    const isReadable = !this.#refusedNamespaces.reasons.has(ALL);
    return [...grants, { resource: NAMESPACES.plural, namespace: ALL, isReadable }];
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#grants.run(signal), this.#namespaces.run(signal)]);
  }

  #wasReadWithin(
    ms: number,
    lists: CountedLists,
    certificate: GrantRequest['certificate'],
    question: GrantQuestion,
  ): boolean {
    const sinceMs = this.#options.clock.monotonic() - ms;
    if (!this.#live.hasGrantsSince(certificate.namespace, sinceMs, lists)) return false;
    return (
      !this.#needsNamespace(certificate, question) || this.#live.hasNamespaceSince(question.namespace, sinceMs, lists)
    );
  }

  #warnUnanswered(error: ApiError): void {
    if (this.#unanswered) return;
    this.#unanswered = true;
    const minutes = MAX_AGE_UNANSWERED_MS / 60_000;
    this.#options.log.warn(
      { err: error, minutes },
      'the API server does not answer: signing by the grants that were read last, for a few minutes',
    );
  }

  /** Whether `covering` knows the answer. A namespace without certificates has no grants that count. */
  #isDecidable(certificate: GrantRequest['certificate'], question: GrantQuestion): boolean {
    if (!this.#hasRead(certificate)) return false;
    return this.#namespaces.hasSynced(ALL) || !this.#needsNamespace(certificate, question);
  }

  #hasRead({ namespace }: GrantRequest['certificate']): boolean {
    return !this.#options.namespaces.includes(namespace) || this.#grants.hasSynced(namespace);
  }

  #isOwn({ cluster }: GrantQuestion): boolean {
    return cluster === this.#options.cluster;
  }

  #needsNamespace(certificate: GrantRequest['certificate'], question: GrantQuestion): boolean {
    return this.#isOwn(question) && this.#of(certificate).some(needsNamespace);
  }

  #of({ name, namespace }: GrantRequest['certificate']): readonly GrantObject[] {
    const watched = [...this.#grants.byIndex(namespace, CERTIFICATE, name)];
    return watched.flatMap((one) => this.#live.laterGrant(one)?.grant ?? []);
  }

  #factsOf(namespace: string): WatchedNamespace | undefined {
    const watched = this.#namespaces.get(ALL, namespace);
    return watched && this.#live.laterNamespace(watched);
  }

  /** @param facts of the pods' namespace, where that is one of the signer's own cluster */
  #requestOf(question: GrantQuestion, facts: WatchedNamespace | undefined): GrantRequest | undefined {
    const certificate = splitCertificateName(question.certificate);
    if (certificate === undefined) return undefined;
    const { cluster, namespace, usage } = question;
    const consumer = this.#isOwn(question)
      ? { namespace, uid: facts?.uid, labels: facts?.labels }
      : { cluster, namespace };
    return { certificate, usage, consumer, lifetimeSeconds: MAX_LIFETIME_SECONDS };
  }
}

/** What decisions need of a namespace. */
function factsFrom(namespace: WatchedNamespace | undefined) {
  return namespace && { uid: namespace.uid, labels: namespace.labels };
}

/** A watch begins with a list, or after one that shows whether its version was reached: the account may do both. */
function hasBegun({ kind }: ReflectorEvent): boolean {
  return kind === 'list' || kind === 'watch';
}
