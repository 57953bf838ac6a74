/**
 * Wires the webhook: injection, server, serving certificate.
 *
 *   listen -> certificate (issued or found, trusted) -> ready -> SIGTERM: not ready, drains -> stopped
 */
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { Logger } from '../kubernetes/log.ts';
import type { ListenAddress } from '../serving/listen.ts';
import type { InServerSpan } from '../tracing/tracing.ts';
import type { InjectionOptions } from './injection/inject.ts';
import { readLimitRanges } from './injection/limit-range.ts';
import type { RandomBytes } from './injection/secret-name.ts';
import type { WebhookMetrics } from './metrics.ts';
import { PodReviewer } from './pod-reviewer.ts';
import { LimitRanges } from './serving/limit-ranges.ts';
import { AdmissionServer } from './serving/server.ts';
import {
  ServingCertificateRotator,
  type ServingCertificateRotatorOptions,
} from './serving/serving-certificate-rotator.ts';

export interface WebhookOptions
  extends Pick<ServingCertificateRotatorOptions, 'secret' | 'configuration' | 'names' | 'lifetimeMs' | 'trustDelayMs'> {
  readonly client: ApiClient;
  readonly address: ListenAddress;
  readonly metrics: WebhookMetrics;
  readonly clock: Clock;
  /** In [0, 1). For jitter, never for names. */
  readonly random: () => number;
  readonly randomBytes: RandomBytes;
  readonly injection?: InjectionOptions;
  readonly log: Logger;
  readonly inServerSpan?: InServerSpan | undefined;
  /** How long it keeps answering after SIGTERM. */
  readonly shutdownDelayMs: number;
}

export class Webhook {
  readonly #options: WebhookOptions;
  readonly #server: AdmissionServer;
  readonly #rotator: ServingCertificateRotator;
  #draining = false;

  constructor(options: WebhookOptions) {
    this.#options = options;
    const { client, clock, injection = {}, log, metrics, randomBytes } = options;
    this.#server = new AdmissionServer({
      ...options,
      reviewer: new PodReviewer(randomBytes, injection, new LimitRanges(client, clock, log, readLimitRanges)),
      observe: (observation) => metrics.admission(observation),
    });
    this.#rotator = new ServingCertificateRotator({
      ...options,
      onServe: (certificate) => this.#server.use(certificate),
      observe: (event) => metrics.certificateEvent(event),
      observeWatch: (resource, event) => metrics.engine.watchEvent(resource, event),
    });
  }

  get port(): number {
    return this.#server.port;
  }

  /** Why it is not ready; undefined when it is. */
  get problem(): string | undefined {
    return this.#draining ? 'draining' : this.#rotator.problem;
  }

  /** Rejects when the address cannot be bound. */
  listen(): Promise<void> {
    return this.#server.listen();
  }

  /** Runs until the signal, then until requests in flight are answered. */
  async run(signal: AbortSignal): Promise<void> {
    const { log, shutdownDelayMs } = this.#options;
    await this.#rotator.run(signal);
    this.#draining = true;
    log.info({}, 'draining');
    await this.#server.drain(shutdownDelayMs);
  }
}
