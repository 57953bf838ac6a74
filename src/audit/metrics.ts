/** Prometheus metrics of scheduled audits. */
import { Counter, Gauge, Registry } from 'prom-client';
import { EngineMetrics } from '../metrics/engine-metrics.ts';
import type { AuditResult } from './result.ts';
import { type AuditState, FINDINGS } from './verdict.ts';

/** What a server serves in the place of its Secret's credential. */
const STALE: readonly AuditState[] = ['invalid', 'wrong-leaf', 'other', 'stale', 'none'];
const STATES: readonly AuditState[] = [...FINDINGS, 'updating', 'not-running', 'current'];

export class AuditMetrics {
  readonly registry = new Registry();
  /** What the engine counts: requests. */
  readonly engine = new EngineMetrics(this.registry);
  readonly #stale = new Gauge({
    name: 'dcred_served_credential_stale',
    help: "Servers that serve a credential other than their Secret's, one that clients refuse, or none, by resource.",
    labelNames: ['namespace', 'name'],
    registers: [this.registry],
  });
  readonly #servers = new Gauge({
    name: 'dcred_audited_servers',
    help: 'Audited servers by what they serve: current, updating, not-running, or a finding.',
    labelNames: ['namespace', 'name', 'state'],
    registers: [this.registry],
  });
  readonly #leaves = new Gauge({
    name: 'dcred_served_leaves',
    help: 'Distinct leaf certificates served, by resource: more than 1 means that not all servers have the same leaf.',
    labelNames: ['namespace', 'name'],
    registers: [this.registry],
  });
  readonly #expiry = new Gauge({
    name: 'dcred_served_credential_expiry_timestamp_seconds',
    help: 'When the first of the served credentials expires, in seconds since the epoch, by resource.',
    labelNames: ['namespace', 'name'],
    registers: [this.registry],
  });
  readonly #runs = new Counter({
    name: 'dcred_audit_runs_total',
    help: 'Audits, by outcome: success, failure (the API server did not answer).',
    labelNames: ['outcome'],
    registers: [this.registry],
  });
  readonly #seconds = new Gauge({
    name: 'dcred_audit_duration_seconds',
    help: 'How long the last audit took.',
    registers: [this.registry],
  });
  readonly #last = new Gauge({
    name: 'dcred_audit_last_success_timestamp_seconds',
    help: 'When the last successful audit finished, in seconds since the epoch; 0 before the first.',
    registers: [this.registry],
  });

  constructor(version: string) {
    for (const outcome of ['success', 'failure']) this.#runs.inc({ outcome }, 0);
    const info = { name: 'dcred_build_info', help: 'Always 1; labelled with the version.' };
    new Gauge({ ...info, labelNames: ['version'], registers: [this.registry] }).set({ version }, 1);
  }

  failed(): void {
    this.#runs.inc({ outcome: 'failure' });
  }

  /** Replaces what the audit before found: a resource that is gone leaves no series behind. */
  succeeded(result: AuditResult): void {
    for (const gauge of [this.#stale, this.#servers, this.#leaves, this.#expiry]) gauge.reset();
    const expiries = firstExpiries(result);
    for (const { leaves, name, namespace, states } of result.resources) {
      const labels = { namespace, name };
      this.#stale.set(
        labels,
        STALE.reduce((sum, state) => sum + (states[state] ?? 0), 0),
      );
      for (const state of STATES) this.#servers.set({ ...labels, state }, states[state] ?? 0);
      this.#leaves.set(labels, leaves.length);
      const expiry = expiries.get(`${namespace}/${name}`);
      if (expiry !== undefined) this.#expiry.set(labels, expiry);
    }
    this.#runs.inc({ outcome: 'success' });
    this.#seconds.set(result.finishedAt - result.startedAt);
    this.#last.set(result.finishedAt);
  }
}

function firstExpiries({ entries }: AuditResult): ReadonlyMap<string, number> {
  const first = new Map<string, number>();
  for (const { served, subject } of entries) {
    const expiresAt = served?.credential?.expiresAt;
    if (expiresAt === undefined) continue;
    const { name, namespace } = subject.resource.metadata;
    const key = `${namespace}/${name}`;
    first.set(key, Math.min(expiresAt, first.get(key) ?? expiresAt));
  }
  return first;
}
