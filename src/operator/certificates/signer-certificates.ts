/**
 * The certificates of resources where a signer holds their keys: only the public part comes here, and the signer says which namespace
 * may use it. One call follows all of them: it waits at the signer until something changes.
 *
 *   follow -> pending --news--> usable | refused --news (a new leaf, a grant given or withdrawn)--> usable | refused
 *
 * While the signer does not answer, what is known stays: it signs nothing by a certificate that it has replaced or by a grant that
 * was withdrawn, whatever is believed here.
 */
import { checkCertificateUsage, readDelegationCertificate } from '../../credential/delegation-certificate.ts';
import { CertificateError } from '../../credential/errors.ts';
import { USAGES, type Usage } from '../../credential/scheme.ts';
import { mostGenerous } from '../../grant/decide.ts';
import { certificateOf, type Referrer } from '../../grant/request.ts';
import { formatObjectKey } from '../../issued-secret/names.ts';
import { Backoff } from '../../kubernetes/backoff.ts';
import { type Clock, delay } from '../../kubernetes/clock.ts';
import type { Logger } from '../../kubernetes/log.ts';
import type { CertificateNews, GrantedUsage } from '../../signer/protocol.ts';
import { MAX_FOLLOWED, MAX_WAIT_SECONDS } from '../../signer/protocol.ts';
import { SignerUnavailableError } from '../../signer-client/errors.ts';
import type { SignerHealth } from '../../signer-client/health.ts';
import { requestableSeconds } from '../../signer-client/lifetime.ts';
import { remoteSigner } from '../../signer-client/remote-signer.ts';
import type { SignerClient } from '../../signer-client/signer-client.ts';
import type { SigningBatcher } from '../../signer-client/signing-batcher.ts';
import { WithdrawalProofs } from '../../signer-client/withdrawal-proofs.ts';
import type { Access } from '../core/access.ts';
import { type CertificateState, PENDING, refused } from '../core/certificate-state.ts';
import { StaleCacheError } from '../pod-failure.ts';
import type { Certificates, GrantProof } from './certificates.ts';

export interface SignerCertificatesOptions {
  readonly client: Pick<SignerClient, 'follow' | 'now' | 'server' | 'withdrawn'>;
  readonly batcher: Pick<SigningBatcher, 'sign'>;
  readonly health: Pick<SignerHealth, 'answered' | 'failed' | 'problem' | 'unused'>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** The state of a resource's certificate has changed. */
  readonly onChange: (resourceKey: string) => void;
  /** Ends everything. */
  readonly signal: AbortSignal;
}

/** A certificate, as the pods of one namespace may use it. */
interface Followed {
  /** As the signer knows it: `NAMESPACE/NAME` of the Secret. */
  readonly certificate: string;
  readonly namespace: string;
  readonly referrers: Set<string>;
  version: string | undefined;
  /** A request to the signer has named it, though it may have had no answer yet. */
  asked: boolean;
  states: Readonly<Record<Usage, CertificateState>>;
  /** What the signer grants; undefined: it has not said yet. */
  usages: readonly GrantedUsage[] | undefined;
  /** Of the leaf that was granted last. */
  leafSha256: string | undefined;
}

const ALL_PENDING: Followed['states'] = Object.freeze({ Server: PENDING, Client: PENDING });

export class SignerCertificates implements Certificates, GrantProof {
  readonly #options: SignerCertificatesOptions;
  readonly #proofs: WithdrawalProofs;
  readonly #followed = new Map<string, Followed>();
  /** Resource to what it follows. */
  readonly #references = new Map<string, string>();
  #running: Promise<void> = Promise.resolve();
  #isRunning = false;
  /** Ends the call that waits for news, where something was added that it does not ask about. */
  #interrupt: AbortController | undefined;
  #position = 0;

  constructor(options: SignerCertificatesOptions) {
    this.#options = options;
    this.#proofs = new WithdrawalProofs(options);
  }

  follow(resourceKey: string, resource: Referrer | undefined): void {
    const key = resource === undefined ? undefined : keyOf(resource);
    const previous = this.#references.get(resourceKey);
    if (previous === key) return;
    if (previous !== undefined) this.#release(previous, resourceKey);
    if (key === undefined || resource === undefined) {
      this.#references.delete(resourceKey);
      return;
    }
    this.#references.set(resourceKey, key);
    const followed = this.#followed.get(key) ?? this.#start(key, resource);
    followed.referrers.add(resourceKey);
  }

  /** As the signer said last. It decides itself, on every signature. */
  access(resource: Referrer): Access {
    const usages = this.#followed.get(keyOf(resource))?.usages;
    if (usages === undefined) return { kind: 'pending' };
    const { lifetimeSeconds, usage } = resource.spec;
    const terms = mostGenerous(
      usages
        .filter((one) => one.usage === usage)
        .map(({ maxLifetimeSeconds, maxPods, onWithdraw }) => ({
          lifetimeSeconds: Math.min(lifetimeSeconds, maxLifetimeSeconds),
          maxPods,
          onWithdraw,
        })),
    );
    return terms === undefined ? { kind: 'refused' } : { kind: 'granted', terms };
  }

  /**
   * The credential is the proof that the signer permitted it. It may have waited for its write since, and the signer may have said
   * something else meanwhile.
   */
  async holds({ terms }: Extract<Access, { kind: 'granted' }>, resource: Referrer): Promise<void> {
    const live = this.access(resource);
    const isSame =
      live.kind === 'granted' &&
      live.terms.lifetimeSeconds === terms.lifetimeSeconds &&
      live.terms.maxPods === terms.maxPods &&
      live.terms.onWithdraw === terms.onWithdraw;
    if (!isSame) throw new StaleCacheError('the signer has withdrawn or changed the grant of the certificate');
  }

  async isWithdrawn(resource: Referrer, _signal: AbortSignal, leafSha256?: string): Promise<boolean> {
    const known = this.#followed.get(keyOf(resource))?.leafSha256 ?? leafSha256;
    if (known === undefined) return false;
    const { metadata, spec } = resource;
    const { namespace } = metadata;
    const certificate = certificateName(resource);
    return await this.#proofs.ask({ certificate, namespace, usage: spec.usage, leafSha256: known });
  }

  resolve(resource: Referrer): CertificateState {
    const followed = this.#followed.get(keyOf(resource));
    const state = followed?.states[resource.spec.usage] ?? PENDING;
    const message = state === PENDING ? (this.#options.health.problem ?? this.#silence(followed)) : undefined;
    return message === undefined ? state : { kind: 'pending', message, reason: 'SignerUnavailable' };
  }

  /** The signer answers, and says nothing of the certificate: neither that there is none, nor that it is not granted. */
  #silence(followed: Followed | undefined): string | undefined {
    if (!followed?.asked) return undefined;
    return (
      `the signer at ${this.#options.client.server} has no answer about certificate "${followed.certificate}" yet: it cannot use the certificate, ` +
      'or cannot read its grants; its log says why'
    );
  }

  async ended(): Promise<void> {
    await this.#running;
  }

  #start(key: string, resource: Referrer): Followed {
    const followed: Followed = {
      certificate: certificateName(resource),
      namespace: resource.metadata.namespace,
      referrers: new Set(),
      version: undefined,
      asked: false,
      states: ALL_PENDING,
      usages: undefined,
      leafSha256: undefined,
    };
    this.#followed.set(key, followed);
    // What is added together is asked about together.
    setImmediate(() => this.#interrupt?.abort());
    if (!this.#isRunning) {
      this.#isRunning = true;
      this.#running = this.#run();
    }
    return followed;
  }

  #release(key: string, resourceKey: string): void {
    const followed = this.#followed.get(key);
    followed?.referrers.delete(resourceKey);
    if (followed?.referrers.size === 0) this.#followed.delete(key);
  }

  /** Never rejects. Ends when nothing is followed any more. */
  async #run(): Promise<void> {
    const { clock, health, log, random, signal } = this.#options;
    const backoff = new Backoff({ baseMs: 1_000, maxMs: 10_000, random });
    while (!signal.aborted && this.#followed.size > 0) {
      const interrupt = new AbortController();
      try {
        await this.#ask(interrupt);
        backoff.reset();
        health.answered('follow');
      } catch (error) {
        if (signal.aborted) break;
        if (interrupt.signal.aborted) continue;
        const failure = new SignerUnavailableError(this.#options.client.server, error);
        health.failed('follow', failure);
        const waitMs = backoff.next();
        log.debug(
          { reason: failure.message, retryInMs: Math.round(waitMs) },
          'failed to follow certificates at the signer',
        );
        await delay(clock, waitMs, signal);
      }
    }
    this.#isRunning = false;
    if (!signal.aborted) health.unused();
  }

  async #ask(interrupt: AbortController): Promise<void> {
    const { client, signal } = this.#options;
    const { chosen, waitSeconds } = this.#question();
    const known = chosen.map(({ certificate, namespace, version }) => ({ certificate, namespace, version }));
    this.#interrupt = waitSeconds > 0 ? interrupt : undefined;
    try {
      const news = await client.follow({ known, waitSeconds }, AbortSignal.any([signal, interrupt.signal]));
      const first = chosen.filter(({ asked }) => !asked);
      for (const one of chosen) one.asked = true;
      for (const one of news) this.#learn(one);
      for (const one of first) if (one.version === undefined) this.#changed(one);
    } finally {
      this.#interrupt = undefined;
    }
  }

  /** What was never asked about first, at once; else some of all, in turn, so that each is asked about in every MAX_WAIT_SECONDS. */
  #question(): { readonly chosen: readonly Followed[]; readonly waitSeconds: number } {
    const all = [...this.#followed.values()];
    const unasked = all.filter(({ asked }) => !asked);
    if (unasked.length > 0) return { chosen: unasked.slice(0, MAX_FOLLOWED), waitSeconds: 0 };
    const calls = Math.ceil(all.length / MAX_FOLLOWED);
    this.#position = (this.#position + 1) % calls;
    const start = this.#position * MAX_FOLLOWED;
    return {
      chosen: all.slice(start, start + MAX_FOLLOWED),
      waitSeconds: Math.max(1, Math.floor(MAX_WAIT_SECONDS / calls)),
    };
  }

  #learn(news: CertificateNews): void {
    const followed = this.#followed.get(formatKey(news));
    if (followed === undefined || followed.version === news.version) return;
    followed.version = news.version;
    followed.states = this.#statesOf(news);
    followed.usages = news.granted?.usages ?? [];
    followed.leafSha256 = leafOf(followed.states) ?? followed.leafSha256;
    const { certificate, namespace } = news;
    this.#options.log.info(
      { certificate, namespace, granted: news.granted !== undefined },
      'certificate changed at the signer',
    );
    this.#changed(followed);
  }

  #changed({ referrers }: Followed): void {
    for (const resourceKey of referrers) this.#options.onChange(resourceKey);
  }

  #statesOf({ certificate: name, granted, namespace }: CertificateNews): Followed['states'] {
    const denied = notGranted(name, namespace);
    if (granted === undefined) return { Server: denied, Client: denied };
    let usable: Extract<CertificateState, { kind: 'usable' }>;
    try {
      const certificate = readDelegationCertificate(granted.chainPem);
      usable = { kind: 'usable', certificate, signer: remoteSigner(this.#options.batcher, name) };
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error;
      const invalid = refused(error.code, `certificate "${name}" of the signer: ${error.message}`);
      return { Server: invalid, Client: invalid };
    }
    const states = USAGES.map((usage): [Usage, CertificateState] => {
      const lifetimes = granted.usages.filter((one) => one.usage === usage).map((one) => one.maxLifetimeSeconds);
      if (lifetimes.length === 0) return [usage, denied];
      const longest = Math.max(...lifetimes);
      const unfit = checkCertificateUsage(usable.certificate, usage);
      return [
        usage,
        unfit === undefined
          ? { ...usable, lifetimeCap: () => requestableSeconds(longest, this.#options.client, this.#options.clock) }
          : refused(unfit.code, `certificate "${name}": ${unfit.message}`),
      ];
    });
    return Object.fromEntries(states) as Record<Usage, CertificateState>;
  }
}

function leafOf(states: Followed['states']): string | undefined {
  for (const state of Object.values(states)) if (state.kind === 'usable') return state.certificate.sha256;
  return undefined;
}

/** One text for what does not exist and what is not granted: the signer does not say which. */
function notGranted(certificate: string, namespace: string): CertificateState {
  return refused(
    'CertificateNotPermitted',
    `no grant lets namespace "${namespace}" use a certificate "${certificate}" of the signer: ask its owner for a DelegationGrant, or correct ` +
      'spec.certificateRef',
  );
}

function keyOf(resource: Referrer): string {
  return formatKey({ certificate: certificateName(resource), namespace: resource.metadata.namespace });
}

function formatKey({ certificate, namespace }: Pick<Followed, 'certificate' | 'namespace'>): string {
  return `${namespace} ${certificate}`;
}

/** As the signer knows it. */
function certificateName(resource: Referrer): string {
  return formatObjectKey(certificateOf(resource));
}
