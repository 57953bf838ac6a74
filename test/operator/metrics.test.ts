import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WorkQueue } from '../../src/kubernetes/queue/work-queue.ts';
import { DELETE_REASONS, ISSUE_REASONS } from '../../src/operator/core/plan.ts';
import { OperatorMetrics } from '../../src/operator/metrics.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';

const PODS = { selected: 3, issued: 2, failed: 1, failures: [], notInjected: 0, earliestExpiry: 200, nextRenewal: 100 };
const FACTS = { namespace: 'edge', name: 'web', ready: true, pods: PODS, certificateNotAfter: 900 };

/** Series and their values, read as strictly as the text format (version 0.0.4) is written. */
async function scrape({ registry }: OperatorMetrics): Promise<ReadonlyMap<string, number>> {
  const text = await registry.metrics();
  assert.ok(text.endsWith('\n'));
  const series = new Map<string, number>();
  const typed = new Set<string>();
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const comment = /^# (HELP|TYPE) ([a-z_:][a-z0-9_:]*) (\S.*)$/.exec(line);
    if (comment !== null) {
      if (comment[1] === 'TYPE') typed.add(comment[2] ?? '');
      continue;
    }
    const sample = /^([a-z_:][a-z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (\S+)$/.exec(line);
    assert.ok(sample !== null, `not a sample: ${line}`);
    const [, name = '', labels = '', value = ''] = sample;
    assert.ok(typed.has(name.replace(/_(bucket|sum|count)$/, '')) || typed.has(name), `no type for ${name}`);
    assert.ok(!Number.isNaN(Number(value.replace('+Inf', 'Infinity'))), line);
    assert.ok(!series.has(name + labels), `twice: ${name}${labels}`);
    series.set(name + labels, Number(value));
  }
  return series;
}

describe('metrics', () => {
  test('exist from the start, at 0', async () => {
    const series = await scrape(new OperatorMetrics('1.2.3'));
    for (const reason of ISSUE_REASONS)
      assert.equal(series.get(`dcred_credentials_issued_total{reason="${reason}"}`), 0);
    for (const reason of DELETE_REASONS) assert.equal(series.get(`dcred_secrets_deleted_total{reason="${reason}"}`), 0);
    for (const reason of ['SecretNameInvalid', 'SecretNameTaken', 'SecretRefused']) {
      assert.equal(series.get(`dcred_pod_failures_total{reason="${reason}"}`), 0);
    }
    for (const resource of ['delegatedcredentials', 'pods', 'secrets', 'certificates']) {
      for (const event of ['list', 'watch', 'failure', 'handler-error']) {
        assert.equal(series.get(`dcred_watch_events_total{resource="${resource}",event="${event}"}`), 0);
      }
    }
    for (const queue of ['pod', 'resource']) {
      for (const event of ['add', 'take', 'done', 'retry']) {
        assert.equal(series.get(`dcred_workqueue_events_total{queue="${queue}",event="${event}"}`), 0);
      }
      assert.equal(series.get(`dcred_reconcile_duration_seconds_count{queue="${queue}",outcome="retry"}`), 0);
    }
    assert.equal(series.get('dcred_leader'), 0);
    assert.equal(series.get('dcred_issue_duration_seconds_count'), 0);
    assert.equal(series.get('dcred_build_info{version="1.2.3"}'), 1);
  });

  test('count what was issued, deleted and failed', async () => {
    const metrics = new OperatorMetrics('test');
    metrics.issued('Missing', 0.004);
    metrics.issued('Missing', 0.2);
    metrics.deleted('PodGone');
    metrics.failed('SecretNameTaken');
    metrics.leading(true);
    const series = await scrape(metrics);
    assert.equal(series.get('dcred_credentials_issued_total{reason="Missing"}'), 2);
    assert.equal(series.get('dcred_issue_duration_seconds_count'), 2);
    assert.equal(series.get('dcred_issue_duration_seconds_bucket{le="0.005"}'), 1);
    assert.equal(series.get('dcred_secrets_deleted_total{reason="PodGone"}'), 1);
    assert.equal(series.get('dcred_pod_failures_total{reason="SecretNameTaken"}'), 1);
    assert.equal(series.get('dcred_leader'), 1);
    metrics.leading(false);
    assert.equal((await scrape(metrics)).get('dcred_leader'), 0);
  });

  test('show a resource until it is gone', async () => {
    const metrics = new OperatorMetrics('test');
    metrics.resource(FACTS);
    const of = async () => [...(await scrape(metrics))].filter(([name]) => name.includes('name="web"'));
    assert.deepEqual(
      new Map(await of()),
      new Map([
        ['dcred_ready{namespace="edge",name="web"}', 1],
        ['dcred_pods{namespace="edge",name="web",state="selected"}', 3],
        ['dcred_pods{namespace="edge",name="web",state="issued"}', 2],
        ['dcred_pods{namespace="edge",name="web",state="failed"}', 1],
        ['dcred_earliest_expiry_timestamp_seconds{namespace="edge",name="web"}', 200],
        ['dcred_next_renewal_timestamp_seconds{namespace="edge",name="web"}', 100],
        ['dcred_certificate_not_after_timestamp_seconds{namespace="edge",name="web"}', 900],
      ]),
    );
    metrics.resourceGone('edge', 'web');
    assert.deepEqual(await of(), []);
  });

  test('have no timestamp where there is none: 0 would be 1970', async () => {
    const metrics = new OperatorMetrics('test');
    metrics.resource(FACTS);
    const pods = { ...PODS, earliestExpiry: undefined, nextRenewal: undefined };
    metrics.resource({ ...FACTS, ready: false, pods, certificateNotAfter: undefined });
    const names = [...(await scrape(metrics)).keys()].filter((name) => name.includes('timestamp_seconds{'));
    assert.deepEqual(names, []);
    assert.equal((await scrape(metrics)).get('dcred_ready{namespace="edge",name="web"}'), 0);
  });

  test('read the depth of a queue at each scrape', async () => {
    const metrics = new OperatorMetrics('test');
    const queue = new WorkQueue({ clock: new FakeClock(), random: () => 0 });
    metrics.watchQueue('pod', queue);
    queue.add('a');
    queue.add('b');
    assert.equal((await scrape(metrics)).get('dcred_pod_queue_depth'), 2);
  });

  test('record what the engine observes', async () => {
    const metrics = new OperatorMetrics('test');
    metrics.apiCall({ verb: 'create', resource: 'secrets', status: 201, seconds: 0.003 });
    metrics.apiCall({ verb: 'create', resource: 'secrets', status: 0, seconds: 30 });
    metrics.reflectorEvent('pods', { kind: 'failure', reason: 'Forbidden' });
    metrics.queueEvent('pod', { kind: 'take', lane: 'urgent', seconds: 0.1 });
    metrics.reconciled('pod', { outcome: 'retry', seconds: 0.1 });
    const series = await scrape(metrics);
    const calls = 'dcred_api_request_duration_seconds_count{verb="create",resource="secrets"';
    assert.equal(series.get(`${calls},status="201"}`), 1);
    assert.equal(series.get(`${calls},status="0"}`), 1);
    assert.equal(series.get('dcred_watch_events_total{resource="pods",event="failure"}'), 1);
    assert.equal(series.get('dcred_workqueue_wait_seconds_count{queue="pod"}'), 1);
    assert.equal(series.get('dcred_reconcile_duration_seconds_count{queue="pod",outcome="retry"}'), 1);
  });

  test('of two operators in one process are separate', async () => {
    const [one, other] = [new OperatorMetrics('a'), new OperatorMetrics('b')];
    one.deleted('PodGone');
    assert.equal((await scrape(other)).get('dcred_secrets_deleted_total{reason="PodGone"}'), 0);
  });
});
