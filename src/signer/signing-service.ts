/**
 * From requests to signatures: each is decided on by itself, composed here, signed in its turn, verified against its
 * certificate, and written to the audit log before anything is answered.
 */
import { hash } from 'node:crypto';
import { composingSigner } from '../credential/credential-signer.ts';
import { verifyCredential } from '../credential/verify.ts';
import type { Logger } from '../kubernetes/log.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import type { AuditLog, AuditLogEntry } from './audit-log.ts';
import type { CertificateSource, UsableCertificate } from './certificate-source.ts';
import { type GrantedUses, GrantsUnreadableError } from './granted-uses.ts';
import { decideRequest, type PolicyDecision, type PolicyRefusal, type SignerGrant } from './policy.ts';
import type { CertificateAnswer, SignRequest, SignResult } from './protocol.ts';
import { OverloadedError, type SigningQueue } from './signing-queue.ts';

/** The client, as authenticated. */
export interface SignerClientIdentity {
  readonly name: string;
  readonly cluster: string;
}

export interface SigningServiceOptions {
  readonly certificates: Pick<CertificateSource, 'get' | 'has'>;
  readonly grants: Pick<GrantedUses, 'current' | 'mayRead'>;
  readonly queue: SigningQueue;
  readonly audit: Pick<AuditLog, 'append'>;
  readonly maxLifetimeSeconds: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly log: Logger;
  readonly observe?: (result: SignResult) => void;
}

type Signed = Extract<SignResult, { ok: true }>;

export class SigningService {
  readonly #options: SigningServiceOptions;

  constructor(options: SigningServiceOptions) {
    this.#options = options;
  }

  /**
   * The results, in the order of the requests. Throws OverloadedError where there is no room for all of them, GrantsUnreadableError
   * where an API server that does not answer has the grants, and what the audit log throws: then nothing was given out.
   */
  async sign(
    client: SignerClientIdentity,
    requests: readonly SignRequest[],
    signal: AbortSignal,
  ): Promise<readonly SignResult[]> {
    const { audit, observe, queue } = this.#options;
    if (!queue.hasRoomFor(requests.length, client.name)) throw new OverloadedError('too many signatures are waiting');
    const results = await Promise.all(requests.map((request) => this.#signOne(client, request, signal)));
    const time = formatRfc3339(this.#seconds());
    await audit.append(requests.map((request, position) => this.#entry(time, client, request, results[position])));
    for (const result of results) observe?.(result);
    return results;
  }

  /**
   * The public certificate, for a client that has a grant of it; undefined for all others, and where there is none of that name.
   * @throws GrantsUnreadableError
   */
  certificate(client: SignerClientIdentity, name: string): CertificateAnswer | 'unusable' | undefined {
    const { certificates, grants } = this.#options;
    // Before all else: where grants cannot be read, the answer must not say whether there is such a certificate.
    if (!grants.mayRead(name, client.cluster) || !certificates.has(name)) return undefined;
    const found = certificates.get(name);
    if (found === undefined) return 'unusable';
    return { name, sha256: found.certificate.sha256, chainPem: found.certificate.chainPem };
  }

  async #signOne(client: SignerClientIdentity, request: SignRequest, signal: AbortSignal): Promise<SignResult> {
    const { certificates, grants, queue } = this.#options;
    try {
      const work = async (): Promise<SignResult> => {
        // Decided in its turn, not before: a grant that was withdrawn while this waited counts.
        const found = grants.current({ ...request, cluster: client.cluster }, signal);
        const applicable = found instanceof Promise ? await found : found;
        const source = certificates.get(request.certificate);
        const decision = this.#decide(client, request, applicable, source);
        if (!decision.ok || source === undefined) return decision as PolicyRefusal;
        return await this.#compose(request, source, signal);
      };
      return await queue.run(request.expiresAt, signal, work, client.name);
    } catch (error) {
      if (error instanceof OverloadedError) throw error;
      if (error instanceof GrantsUnreadableError) {
        if (!error.refused) throw error;
        // Those of other certificates can be read.
        return { ok: false, reason: 'SigningFailed', message: error.message };
      }
      const level = signal.aborted ? 'debug' : 'warn';
      this.#options.log[level]({ err: error, certificate: request.certificate }, 'signing failed');
      return { ok: false, reason: 'SigningFailed', message: 'the key did not sign in time: try again' };
    }
  }

  #decide(
    { cluster }: SignerClientIdentity,
    request: SignRequest,
    grants: readonly SignerGrant[],
    source: UsableCertificate | undefined,
  ): PolicyDecision {
    const { certificates, maxLifetimeSeconds } = this.#options;
    return decideRequest({
      request,
      cluster,
      grants,
      isConfigured: certificates.has(request.certificate),
      certificate: source?.certificate,
      maxLifetimeSeconds,
      now: this.#seconds(),
    });
  }

  async #compose(
    request: SignRequest,
    { certificate, signer }: UsableCertificate,
    signal: AbortSignal,
  ): Promise<SignResult> {
    const { usage } = request;
    const bytes = await composingSigner(signer).signCredential({ ...request, certificate }, { signal });
    const verified = verifyCredential({ bytes, certificate, usage, now: this.#seconds() });
    if (!verified.ok) {
      this.#options.log.error({ code: verified.code }, 'a new credential does not verify: not returned');
      return {
        ok: false,
        reason: 'SigningFailed',
        message: 'the new credential does not verify: it was not returned',
      };
    }
    return { ok: true, certificateSha256: certificate.sha256, credential: Buffer.from(bytes).toString('base64') };
  }

  #entry(
    time: string,
    client: SignerClientIdentity,
    request: SignRequest,
    result: SignResult | undefined,
  ): AuditLogEntry {
    const { certificate, expiresAt, namespace, podUid, resource, subjectPublicKeyInfo, usage } = request;
    const signed = result?.ok === true ? result : undefined;
    return {
      time,
      event: signed === undefined ? 'refused' : 'signed',
      client: client.name,
      cluster: client.cluster,
      namespace,
      resource,
      podUid,
      certificate,
      usage,
      publicKeySha256: sha256(subjectPublicKeyInfo),
      expiresAt: describeExpiry(expiresAt),
      ...(signed === undefined ? {} : describeSigned(signed)),
      ...(result?.ok === false ? { reason: result.reason } : {}),
    };
  }

  #seconds(): number {
    return Math.floor(this.#options.now() / 1000);
  }
}

function describeSigned({ certificateSha256, credential }: Signed): Partial<AuditLogEntry> {
  return { certificateSha256, credentialSha256: sha256(Buffer.from(credential, 'base64')) };
}

/** A client may name a moment that no calendar has. */
function describeExpiry(seconds: number): string {
  const LAST = 253_402_300_799;
  return seconds <= LAST ? formatRfc3339(seconds) : 'after year 9999';
}

function sha256(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex');
}
