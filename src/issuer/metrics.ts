/** Prometheus metrics of `dcred issuer`. Every series with a known set of labels starts at 0. */
import { Counter, Gauge, Registry } from 'prom-client';
import type { KeyResult } from '../keys/guarded-key.ts';
import { KeyMetrics } from '../keys/key-metrics.ts';
import type { KeyBackend } from '../keys/key-opener.ts';
import { EngineMetrics } from '../metrics/engine-metrics.ts';
import type { RequestOutcome } from './certificate-request.ts';

const RESULTS = ['Issued', 'Pending', 'Failed', 'Denied'] as const satisfies readonly RequestOutcome['reason'][];
/** Of a DelegationIssuer, or of a ClusterDelegationIssuer, whose namespace is empty. */
const ISSUER_LABELS = ['kind', 'namespace', 'name'] as const;

export type IssuerLabels = Readonly<Record<(typeof ISSUER_LABELS)[number], string>>;

export class IssuerMetrics {
  readonly registry = new Registry();
  /** What the engine counts: requests, watches, the queue, leadership. */
  readonly engine = new EngineMetrics(this.registry);
  readonly #results = new Counter({
    name: 'dcred_issuer_requests_total',
    help: 'Verdicts on CertificateRequests, by reason: Issued, Failed, Denied; Pending counts every attempt.',
    labelNames: ['result'],
    registers: [this.registry],
  });
  readonly #usable = new Gauge({
    name: 'dcred_issuer_ca_usable',
    help: '1 if the CA of the issuer can sign, else 0.',
    labelNames: ISSUER_LABELS,
    registers: [this.registry],
  });
  readonly #expiry = new Gauge({
    name: 'dcred_issuer_ca_not_after_timestamp_seconds',
    help: 'When the CA of the issuer expires, in seconds since the epoch. What it signs expires no later.',
    labelNames: ISSUER_LABELS,
    registers: [this.registry],
  });
  readonly #keys = new KeyMetrics(this.registry, 'dcred_issuer');

  constructor(version: string) {
    for (const result of RESULTS) this.#results.inc({ result }, 0);
    const info = { name: 'dcred_build_info', help: 'Always 1; labelled with the version.' };
    new Gauge({ ...info, labelNames: ['version'], registers: [this.registry] }).set({ version }, 1);
  }

  decided(result: RequestOutcome['reason']): void {
    this.#results.inc({ result });
  }

  /** @param notAfter of the CA's certificate, in seconds; undefined where it cannot sign */
  authority(issuer: IssuerLabels, notAfter: number | undefined): void {
    this.#usable.set(issuer, notAfter === undefined ? 0 : 1);
    if (notAfter === undefined) this.#expiry.remove(issuer);
    else this.#expiry.set(issuer, notAfter);
  }

  issuerGone(issuer: IssuerLabels): void {
    this.#usable.remove(issuer);
    this.#expiry.remove(issuer);
  }

  key(backend: KeyBackend, result: KeyResult, seconds: number): void {
    this.#keys.called(backend, result, seconds);
  }
}
