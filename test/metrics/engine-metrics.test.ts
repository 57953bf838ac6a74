import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Registry } from 'prom-client';
import { WebhookMetrics } from '../../src/admission/metrics.ts';
import { WorkQueue } from '../../src/kubernetes/queue/work-queue.ts';
import { EngineMetrics } from '../../src/metrics/engine-metrics.ts';
import { OperatorMetrics } from '../../src/operator/reporting/metrics.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';
import { scrape } from './scrape.ts';

const never = new AbortController().signal;

function engine() {
  const registry = new Registry();
  return { registry, metrics: new EngineMetrics(registry) };
}

describe('the engine’s metrics', () => {
  test('count requests as client-go does, by code and method', async () => {
    const { registry, metrics } = engine();
    const call = { verb: 'create', method: 'POST', plural: 'secrets' } as const;
    metrics.apiCall({ ...call, status: 201, seconds: 0.003 });
    metrics.apiCall({ ...call, status: 201, seconds: 0.003 });
    metrics.apiCall({ ...call, status: 0, seconds: 30 });
    const series = await scrape({ registry });
    assert.equal(series.get('rest_client_requests_total{code="201",method="POST"}'), 2);
    assert.equal(series.get('rest_client_requests_total{code="<error>",method="POST"}'), 1);
    assert.equal(series.get('rest_client_request_duration_seconds_count{verb="POST",resource="secrets"}'), 3);
  });

  test('show a queue as client-go’s work queue does', async () => {
    const { registry, metrics } = engine();
    const clock = new FakeClock();
    const observe = (event: Parameters<EngineMetrics['queueEvent']>[1]) => metrics.queueEvent('pod', event);
    const queue = new WorkQueue({ clock, random: () => 0, observe });
    metrics.watchQueue('pod', queue);
    for (const key of ['a', 'b', 'c', 'c']) queue.add(key);
    clock.advance(2_000);
    await queue.take(never);
    clock.advance(3_000);
    await queue.take(never);
    clock.advance(1_000);
    const busy = await scrape({ registry });
    assert.equal(busy.get('workqueue_depth{name="pod"}'), 1);
    assert.equal(busy.get('workqueue_adds_total{name="pod"}'), 3);
    assert.equal(busy.get('workqueue_longest_running_processor_seconds{name="pod"}'), 4);
    assert.equal(busy.get('workqueue_unfinished_work_seconds{name="pod"}'), 5);
    assert.equal(busy.get('workqueue_queue_duration_seconds_sum{name="pod"}'), 7);
    assert.equal(busy.get('workqueue_work_duration_seconds_count{name="pod"}'), 0);
    queue.retry('a');
    queue.done('a');
    queue.done('b');
    const idle = await scrape({ registry });
    assert.equal(idle.get('workqueue_work_duration_seconds_sum{name="pod"}'), 5);
    assert.equal(idle.get('workqueue_retries_total{name="pod"}'), 1);
    assert.equal(idle.get('workqueue_longest_running_processor_seconds{name="pod"}'), 0);
  });

  test('show who leads, watches and dropped Events', async () => {
    const { registry, metrics } = engine();
    metrics.leading('dcred-operator', true);
    metrics.watchEvent('pods', { kind: 'failure', reason: 'Forbidden' });
    metrics.eventDropped('failed');
    const series = await scrape({ registry });
    assert.equal(series.get('leader_election_master_status{name="dcred-operator"}'), 1);
    assert.equal(series.get('dcred_watch_events_total{resource="pods",event="failure"}'), 1);
    assert.equal(series.get('dcred_events_dropped_total{reason="failed"}'), 1);
    assert.equal(series.get('dcred_events_dropped_total{reason="overflow"}'), 0);
    metrics.leading('dcred-operator', false);
    const after = await scrape({ registry });
    assert.equal(after.get('leader_election_master_status{name="dcred-operator"}'), 0);
  });

  for (const [name, metrics] of [
    ['operator', new OperatorMetrics('test')],
    ['webhook', new WebhookMetrics('test')],
  ] as const) {
    test(`are registered by the ${name}, beside its own`, async () => {
      metrics.engine.apiCall({ verb: 'get', method: 'GET', plural: 'secrets', status: 200, seconds: 0.1 });
      const series = await scrape(metrics);
      assert.equal(series.get('rest_client_requests_total{code="200",method="GET"}'), 1);
      assert.equal(series.get('dcred_build_info{version="test"}'), 1);
    });
  }
});
