/**
 * The webhook, wired together.
 *
 *   listen -> certificate (issued or found, trusted) -> ready -> SIGTERM: not ready, drains -> end
 */
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { Logger } from '../kubernetes/log.ts';
import type { InjectionOptions } from './injection/inject.ts';
import type { RandomBytes } from './injection/secret-name.ts';
import type { WebhookMetrics } from './metrics.ts';
import { type Address, AdmissionServer } from './serving/server.ts';
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
  /** In [0, 1). For delays, never for names. */
  readonly random: () => number;
  readonly randomBytes: RandomBytes;
  readonly injection?: InjectionOptions;
  readonly log: Logger;
  /** How long it answers after it was told to end. */
  readonly shutdownDelayMs: number;
}

export class Webhook {
  readonly #options: WebhookOptions;
  readonly #server: AdmissionServer;
  readonly #keeper: ServingCertificateRotator;
  #draining = false;

  constructor(options: WebhookOptions) {
    this.#options = options;
    const { metrics, randomBytes } = options;
    this.#server = new AdmissionServer({
      ...options,
      random: randomBytes,
      observe: (observation) => metrics.admission(observation),
    });
    this.#keeper = new ServingCertificateRotator({
      ...options,
      onServe: (certificate) => this.#server.use(certificate),
      observe: (event) => metrics.certificateEvent(event),
      observeWatch: (resource, event) => metrics.watchEvent(resource, event),
    });
  }

  get port(): number {
    return this.#server.port;
  }

  /** Why no pods should be sent here now; undefined: they can be. */
  get problem(): string | undefined {
    return this.#draining ? 'draining' : this.#keeper.problem;
  }

  /** Rejects when the address cannot be bound. */
  listen(): Promise<void> {
    return this.#server.listen();
  }

  /** Runs until the signal, and then until what was begun is answered. */
  async run(signal: AbortSignal): Promise<void> {
    const { log, shutdownDelayMs } = this.#options;
    await this.#keeper.run(signal);
    this.#draining = true;
    log.info({}, 'draining');
    await this.#server.drain(shutdownDelayMs);
  }
}
