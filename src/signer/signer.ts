/**
 * The signer, wired together. The one process that can use a certificate's key: it reads no objects of tenants, and signs
 * delegated credentials and nothing else.
 *
 *   call -> authenticate (certificate or token) -> rate -> for each request: policy -> turn -> compose, sign, verify
 *        -> audit log -> answer
 */
import type { JSONWebKeySet } from 'jose';
import type { Clock } from '../kubernetes/clock.ts';
import type { Logger } from '../kubernetes/log.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import { AuditLog } from './audit-log.ts';
import { Authenticator, type ReviewToken } from './authentication.ts';
import { CertificateFeed } from './certificate-feed.ts';
import { CertificateSource } from './certificate-source.ts';
import { Changes } from './changes.ts';
import type { SignerConfig } from './config.ts';
import type { SignerMetrics } from './metrics.ts';
import { mayRead } from './policy.ts';
import { SignerServer, type SignerServerOptions } from './server.ts';
import { SigningQueue } from './signing-queue.ts';
import { SigningService } from './signing-service.ts';

export interface SignerProcessOptions extends Pick<SignerServerOptions, 'address' | 'tls'> {
  readonly config: SignerConfig;
  readonly keySets: ReadonlyMap<string, JSONWebKeySet>;
  readonly reviewToken: ReviewToken | undefined;
  /** A file; made if missing. */
  readonly auditLog: string;
  readonly metrics: SignerMetrics;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Ten seconds of a KMS that signs a hundred at a time in 50 ms. */
const QUEUE = { concurrency: 64, maxWaiting: 20_000 } as const;

export class SignerProcess {
  readonly #options: SignerProcessOptions;
  readonly #certificates: CertificateSource;
  readonly #audit: AuditLog;
  readonly #server: SignerServer;

  /** Opens the audit log. Throws AuditLogError. */
  static async create(options: SignerProcessOptions): Promise<SignerProcess> {
    const audit = await AuditLog.open(options.auditLog, formatRfc3339(options.clock.now() / 1000));
    return new SignerProcess(options, audit);
  }

  private constructor(options: SignerProcessOptions, audit: AuditLog) {
    const { clock, config, keySets, log, metrics, reviewToken } = options;
    this.#options = options;
    this.#audit = audit;
    const now = () => clock.now();
    const changes = new Changes();
    this.#certificates = new CertificateSource({
      folders: config.certificates,
      clock,
      log,
      onProblem: (name, problem) => metrics.certificate(name, problem === undefined),
      onChange: () => changes.notify(),
    });
    const grants = () => config.grants;
    const { maxLifetimeSeconds } = config;
    const service = new SigningService({
      certificates: this.#certificates,
      grants,
      mayRead: (certificate, cluster) => mayRead(config.grants, certificate, cluster),
      queue: new SigningQueue(QUEUE),
      audit: {
        append: async (entries) => {
          await audit.append(entries);
          metrics.auditSequence(audit.head.sequence - 1);
        },
      },
      maxLifetimeSeconds,
      now,
      log,
      observe: (result) => metrics.result(result),
    });
    this.#server = new SignerServer({
      ...options,
      authenticator: new Authenticator({ clients: config.clients, keySets, reviewToken, now }),
      service,
      feed: new CertificateFeed({ certificates: this.#certificates, grants, changes, maxLifetimeSeconds, clock }),
      ratePerSecond: config.ratePerSecond,
      observe: (status, seconds) => metrics.call(status, seconds),
    });
  }

  get port(): number {
    return this.#server.port;
  }

  /** Why no calls should come here now; undefined: they may. */
  get problem(): string | undefined {
    return this.#certificates.problem;
  }

  /** Rejects when the address cannot be bound. */
  async listen(signal: AbortSignal): Promise<void> {
    await this.#certificates.refresh(signal);
    this.#options.metrics.auditSequence(this.#audit.head.sequence - 1);
    await this.#server.listen();
  }

  /** For new connections, once the serving certificate was renewed. */
  useServingCertificate(certificatePem: string, keyPem: string): void {
    this.#server.use(certificatePem, keyPem);
  }

  /** Runs until the signal; then the calls that have begun end. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#certificates.run(signal);
  }

  async close(): Promise<void> {
    await this.#server.close();
    await this.#audit.close();
  }
}
