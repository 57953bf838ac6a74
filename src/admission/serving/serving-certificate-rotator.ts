/**
 * Rotates the serving certificate: watches the Secret and the configuration, decides (rotation-plan.ts), acts, and waits for the
 * next change or the next due time.
 */
import { isApiError } from '../../kubernetes/api-error.ts';
import { Backoff } from '../../kubernetes/backoff.ts';
import { Reflector, type ReflectorEvent } from '../../kubernetes/cache/reflector.ts';
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import { type Clock, delay } from '../../kubernetes/clock.ts';
import { TokenBucket } from '../../kubernetes/events/token-bucket.ts';
import type { Logger } from '../../kubernetes/log.ts';
import { MUTATING_WEBHOOK_CONFIGURATIONS, SECRETS } from '../../kubernetes/resource-type.ts';
import { formatRfc3339Milli } from '../../text/rfc3339.ts';
import { certificateSecret, readSecret, type ServingCertificateSecret } from './certificate-secret.ts';
import { planRotation, type RotationPlan, type RotationReason } from './rotation-plan.ts';
import { makeCertificate, type ServingCertificate } from './serving-certificate.ts';
import { trustedAuthorities, trusting, type WebhookConfiguration } from './webhook-configuration.ts';

export type CertificateEvent =
  | { readonly kind: 'issued' | 'trusted' | 'failed' }
  | { readonly kind: 'served'; readonly notAfter: number };

export interface ServingCertificateRotatorOptions {
  readonly client: ApiClient;
  readonly secret: { readonly namespace: string; readonly name: string };
  /** Of the MutatingWebhookConfiguration. */
  readonly configuration: string;
  /** DNS names and IP addresses at which the API server reaches the webhook. */
  readonly names: readonly string[];
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  /** Called when another certificate is to be served. */
  readonly onServe: (certificate: ServingCertificate) => void;
  readonly observe?: (event: CertificateEvent) => void;
  readonly observeWatch?: (resource: string, event: ReflectorEvent) => void;
  /** Default: 30 days. Renewed when a third is left. */
  readonly lifetimeMs?: number;
  /** How long the API server may take to load a changed bundle; its watches take milliseconds. Default: 30 s. */
  readonly trustDelayMs?: number;
}

const DAY_MS = 86_400_000;
const DEFAULT_LIFETIME_MS = 30 * DAY_MS;
const DEFAULT_TRUST_DELAY_MS = 30_000;
/** A rotation writes the bundle once or twice; when it is written more often, another client is reverting it. */
const TRUST_BURST = 10;
const TRUSTS_PER_SECOND = 0.1;
/** The wall clock may be set: the longest sleep before it is read again. */
const MAX_SLEEP_MS = 600_000;
/** Time for a watch to deliver our own write. */
const WATCH_TIMEOUT_MS = 5_000;

export class ServingCertificateRotator {
  readonly #options: ServingCertificateRotatorOptions;
  readonly #secret: Reflector<ServingCertificateSecret>;
  readonly #configuration: Reflector<WebhookConfiguration>;
  readonly #backoff: Backoff;
  readonly #trusts: TokenBucket;
  #reverted = false;
  /** When each CA was first seen in the bundle, on the monotonic clock. */
  readonly #trustedSince = new Map<string, number>();
  #serving: ServingCertificate | undefined;
  /** On the monotonic clock. */
  #issuedMs = Number.NEGATIVE_INFINITY;
  #problem: string | undefined = 'the serving certificate has not been read yet';
  #changed = new AbortController();

  constructor(options: ServingCertificateRotatorOptions) {
    this.#options = options;
    const { client, clock, configuration, log, observeWatch, random, secret } = options;
    const engine = { client, clock, random, log, keyOf: () => '', onChange: () => this.#changed.abort() };
    const observe = (resource: string) => (event: ReflectorEvent) => observeWatch?.(resource, event);
    this.#secret = new Reflector<ServingCertificateSecret>({
      ...engine,
      type: SECRETS,
      namespace: secret.namespace,
      fieldSelector: `metadata.name=${secret.name}`,
      transform: (raw) => raw as ServingCertificateSecret,
      observe: observe('secrets'),
    });
    this.#configuration = new Reflector<WebhookConfiguration>({
      ...engine,
      type: MUTATING_WEBHOOK_CONFIGURATIONS,
      fieldSelector: `metadata.name=${configuration}`,
      transform: (raw) => raw as WebhookConfiguration,
      observe: observe('mutatingwebhookconfigurations'),
    });
    this.#backoff = new Backoff({ baseMs: 500, maxMs: 60_000, random });
    this.#trusts = new TokenBucket({ clock, burst: TRUST_BURST, perSecond: TRUSTS_PER_SECOND });
  }

  /** Why this replica is not ready; undefined when it is. */
  get problem(): string | undefined {
    return this.#problem;
  }

  get serving(): ServingCertificate | undefined {
    return this.#serving;
  }

  /** Resolves when the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const watches = [this.#secret.run(signal), this.#configuration.run(signal)];
    const synced = Promise.all([this.#secret.synced, this.#configuration.synced]);
    await Promise.race([synced, Promise.all(watches)]);
    while (!signal.aborted) {
      // Replaced first: a change during the round starts the next one.
      this.#changed = new AbortController();
      const sleepMs = await this.#round(signal);
      await delay(this.#options.clock, sleepMs, AbortSignal.any([signal, this.#changed.signal]));
    }
    await Promise.all(watches);
  }

  /** @returns how long to sleep unless something changes before, in milliseconds */
  async #round(signal: AbortSignal): Promise<number> {
    const { clock, log, observe } = this.#options;
    const decision = this.#decide();
    this.#problem = decision.problem;
    if (decision.serve !== undefined) this.#serve(decision.serve);
    try {
      const isDelivered = clock.monotonic() - this.#issuedMs >= WATCH_TIMEOUT_MS;
      if (decision.issue !== undefined && isDelivered) await this.#issue(decision.issue, signal);
      if (decision.trust !== undefined) {
        const waitMs = this.#trusts.take();
        if (waitMs > 0) return this.#backOff(waitMs);
        await this.#trust(decision.trust, signal);
        this.#reverted = false;
      }
      this.#backoff.reset();
    } catch (error) {
      if (signal.aborted) return 0;
      // Another replica wrote first: the watch is about to deliver its write.
      if (isApiError(error, 'Conflict') || isApiError(error, 'AlreadyExists')) return WATCH_TIMEOUT_MS;
      observe?.({ kind: 'failed' });
      const retryInMs = Math.round(this.#backoff.next());
      log.warn({ err: error, retryInMs }, 'failed to rotate the serving certificate');
      return retryInMs;
    }
    if (decision.serve !== undefined) return 0;
    if (decision.issue !== undefined || decision.trust !== undefined) return WATCH_TIMEOUT_MS;
    const untilMs = decision.wakeAt === undefined ? MAX_SLEEP_MS : decision.wakeAt - clock.now();
    return Math.min(MAX_SLEEP_MS, Math.max(1, untilMs));
  }

  /** Backs off when another client keeps reverting our writes. Logged once, not with each of its changes. */
  #backOff(waitMs: number): number {
    const { configuration: name, log } = this.#options;
    if (!this.#reverted) log.warn({ name }, 'another client keeps changing the caBundle, backing off');
    this.#reverted = true;
    return waitMs;
  }

  #decide(): RotationPlan {
    const { clock, names, trustDelayMs = DEFAULT_TRUST_DELAY_MS } = this.#options;
    const now = clock.now();
    const secret = readSecret(this.#secret.store.get(''), names, now);
    const trusted = this.#trusted(secret.kind === 'usable' ? secret.certificate : undefined, now, trustDelayMs);
    return planRotation({ now, secret, serving: this.#serving, trusted, trustDelayMs });
  }

  #trusted(
    candidate: ServingCertificate | undefined,
    now: number,
    trustDelayMs: number,
  ): ReadonlyMap<string, number> | undefined {
    const configuration = this.#configuration.store.get('');
    if (configuration === undefined) {
      this.#trustedSince.clear();
      return undefined;
    }
    const monotonic = this.#options.clock.monotonic();
    const present = trustedAuthorities(configuration).filter(({ notAfter }) => notAfter > now);
    const ids = new Set(present.map(({ id }) => id));
    for (const id of this.#trustedSince.keys()) if (!ids.has(id)) this.#trustedSince.delete(id);
    for (const id of ids) {
      if (this.#trustedSince.has(id)) continue;
      // A replica that has just started need not wait for a CA that was trusted long ago.
      const isOld =
        this.#serving === undefined && candidate?.authorityId === id && now - candidate.issuedAt >= trustDelayMs;
      // A CA that was alone was used from the start, and stays ready when others are added.
      const isSettled = isOld || ids.size === 1;
      this.#trustedSince.set(id, isSettled ? Number.NEGATIVE_INFINITY : monotonic);
    }
    return new Map([...this.#trustedSince].map(([id, since]) => [id, monotonic - since]));
  }

  #serve(certificate: ServingCertificate): void {
    const { log, observe, onServe } = this.#options;
    onServe(certificate);
    this.#serving = certificate;
    log.info({ notAfter: formatRfc3339Milli(certificate.notAfter) }, 'serving a certificate');
    observe?.({ kind: 'served', notAfter: certificate.notAfter });
  }

  /** Writes the Secret, conditional on the version read. Every replica, this one too, receives it by its watch. */
  async #issue(reason: RotationReason, signal: AbortSignal): Promise<void> {
    const { client, clock, lifetimeMs = DEFAULT_LIFETIME_MS, log, names, observe, secret } = this.#options;
    const over = this.#secret.store.get('');
    const files = await makeCertificate({ names, now: clock.now(), lifetimeMs });
    const object = certificateSecret(secret, files, over);
    if (over === undefined) await client.create(SECRETS, object, { signal, metadataOnly: true });
    else await client.replace(SECRETS, object, { signal, metadataOnly: true });
    this.#issuedMs = clock.monotonic();
    log.info({ ...secret, reason }, 'issued a serving certificate');
    observe?.({ kind: 'issued' });
  }

  async #trust(needed: readonly ServingCertificate[], signal: AbortSignal): Promise<void> {
    const { client, clock, configuration: name, log, observe } = this.#options;
    const configuration = this.#configuration.store.get('');
    if (configuration === undefined) return;
    const authorities = needed.map(({ authorityId, authorityPem }) => ({ id: authorityId, pem: authorityPem }));
    const object = trusting(configuration, authorities, clock.now());
    await client.apply(MUTATING_WEBHOOK_CONFIGURATIONS, object, { signal, force: true, metadataOnly: true });
    log.info({ name, authorities: needed.length }, 'added the CA to the caBundle');
    observe?.({ kind: 'trusted' });
  }
}
