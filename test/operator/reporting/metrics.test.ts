import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DELETE_REASONS, ISSUE_REASONS } from '../../../src/operator/core/plan.ts';
import { OperatorMetrics } from '../../../src/operator/reporting/metrics.ts';
import { ResourceSeries, SLICE } from '../../../src/operator/reporting/resource-series.ts';
import { scrape } from '../../metrics/scrape.ts';

const PODS = {
  selected: 3,
  issued: 2,
  failed: 1,
  failures: [],
  notInjected: 0,
  earliestExpiry: 200,
  renewalDeadline: 150,
  nextRenewal: 100,
};
const FACTS = {
  namespace: 'edge',
  name: 'web',
  ready: true,
  pods: PODS,
  certificate: { notBefore: 50, notAfter: 900 },
};

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
      assert.equal(series.get(`dcred_watch_events_total{resource="${resource}",event="failure"}`), 0);
    }
    for (const queue of ['pod', 'resource']) {
      assert.equal(series.get(`workqueue_adds_total{name="${queue}"}`), 0);
      for (const outcome of ['done', 'at', 'retry', 'stalled']) {
        assert.equal(series.get(`dcred_reconcile_duration_seconds_count{queue="${queue}",outcome="${outcome}"}`), 0);
      }
    }
    assert.equal(series.get('dcred_issue_duration_seconds_count'), 0);
    assert.equal(series.get('dcred_build_info{version="1.2.3"}'), 1);
  });

  test('count what was issued, deleted and failed', async () => {
    const metrics = new OperatorMetrics('test');
    metrics.issued('Missing', 0.004);
    metrics.issued('Missing', 0.2);
    metrics.deleted('PodGone');
    metrics.failed('SecretNameTaken');
    const series = await scrape(metrics);
    assert.equal(series.get('dcred_credentials_issued_total{reason="Missing"}'), 2);
    assert.equal(series.get('dcred_issue_duration_seconds_count'), 2);
    assert.equal(series.get('dcred_issue_duration_seconds_bucket{le="0.005"}'), 1);
    assert.equal(series.get('dcred_secrets_deleted_total{reason="PodGone"}'), 1);
    assert.equal(series.get('dcred_pod_failures_total{reason="SecretNameTaken"}'), 1);
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
        ['dcred_pods{namespace="edge",name="web",state="not_injected"}', 0],
        ['dcred_renewal_deadline_timestamp_seconds{namespace="edge",name="web"}', 150],
        ['dcred_earliest_expiry_timestamp_seconds{namespace="edge",name="web"}', 200],
        ['dcred_next_renewal_timestamp_seconds{namespace="edge",name="web"}', 100],
        ['dcred_certificate_not_before_timestamp_seconds{namespace="edge",name="web"}', 50],
        ['dcred_certificate_not_after_timestamp_seconds{namespace="edge",name="web"}', 900],
      ]),
    );
    metrics.resourceGone('edge', 'web');
    assert.deepEqual(await of(), []);
  });

  test('have no timestamp where there is none: 0 would be 1970', async () => {
    const metrics = new OperatorMetrics('test');
    metrics.resource(FACTS);
    const pods = { ...PODS, earliestExpiry: undefined, renewalDeadline: undefined, nextRenewal: undefined };
    metrics.resource({ ...FACTS, ready: false, pods, certificate: undefined });
    const names = [...(await scrape(metrics)).keys()].filter((name) => name.includes('timestamp_seconds{'));
    // The last usable certificate is what running servers still present.
    const certificate = ['not_after', 'not_before'].map((end) => `dcred_certificate_${end}_timestamp_seconds{`);
    assert.equal(names.length, certificate.length);
    assert.ok(certificate.every((start) => names.some((name) => name.startsWith(start))));
    assert.equal((await scrape(metrics)).get('dcred_ready{namespace="edge",name="web"}'), 0);
  });

  test('count reconciles by their outcome', async () => {
    const metrics = new OperatorMetrics('test');
    metrics.reconciled('pod', { outcome: 'retry', seconds: 0.1 });
    const series = await scrape(metrics);
    assert.equal(series.get('dcred_reconcile_duration_seconds_count{queue="pod",outcome="retry"}'), 1);
  });

  test('of two operators in one process are separate', async () => {
    const [one, other] = [new OperatorMetrics('a'), new OperatorMetrics('b')];
    one.deleted('PodGone');
    assert.equal((await scrape(other)).get('dcred_secrets_deleted_total{reason="PodGone"}'), 0);
  });
});

describe('a scrape of many resources', () => {
  async function scrapeOf(count: number): Promise<{ readonly turns: number; readonly lines: number }> {
    let turns = 0;
    const series = new ResourceSeries(async () => {
      turns += 1;
    });
    for (let index = 0; index < count; index += 1) series.set({ ...FACTS, name: `web-${index}` });
    const [text, same] = await Promise.all([series.text(), series.text()]);
    assert.equal(text, same);
    return { turns, lines: text.split('\n').filter((line) => line.includes('name="')).length };
  }

  test('has all of them, and yields after every slice', async () => {
    assert.deepEqual(await scrapeOf(3), { turns: 0, lines: 30 });
    assert.deepEqual(await scrapeOf(10 * SLICE), { turns: 10, lines: 100 * SLICE });
  });

  test('keeps the series of a metric together, as the text format demands', async () => {
    const metrics = new OperatorMetrics('test');
    for (let index = 0; index < 3 * SLICE; index += 1) metrics.resource({ ...FACTS, name: `web-${index}` });
    metrics.unready({ namespace: 'edge', name: 'unreadable' });
    const text = await metrics.registry.metrics();
    const names = text
      .split('\n')
      .filter((line) => line.includes('name="web'))
      .map((line) => line.split('{')[0]);
    const groups = names.filter((name, index) => name !== names[index - 1]);
    assert.equal(groups.length, new Set(groups).size, groups.join());
    assert.ok(text.includes('dcred_ready{namespace="edge",name="unreadable"} 0\n'));
    assert.ok(!text.includes('\n\n\n') && text.endsWith('\n'));
  });
});
