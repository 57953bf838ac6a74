/**
 * The engine's Prometheus metrics, for every command that runs it. Named as client-go and controller-runtime name them, so that
 * existing dashboards and alerts work; what they have no name for keeps the prefix `dcred_`.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, type Registry } from 'prom-client';
import type { ReflectorEvent } from '../kubernetes/cache/reflector.ts';
import type { ApiCall } from '../kubernetes/client/api-types.ts';
import { EVENT_DROP_REASONS, type EventDropReason } from '../kubernetes/events/event-recorder.ts';
import type { WorkQueue, WorkQueueEvent } from '../kubernetes/queue/work-queue.ts';

/** From a millisecond to the longest timeout of a call. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const WATCH_EVENTS = ['list', 'watch', 'failure', 'handler-error'] as const satisfies ReflectorEvent['kind'][];
/** client-go's code for a request without an answer. */
const NO_ANSWER = '<error>';

/** Register once a registry. Series that can be known beforehand start at 0, so that rates and alerts work from the first scrape. */
export class EngineMetrics {
  readonly #registry: Registry;
  readonly #requests: Counter<'code' | 'method'>;
  readonly #requestSeconds: Histogram<'verb' | 'resource'>;
  readonly #watchEvents: Counter<'resource' | 'event'>;
  readonly #eventsDropped: Counter<'reason'>;
  readonly #leader: Gauge<'name'>;
  readonly #queues = new Map<string, WorkQueue>();
  readonly #queueMetrics: QueueMetrics;

  constructor(registry: Registry) {
    this.#registry = registry;
    const registers = [registry];
    this.#requests = new Counter({
      name: 'rest_client_requests_total',
      help: `Requests to the API server, by HTTP status and method; code "${NO_ANSWER}": no answer.`,
      labelNames: ['code', 'method'],
      registers,
    });
    this.#requestSeconds = new Histogram({
      name: 'rest_client_request_duration_seconds',
      help: 'Time from sending a request to its whole answer, or to the start of a watch.',
      labelNames: ['verb', 'resource'],
      buckets: SECONDS,
      registers,
    });
    this.#watchEvents = new Counter({
      name: 'dcred_watch_events_total',
      help: 'Lists and watches of the API server: list (a list was complete), watch (one was accepted), failure, handler-error.',
      labelNames: ['resource', 'event'],
      registers,
    });
    this.#eventsDropped = new Counter({
      name: 'dcred_events_dropped_total',
      help: 'Kubernetes Events that were not written: overflow (too many at once), failed (refused, or no answer).',
      labelNames: ['reason'],
      registers,
    });
    for (const reason of EVENT_DROP_REASONS) this.#eventsDropped.inc({ reason }, 0);
    this.#leader = new Gauge({
      name: 'leader_election_master_status',
      help: '1 while this process leads, by the name of the lease; 0 otherwise.',
      labelNames: ['name'],
      registers,
    });
    this.#queueMetrics = queueMetrics(registry, this.#queues);
  }

  /** `process_*` and `nodejs_*`: memory, CPU, the event loop. Starts observers, so not for every test. */
  collectProcessMetrics(): void {
    collectDefaultMetrics({ register: this.#registry });
  }

  apiCall({ method, plural, seconds, status }: ApiCall): void {
    this.#requests.inc({ code: status === 0 ? NO_ANSWER : String(status), method });
    this.#requestSeconds.observe({ verb: method, resource: plural }, seconds);
  }

  /** Makes the series of a watched resource before it is watched. */
  expectWatch(resource: string): void {
    for (const event of WATCH_EVENTS) this.#watchEvents.inc({ resource, event }, 0);
  }

  watchEvent(resource: string, { kind }: ReflectorEvent): void {
    this.#watchEvents.inc({ resource, event: kind });
  }

  eventDropped(reason: EventDropReason): void {
    this.#eventsDropped.inc({ reason });
  }

  /** @param name of the lease */
  leading(name: string, isLeader: boolean): void {
    this.#leader.set({ name }, isLeader ? 1 : 0);
  }

  /** Shows the queue's depth and what is processed, read at every scrape. */
  watchQueue(name: string, queue: WorkQueue): void {
    this.expectQueue(name);
    this.#queues.set(name, queue);
  }

  /** Makes the series of a queue before it exists. */
  expectQueue(name: string): void {
    const { adds, queueSeconds, retries, workSeconds } = this.#queueMetrics;
    adds.inc({ name }, 0);
    retries.inc({ name }, 0);
    queueSeconds.zero({ name });
    workSeconds.zero({ name });
  }

  queueEvent(name: string, { kind, seconds = 0 }: WorkQueueEvent): void {
    const { adds, queueSeconds, retries, workSeconds } = this.#queueMetrics;
    switch (kind) {
      case 'add':
        adds.inc({ name });
        return;
      case 'retry':
        retries.inc({ name });
        return;
      case 'take':
        queueSeconds.observe({ name }, seconds);
        return;
      case 'done':
        workSeconds.observe({ name }, seconds);
    }
  }
}

interface QueueMetrics {
  readonly adds: Counter<'name'>;
  readonly retries: Counter<'name'>;
  readonly queueSeconds: Histogram<'name'>;
  readonly workSeconds: Histogram<'name'>;
}

function queueMetrics(registry: Registry, queues: ReadonlyMap<string, WorkQueue>): QueueMetrics {
  const common = { labelNames: ['name'] as const, registers: [registry] };
  const gauge = (name: string, help: string, read: (queue: WorkQueue) => number): void => {
    const made: Gauge<'name'> = new Gauge({
      ...common,
      name,
      help,
      collect: () => {
        for (const [queue, value] of queues) made.set({ name: queue }, read(value));
      },
    });
  };
  gauge('workqueue_depth', 'Keys that are ready and waiting for a worker.', ({ length }) => length);
  gauge(
    'workqueue_longest_running_processor_seconds',
    'Seconds that the longest-running key has been in processing.',
    ({ processing }) => Math.max(0, ...processing),
  );
  gauge(
    'workqueue_unfinished_work_seconds',
    'Sum of the seconds that the keys now in processing have been in processing.',
    ({ processing }) => processing.reduce((sum, seconds) => sum + seconds, 0),
  );
  return {
    adds: new Counter({ ...common, name: 'workqueue_adds_total', help: 'Keys that became ready.' }),
    retries: new Counter({
      ...common,
      name: 'workqueue_retries_total',
      help: 'Keys that failed and are retried after a back-off.',
    }),
    queueSeconds: new Histogram({
      ...common,
      name: 'workqueue_queue_duration_seconds',
      help: 'Time a key spends queued before processing.',
      buckets: SECONDS,
    }),
    workSeconds: new Histogram({
      ...common,
      name: 'workqueue_work_duration_seconds',
      help: 'Time that processing a key takes.',
      buckets: SECONDS,
    }),
  };
}
