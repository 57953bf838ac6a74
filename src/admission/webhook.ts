/**
 * Wires the webhook: injection, server, serving certificate.
 *
 *   listen -> certificate (issued or found, trusted) -> ready -> SIGTERM: not ready, drains -> stopped
 */
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { Logger } from '../kubernetes/log.ts';
import type { InjectionOptions } from './injection/inject.ts';
import { admit, ReviewError } from './injection/review.ts';
import type { RandomBytes } from './injection/secret-name.ts';
import type { WebhookMetrics } from './metrics.ts';
import { type Address, AdmissionServer, type ReviewResult } from './serving/server.ts';
import {
  ServingCertificateRotator,
  type ServingCertificateRotatorOptions,
} from './serving/serving-certificate-rotator.ts';

export interface WebhookOptions
  extends Pick<ServingCertificateRotatorOptions, 'secret' | 'configuration' | 'names' | 'lifetimeMs' | 'trustDelayMs'> {
  readonly client: ApiClient;
  readonly address: Address;
  readonly metrics: WebhookMetrics;
  readonly clock: Clock;
  /** In [0, 1). For jitter, never for names. */
  readonly random: () => number;
  readonly randomBytes: RandomBytes;
  readonly injection?: InjectionOptions;
  readonly log: Logger;
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
    const { metrics } = options;
    this.#server = new AdmissionServer({
      ...options,
      review: reviewer(options),
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

/** What the server answers: injection, with the errors of its input as values. */
function reviewer({ injection, randomBytes }: WebhookOptions): (body: string) => ReviewResult {
  return (body) => {
    try {
      return admit(body, randomBytes, injection);
    } catch (error) {
      if (error instanceof ReviewError) return { outcome: 'malformed', message: error.message };
      throw error;
    }
  };
}
