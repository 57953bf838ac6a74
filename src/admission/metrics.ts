/** Prometheus metrics of the webhook. Every series whose labels are known in advance starts at 0. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { EngineMetrics } from '../metrics/engine-metrics.ts';
import type { AdmissionObservation } from './serving/server.ts';
import type { CertificateEvent } from './serving/serving-certificate-rotator.ts';

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];

export class WebhookMetrics {
  readonly registry = new Registry();
  /** What the engine counts: requests and watches. */
  readonly engine = new EngineMetrics(this.registry);
  readonly #admissions = new Histogram({
    name: 'dcred_admission_duration_seconds',
    help: 'Seconds from receiving an admission request to its response, by outcome: injected, unchanged, refused (HTTP error).',
    labelNames: ['outcome'],
    buckets: SECONDS,
    registers: [this.registry],
  });
  readonly #warnings = this.#counter(
    'dcred_admission_warnings_total',
    'Warnings returned to clients that create pods.',
    [],
  );
  readonly #certificate = this.#counter(
    'dcred_webhook_certificate_events_total',
    'Steps of serving certificate rotation: issued, trusted, served, failed.',
    ['event'],
  );
  readonly #notAfter = new Gauge({
    name: 'dcred_webhook_certificate_not_after_timestamp_seconds',
    help: 'Expiry of the serving certificate in use, in seconds since the epoch.',
    registers: [this.registry],
  });

  constructor(version: string) {
    for (const outcome of ['injected', 'unchanged', 'refused']) this.#admissions.zero({ outcome });
    for (const event of ['issued', 'trusted', 'served', 'failed']) this.#certificate.inc({ event }, 0);
    const info = { name: 'dcred_build_info', help: 'Always 1; labelled with the version.' };
    new Gauge({ ...info, labelNames: ['version'], registers: [this.registry] }).set({ version }, 1);
  }

  admission({ outcome, seconds, warnings }: AdmissionObservation): void {
    this.#admissions.observe({ outcome }, seconds);
    this.#warnings.inc(warnings);
  }

  certificateEvent(event: CertificateEvent): void {
    this.#certificate.inc({ event: event.kind });
    if (event.kind === 'served') this.#notAfter.set(event.notAfter / 1000);
  }

  #counter<L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }
}
