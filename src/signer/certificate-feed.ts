/**
 * How clients follow certificates: each names what it follows and which versions it has, and gets what differs from that, at once or
 * when it changes. A version covers the chain and what is granted, so that a grant that is withdrawn reaches a client as a new
 * leaf does. No state is kept for a client.
 */
import { hash } from 'node:crypto';
import { USAGES, type Usage } from '../credential/scheme.ts';
import type { Terms } from '../grant/decide.ts';
import { type Clock, delay } from '../kubernetes/clock.ts';
import type { CertificateSource } from './certificate-source.ts';
import type { Changes } from './changes.ts';
import { type GrantQuestion, type SignerGrant, termsOf } from './policy.ts';
import {
  type CertificateNews,
  type FollowCall,
  type GrantedUsage,
  type KnownCertificate,
  MAX_TERMS,
} from './protocol.ts';
import type { SignerClientIdentity } from './signing-service.ts';

export interface CertificateFeedOptions {
  readonly certificates: Pick<CertificateSource, 'get' | 'has'>;
  /** Those that may cover the question; undefined: it is not known. */
  readonly grants: (question: GrantQuestion) => readonly SignerGrant[] | undefined;
  readonly changes: Changes;
  readonly maxLifetimeSeconds: number;
  readonly clock: Clock;
}

/** Of one answer: what does not fit is in the answer to the next call. */
const MAX_ANSWER_CHARACTERS = 4 * 1024 * 1024;
/** The version of what does not exist or is not granted: the two are the same to a client. */
const NOT_GRANTED = 'none';

export class CertificateFeed {
  readonly #options: CertificateFeedOptions;

  constructor(options: CertificateFeedOptions) {
    this.#options = options;
  }

  /** Ends early, without news, when the signal aborts. */
  async news(
    client: SignerClientIdentity,
    { known, waitSeconds }: FollowCall,
    signal: AbortSignal,
  ): Promise<readonly CertificateNews[]> {
    const { changes, clock } = this.#options;
    const stop = new AbortController();
    const waited = delay(clock, waitSeconds * 1000, AbortSignal.any([signal, stop.signal])).then(() => 'waited');
    try {
      for (;;) {
        const next = changes.next;
        const news = this.#differing(client, known);
        if (news.length > 0 || waitSeconds === 0 || signal.aborted) return news;
        if ((await Promise.race([next, waited])) === 'waited') return [];
      }
    } finally {
      stop.abort();
    }
  }

  #differing(client: SignerClientIdentity, known: readonly KnownCertificate[]): readonly CertificateNews[] {
    const news: CertificateNews[] = [];
    let characters = 0;
    for (const one of known) {
      const current = this.#current(client, one);
      if (current === undefined || current.version === one.version) continue;
      characters += current.granted?.chainPem.length ?? 0;
      if (news.length > 0 && characters > MAX_ANSWER_CHARACTERS) break;
      news.push(current);
    }
    return news;
  }

  /**
   * Undefined where it is granted and cannot be used at the moment, or where it is not known what is granted: the client goes on with
   * what it has.
   */
  #current(
    { cluster }: SignerClientIdentity,
    { certificate, namespace }: KnownCertificate,
  ): CertificateNews | undefined {
    const { certificates, grants, maxLifetimeSeconds } = this.#options;
    const found = certificates.get(certificate)?.certificate;
    const usages: GrantedUsage[] = [];
    for (const usage of USAGES) {
      const question = { certificate, cluster, namespace, usage };
      const known = grants(question);
      if (known === undefined) return undefined;
      const terms = termsOf(known, question, maxLifetimeSeconds).slice(0, MAX_TERMS);
      usages.push(...terms.map((one) => grantedUsage(usage, one)));
    }
    if (usages.length === 0 || !certificates.has(certificate)) return { certificate, namespace, version: NOT_GRANTED };
    if (found === undefined) return undefined;
    const { chainPem, chainSha256 } = found;
    return { certificate, namespace, version: versionOf(chainSha256, usages), granted: { chainPem, usages } };
  }
}

function grantedUsage(usage: Usage, { lifetimeSeconds, maxPods, onWithdraw }: Terms): GrantedUsage {
  return {
    usage,
    maxLifetimeSeconds: lifetimeSeconds,
    ...(maxPods === undefined ? {} : { maxPods }),
    onWithdraw,
  };
}

/** Of the chain by its hash: the chains of 500 certificates take 10 ms to hash, at every change that wakes a client. */
function versionOf(chainSha256: string, usages: readonly GrantedUsage[]): string {
  return hash('sha256', JSON.stringify([chainSha256, usages]), 'base64url');
}
