/** The signer's metrics. Every label has a closed set of values. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { KeyResult } from '../keys/guarded-key.ts';
import { KeyMetrics } from '../keys/key-metrics.ts';
import type { KeyBackend } from '../keys/key-opener.ts';
import type { GrantsReadable } from './grant-watch.ts';
import type { RefusalReason, SignResult } from './protocol.ts';

const RESULTS = [
  'signed',
  'NotPermitted',
  'CertificateInvalid',
  'PublicKeyUnsupported',
  'LifetimeNotAllowed',
  'SigningFailed',
] as const satisfies readonly ('signed' | RefusalReason)[];

export class SignerMetrics {
  readonly registry = new Registry();
  readonly #results = new Counter({
    name: 'dcred_signer_requests_total',
    help: 'Requested signatures, by result: signed, or the reason of the refusal.',
    labelNames: ['result'],
    registers: [this.registry],
  });
  readonly #calls = new Counter({
    name: 'dcred_signer_http_requests_total',
    help: 'HTTP requests, by status code.',
    labelNames: ['code'],
    registers: [this.registry],
  });
  readonly #seconds = new Histogram({
    name: 'dcred_signer_http_request_duration_seconds',
    help: 'Time from a request to its answer, except for requests that wait for a certificate to change.',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [this.registry],
  });
  readonly #sequence = new Gauge({
    name: 'dcred_signer_audit_sequence',
    help: 'Number of the last entry in the audit log: a log whose last entry has a lower number was truncated.',
    registers: [this.registry],
  });
  readonly #usable = new Gauge({
    name: 'dcred_signer_certificate_usable',
    help: '1 if the certificate and its key were loaded and belong together, else 0.',
    labelNames: ['certificate'],
    registers: [this.registry],
  });

  readonly #files = new Gauge({
    name: 'dcred_signer_file_current',
    help: '1 if the file (serving certificate, client CA, keys of an issuer) is in use as it was read last, 0 if it cannot be used and an earlier one is.',
    labelNames: ['file'],
    registers: [this.registry],
  });

  readonly #keys = new KeyMetrics(this.registry, 'dcred_signer');

  constructor(version: string) {
    new Gauge({
      name: 'dcred_build_info',
      help: 'Always 1; labelled with the version.',
      labelNames: ['version'],
      registers: [this.registry],
    }).set({ version }, 1);
    for (const result of RESULTS) this.#results.inc({ result }, 0);
  }

  collectProcessMetrics(): void {
    collectDefaultMetrics({ register: this.registry });
  }

  result(result: SignResult): void {
    this.#results.inc({ result: result.ok ? 'signed' : result.reason });
  }

  /** `seconds` is undefined for calls that wait for news. */
  call(code: number, seconds: number | undefined): void {
    this.#calls.inc({ code: String(code) });
    if (seconds !== undefined) this.#seconds.observe(seconds);
  }

  auditSequence(sequence: number): void {
    this.#sequence.set(sequence);
  }

  key(backend: KeyBackend, result: KeyResult, seconds: number): void {
    this.#keys.called(backend, result, seconds);
  }

  file(file: string, current: boolean): void {
    this.#files.set({ file }, current ? 1 : 0);
  }

  certificate(certificate: string, usable: boolean): void {
    this.#usable.set({ certificate }, usable ? 1 : 0);
  }

  /** Read when scraped. */
  watchGrants(readable: () => readonly GrantsReadable[]): void {
    const gauge: Gauge<'resource' | 'namespace'> = new Gauge({
      name: 'dcred_signer_grants_readable',
      help: '1 if the API server shows what grants are decided by, 0 if it refuses to; namespaces have no namespace.',
      labelNames: ['resource', 'namespace'],
      registers: [this.registry],
      collect: () => {
        gauge.reset();
        for (const { isReadable, namespace, resource } of readable())
          gauge.set({ resource, namespace }, isReadable ? 1 : 0);
      },
    });
  }
}
