/**
 * Prometheus metrics. Every series with a known set of labels starts at 0, so that rates and alerts work from the first scrape.
 * The only labels with an open set of values are the namespace and the name of a DelegatedCredential, which the API server limits
 * to DNS names; they go when the resource goes.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ReconcileObservation } from '../../kubernetes/queue/workers.ts';
import { EngineMetrics } from '../../metrics/engine-metrics.ts';
import type { CacheRefusal } from '../caches.ts';
import { POD_WARNING_REASONS, type PodWarningReason } from '../core/missed-injection.ts';
import { DELETE_REASONS, type DeleteReason, ISSUE_REASONS, type IssueReason } from '../core/plan.ts';
import { POD_FAILURE_REASONS, type PodFailureReason } from '../pod-failure.ts';
import { type ResourceFacts, ResourceSeries } from './resource-series.ts';

const WATCHED = ['delegatedcredentials', 'pods', 'secrets', 'certificates', 'delegationgrants', 'namespaces'] as const;
const QUEUES = ['pod', 'resource', 'grant'] as const;
const OUTCOMES = ['done', 'at', 'retry', 'stalled'] as const satisfies ReconcileObservation['outcome'][];
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What prom-client registers, and the series of the resources, which are too many for it. */
class OperatorRegistry extends Registry {
  readonly resources = new ResourceSeries();

  override async metrics(): Promise<string> {
    return `${await super.metrics()}\n${await this.resources.text()}`;
  }
}

export class OperatorMetrics {
  readonly registry = new OperatorRegistry();
  /** What the engine counts: requests, watches, queues, leadership. */
  readonly engine = new EngineMetrics(this.registry);
  readonly #issued = this.#counter('dcred_credentials_issued_total', 'Credentials issued, by reason.', ['reason']);
  readonly #deleted = this.#counter('dcred_secrets_deleted_total', 'Issued Secrets deleted, by reason.', ['reason']);
  readonly #failed = this.#counter(
    'dcred_pod_failures_total',
    'Failed attempts to issue a credential to a pod, by reason.',
    ['reason'],
  );
  readonly #nudged = this.#counter(
    'dcred_kubelet_nudges_total',
    'Pod annotations written so that the kubelet refreshes the mounted Secret at once, by outcome.',
    ['outcome'],
  );
  readonly #warned = this.#counter(
    'dcred_pod_warnings_total',
    'Warnings about pods that request a credential and cannot use one, by reason.',
    ['reason'],
  );
  readonly #chains = this.#counter(
    'dcred_chains_published_total',
    'Secrets that got a new certificate chain under the same leaf, key and credential.',
    [],
  );
  readonly #cleanUps = this.#counter(
    'dcred_clean_up_failures_total',
    'Secrets that are no longer needed and could not be deleted or relabelled.',
    [],
  );
  readonly #issueSeconds = this.#histogram(
    'dcred_issue_duration_seconds',
    'Time from generating the key to having written the Secret.',
    [],
  );
  readonly #reconcile = this.#histogram('dcred_reconcile_duration_seconds', 'Time to process one key, by outcome.', [
    'queue',
    'outcome',
  ]);

  constructor(version: string) {
    for (const reason of ISSUE_REASONS) this.#issued.inc({ reason }, 0);
    for (const reason of DELETE_REASONS) this.#deleted.inc({ reason }, 0);
    for (const reason of POD_FAILURE_REASONS) this.#failed.inc({ reason }, 0);
    for (const reason of POD_WARNING_REASONS) this.#warned.inc({ reason }, 0);
    for (const outcome of ['ok', 'failed'] as const) this.#nudged.inc({ outcome }, 0);
    for (const resource of WATCHED) this.engine.expectWatch(resource);
    for (const queue of QUEUES) {
      this.engine.expectQueue(queue);
      for (const outcome of OUTCOMES) this.#reconcile.zero({ queue, outcome });
    }
    this.#gauge('dcred_build_info', 'Always 1; the version is in the label.', ['version']).set({ version }, 1);
  }

  issued(reason: IssueReason, seconds: number): void {
    this.#issued.inc({ reason });
    this.#issueSeconds.observe(seconds);
  }

  deleted(reason: DeleteReason): void {
    this.#deleted.inc({ reason });
  }

  failed(reason: PodFailureReason): void {
    this.#failed.inc({ reason });
  }

  chainPublished(): void {
    this.#chains.inc();
  }

  cleanUpFailed(): void {
    this.#cleanUps.inc();
  }

  podWarned(reason: PodWarningReason): void {
    this.#warned.inc({ reason });
  }

  kubeletNudged(outcome: 'ok' | 'failed'): void {
    this.#nudged.inc({ outcome });
  }

  resource(facts: ResourceFacts): void {
    this.registry.resources.set(facts);
  }

  /** Its spec cannot be read: the other series keep their last value. */
  unready({ name, namespace }: Pick<ResourceFacts, 'namespace' | 'name'>): void {
    this.registry.resources.unready(namespace, name);
  }

  resourceGone(namespace: string, name: string): void {
    this.registry.resources.delete(namespace, name);
  }

  /** Read when scraped. */
  watchRefusals(refusals: () => readonly CacheRefusal[]): void {
    const gauge: Gauge<'resource' | 'namespace'> = new Gauge({
      name: 'dcred_namespace_unreadable',
      help: '1 for every kind of object that the API server refuses to list or watch, by namespace; empty: all of them.',
      labelNames: ['resource', 'namespace'],
      registers: [this.registry],
      collect: () => {
        gauge.reset();
        for (const { namespace, resource } of refusals()) gauge.set({ resource, namespace }, 1);
      },
    });
  }

  /** Read when scraped. */
  watchClockSkew(skewMs: () => number | undefined): void {
    const gauge: Gauge = new Gauge({
      name: 'dcred_clock_skew_seconds',
      help: 'How far the local clock is ahead of the API server; negative: behind.',
      registers: [this.registry],
      collect: () => gauge.set((skewMs() ?? 0) / 1000),
    });
  }

  reconciled(queue: string, { outcome, seconds }: ReconcileObservation): void {
    this.#reconcile.observe({ queue, outcome }, seconds);
  }

  #counter<L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  #gauge<L extends string>(name: string, help: string, labelNames: readonly L[]): Gauge<L> {
    return new Gauge({ name, help, labelNames, registers: [this.registry] });
  }

  #histogram<L extends string>(name: string, help: string, labelNames: readonly L[]): Histogram<L> {
    return new Histogram({ name, help, labelNames, buckets: SECONDS, registers: [this.registry] });
  }
}
