/**
 * The signer, wired together. The one process that can use a certificate's key: it reads no objects of tenants, and signs
 * delegated credentials and nothing else.
 *
 *   call -> authenticate (certificate or token) -> rate -> for each request: policy -> turn -> compose, sign, verify
 *        -> audit log -> answer
 */
import type { JSONWebKeySet } from 'jose';
import { KeyOpener } from '../keys/key-opener.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { Logger } from '../kubernetes/log.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import { AuditLog } from './audit-log.ts';
import { Authenticator, type ReviewToken } from './authentication.ts';
import { CertificateFeed } from './certificate-feed.ts';
import { fetchCertificateSecret, readCertificateConfigMap } from './certificate-objects.ts';
import { CertificateSource } from './certificate-source.ts';
import { Changes } from './changes.ts';
import { type SignerConfig, SignerConfigError, splitCertificateName } from './config.ts';
import { GrantWatch } from './grant-watch.ts';
import { GrantedUses } from './granted-uses.ts';
import type { SignerMetrics } from './metrics.ts';
import { SignerServer, type SignerServerOptions } from './server.ts';
import { SigningQueue } from './signing-queue.ts';
import { SigningService } from './signing-service.ts';
import { Withdrawals } from './withdrawals.ts';

export interface SignerProcessOptions extends Pick<SignerServerOptions, 'address' | 'inServerSpan' | 'tls'> {
  readonly config: SignerConfig;
  readonly keySets: ReadonlyMap<string, JSONWebKeySet>;
  readonly reviewToken: ReviewToken | undefined;
  /** For Secrets and grants; undefined where the configuration names none. */
  readonly client?: ApiClient | undefined;
  /** A file; made if missing. */
  readonly auditLog: string;
  /** Where the backends of keys find their addresses and credentials. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly metrics: SignerMetrics;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Ten seconds of a KMS that signs a hundred at a time in 50 ms. An operator has 2,000 waiting at most: four calls of 500. */
const QUEUE = { concurrency: 64, maxWaiting: 20_000, maxWaitingOfOne: 5_000 } as const;

export class SignerProcess {
  readonly #options: SignerProcessOptions;
  readonly #certificates: CertificateSource;
  readonly #audit: AuditLog;
  readonly #grants: GrantWatch | undefined;
  readonly #authenticator: Authenticator;
  readonly #server: SignerServer;
  #isListening = false;

  /** Opens the audit log. Throws AuditLogError. */
  static async create(options: SignerProcessOptions): Promise<SignerProcess> {
    const audit = await AuditLog.open(options.auditLog, formatRfc3339(options.clock.now() / 1000));
    return new SignerProcess(options, audit);
  }

  private constructor(options: SignerProcessOptions, audit: AuditLog) {
    const { client, clock, config, keySets, log, metrics, reviewToken } = options;
    this.#options = options;
    this.#audit = audit;
    const now = () => clock.now();
    const changes = new Changes();
    const keys = new KeyOpener({
      env: options.env,
      clock,
      observe: (backend, result, seconds) => metrics.key(backend, result, seconds),
    });
    this.#certificates = new CertificateSource({
      locations: config.certificates,
      openRemoteKey: (uri, certificate, signal) => keys.open(uri, certificate, signal),
      objects: client && {
        readSecret: (name, signal) => fetchCertificateSecret(client, name, signal),
        readConfigMap: (name, signal) => readCertificateConfigMap(client, name, signal),
      },
      clock,
      log,
      onProblem: (name, problem) => metrics.certificate(name, problem === undefined),
      onChange: () => changes.notify(),
    });
    this.#grants = config.delegationGrants ? watchGrants(options, () => changes.notify()) : undefined;
    metrics.watchGrants(() => this.#grants?.readable ?? []);
    const grants = new GrantedUses({ configured: config.grants, watch: this.#grants });
    const { maxLifetimeSeconds } = config;
    const service = new SigningService({
      certificates: this.#certificates,
      grants,
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
    this.#authenticator = new Authenticator({ clients: config.clients, keySets, reviewToken, clock });
    this.#server = new SignerServer({
      ...options,
      authenticator: this.#authenticator,
      service,
      withdrawals: new Withdrawals({ certificates: this.#certificates, grants, clock }),
      feed: new CertificateFeed({
        certificates: this.#certificates,
        grants: (question) => grants.known(question),
        changes,
        maxLifetimeSeconds,
        clock,
      }),
      notReady: () => this.#grants?.problem,
      ratePerSecond: config.ratePerSecond,
      observe: (status, seconds) => metrics.call(status, seconds),
    });
  }

  get port(): number {
    return this.#server.port;
  }

  /** Why no calls should come here now; undefined: they may. */
  get problem(): string | undefined {
    if (!this.#isListening) return 'the certificates are being read for the first time';
    return this.#certificates.problem ?? this.#grants?.problem;
  }

  /** Certificates that cannot be used and grants that cannot be read, and why; the others can. Undefined: all can. */
  get exceptions(): string | undefined {
    const found = [this.#certificates.unusable, this.#grants?.refused].filter((one) => one !== undefined);
    return found.length === 0 ? undefined : found.join('; ');
  }

  /** Rejects when the address cannot be bound. */
  async listen(signal: AbortSignal): Promise<void> {
    await this.#certificates.refresh(signal);
    this.#options.metrics.auditSequence(this.#audit.head.sequence - 1);
    await this.#server.listen();
    this.#isListening = true;
  }

  /** For new connections, once the serving certificate was renewed. */
  useServingCertificate(certificatePem: string, keyPem: string): void {
    this.#server.use(certificatePem, keyPem);
  }

  /** In place of the one before, for kept connections too. PEM. */
  useClientCa(clientCaPem: string): void {
    this.#server.trust(clientCaPem);
  }

  /** The keys that an issuer publishes now, in place of those before. */
  useKeySet(issuer: string, keySet: JSONWebKeySet): void {
    this.#authenticator.useKeySet(issuer, keySet);
  }

  /** Runs until the signal; then the calls that have begun end. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#certificates.run(signal), this.#grants?.run(signal)]);
  }

  async close(): Promise<void> {
    await this.#server.close();
    await this.#certificates.close();
    await this.#audit.close();
  }
}

/** Throws SignerConfigError where there is no API server to watch them at. */
function watchGrants({ client, clock, config, log }: SignerProcessOptions, onChange: () => void): GrantWatch {
  if (client === undefined) throw new SignerConfigError('delegationGrants: there is no API server to read them from');
  const namespaces = config.certificates.flatMap(({ name }) => splitCertificateName(name)?.namespace ?? []);
  return new GrantWatch({ client, clock, random: Math.random, log, namespaces, cluster: config.cluster, onChange });
}
