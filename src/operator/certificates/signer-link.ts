/** What an operator without keys uses in place of certificate Secrets: a signer, which it follows and has sign. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Clock } from '../../kubernetes/clock.ts';
import type { Logger } from '../../kubernetes/log.ts';
import { SignerHealth } from '../../signer-client/health.ts';
import type { SignerClient, SignerClientOptions } from '../../signer-client/signer-client.ts';
import { SigningBatcher } from '../../signer-client/signing-batcher.ts';
import type { Tracing } from '../../tracing/tracing.ts';
import type { Certificates, GrantProof } from './certificates.ts';
import { SignerCertificates } from './signer-certificates.ts';

export interface SignerLinkOptions {
  readonly client: SignerClient;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly onCertificate: (resourceKey: string) => void;
  /** The problem began, or is over. */
  readonly onProblem: (problem: string | undefined) => void;
  readonly tracing?: Tracing | undefined;
  readonly signal: AbortSignal;
}

export interface SignerLink {
  readonly certificates: Certificates;
  /** Why the signer gives no credentials at the moment. */
  readonly problem: () => string | undefined;
}

export function linkSigner(options: SignerLinkOptions): SignerLink & { readonly certificates: GrantProof } {
  const { client, clock, log, onCertificate, onProblem, random, signal, tracing } = options;
  const health = new SignerHealth({
    clock,
    onChange: (problem) => {
      if (problem === undefined) log.info({ signer: client.server }, 'no call to the signer fails any more');
      else log.warn({ signer: client.server, detail: problem }, 'the signer does not answer');
      onProblem(problem);
    },
  });
  const batcher = new SigningBatcher({
    client,
    clock,
    random,
    signal,
    tracing,
    onAnswer: (failure) => (failure === undefined ? health.answered('sign') : health.failed('sign', failure)),
  });
  const certificates = new SignerCertificates({
    client,
    batcher,
    health,
    clock,
    random,
    log: log.child({ signer: client.server }),
    onChange: onCertificate,
    signal,
  });
  return { certificates, problem: () => health.problem };
}

/** Counts the calls to a signer. They are not calls to the API server, and not among its metrics. */
export class SignerClientMetrics {
  readonly #calls: Counter<'code'>;
  readonly #seconds: Histogram;
  readonly #available: Gauge;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#calls = new Counter({
      name: 'dcred_signer_client_requests_total',
      help: 'Calls to the signer, by HTTP status; code "<error>": no answer.',
      labelNames: ['code'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'dcred_signer_client_request_duration_seconds',
      help: "Time from sending a call for credentials to the signer's answer.",
      buckets: [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    });
    this.#available = new Gauge({
      name: 'dcred_signer_available',
      help: '1 while the signer answers this operator, 0 otherwise.',
      registers,
    });
    this.#calls.inc({ code: '200' }, 0);
    this.available(true);
  }

  available(isAvailable: boolean): void {
    this.#available.set(isAvailable ? 1 : 0);
  }

  readonly observe: NonNullable<SignerClientOptions['observe']> = ({ seconds, status }) => {
    this.#calls.inc({ code: status === 0 ? '<error>' : String(status) });
    if (seconds !== undefined) this.#seconds.observe(seconds);
  };
}
