/** Prometheus metrics of keys that are kept elsewhere. */
import { Counter, Histogram, type Registry } from 'prom-client';
import type { KeyResult } from './guarded-key.ts';
import type { KeyBackend } from './key-opener.ts';

export class KeyMetrics {
  readonly #calls: Counter<'backend' | 'result'>;
  readonly #seconds: Histogram<'backend'>;

  /** @param prefix of the program that signs: `dcred_signer` */
  constructor(registry: Registry, prefix: string) {
    this.#calls = new Counter({
      name: `${prefix}_key_requests_total`,
      help: 'Attempts to sign with a key in an HSM, a KMS or Vault, by backend and result: signed, or the reason of the failure.',
      labelNames: ['backend', 'result'],
      registers: [registry],
    });
    this.#seconds = new Histogram({
      name: `${prefix}_key_request_duration_seconds`,
      help: 'Time of an attempt to sign with a key in an HSM, a KMS or Vault, by backend.',
      labelNames: ['backend'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers: [registry],
    });
  }

  called(backend: KeyBackend, result: KeyResult, seconds: number): void {
    this.#calls.inc({ backend, result });
    this.#seconds.observe({ backend }, seconds);
  }
}
