/** One pod's credential as a trace: webhook and operator on a real API server, and a receiver with OpenTelemetry's own types. */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { startCluster } from '../../testing/cluster/cluster.ts';
import { startOperator } from '../../testing/cluster/operator-process.ts';
import { pointAt, startWebhook } from '../../testing/cluster/webhook-process.ts';
import { findTraceReceiver, type ReceivedSpan } from '../../testing/otlp/receiver.ts';
import { createTestAuthority } from '../../testing/support/certificates.ts';
import { eventually } from '../../testing/support/processes.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const found = await findTraceReceiver();
const skip = found.available || process.env['CI'] === 'true' ? false : found.reason;

describe('the trace of a credential', { skip }, () => {
  test('has the reconcile, the key, the signature and the write of the Secret, and nothing secret', async (t) => {
    assert.ok(found.available, found.available ? '' : found.reason);
    await using receiver = await found.start();
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_BSP_SCHEDULE_DELAY: '200' };
    await using cluster = await startCluster({ webhook: true });
    await using operator = await startOperator({
      kubeconfig: cluster.operatorKubeconfig,
      env: { ...env, POD_NAME: 'dcred-0' },
    });
    const webhook = await startWebhook(cluster, [], { env: { ...env, POD_NAME: 'dcred-webhook-0' } });
    t.after(() => webhook.stop());
    await webhook.ready();
    await pointAt(cluster, webhook.port);
    const namespace = await cluster.namespace('edge');
    const leaf = await (await createTestAuthority()).issue();
    await cluster.putCertificate(namespace, 'web-tls', leaf);
    const podSelector = { matchLabels: { app: 'web' } };
    await cluster.createResource(namespace, 'web', { certificateRef: { name: 'web-tls' }, podSelector });
    const annotations = { note: 'what-a-user-wrote' };
    const labels = { app: 'web', 'dcred.dev/inject': 'web' };
    await cluster.createPods(namespace, 1, { labels, annotations });
    const [secret] = await cluster.untilSecrets(namespace, 1);
    const issue = await eventually('the span of the issue', async () =>
      (await receiver.spans()).find(({ name }) => name === 'issue credential'),
    );
    const review = await eventually('the span of the admission', async () =>
      (await receiver.spans()).find(({ name }) => name === 'admission review'),
    );
    await Promise.all([operator.stop(), webhook.stop()]);
    assert.deepEqual([review.kind, review.parentSpanId], ['SPAN_KIND_SERVER', undefined]);
    assert.equal(review.resource['service.name'], 'dcred-webhook');
    assert.equal(review.resource['service.instance.id'], 'dcred-webhook-0');

    const spans = (await receiver.spans()).filter(({ traceId }) => traceId === issue.traceId);
    const children = ({ spanId }: ReceivedSpan) =>
      spans.filter(({ parentSpanId }) => parentSpanId === spanId).map(({ name }) => name);
    const root = spans.find(({ spanId }) => spanId === issue.parentSpanId);
    assert.ok(root !== undefined && root.parentSpanId === undefined);
    assert.equal(root.name, 'reconcile pod');
    assert.match(String(root.attributes['dcred.key']), /^edge\/web\//);
    assert.deepEqual(children(issue), ['generate key', 'sign credential', 'create secrets']);
    assert.deepEqual(issue.attributes, {
      'dcred.reason': 'Missing',
      'dcred.key_algorithm': 'ECDSAP256',
      'dcred.usage': 'Server',
    });
    const write = spans.find(({ name }) => name === 'create secrets');
    assert.deepEqual(write?.attributes, { 'http.request.method': 'POST', 'http.response.status_code': '201' });
    assert.equal(root.resource['service.name'], 'dcred-operator');
    assert.equal(root.resource['service.instance.id'], 'dcred-0');
    const all = await receiver.spans();
    assert.ok(all.every(({ name }) => !name.includes('leases')));
    const late = all.filter((span) => {
      const parent = all.find(({ spanId }) => spanId === span.parentSpanId);
      return parent !== undefined && BigInt(span.startTimeUnixNano) > BigInt(parent.endTimeUnixNano);
    });
    assert.deepEqual(late, [], 'what goes on after a reconcile is not part of it');

    const text = await receiver.text();
    for (const secretText of [leaf.keyPem, ...Object.values(secret?.data ?? {}), 'what-a-user-wrote'])
      assert.ok(!text.includes(secretText.slice(0, 60).trim()), 'a trace holds nothing secret');
    assert.doesNotMatch(text, /PRIVATE KEY|BEGIN /);
  });
});

test('OpenTelemetry is loaded where traces are enabled, and only then', async () => {
  const users: string[] = [];
  const importers: string[] = [];
  for await (const path of glob('src/**/*.ts', { cwd: ROOT })) {
    const text = await readFile(join(ROOT, path), 'utf8');
    if (text.includes("'@opentelemetry/")) users.push(path);
    for (const [words] of text.matchAll(/^.*open-telemetry\.ts'.*$/gm)) importers.push(`${path}: ${words.trim()}`);
  }
  assert.deepEqual(users, ['src/tracing/open-telemetry.ts']);
  assert.deepEqual(importers, [
    "src/cli/options/tracing.ts: const { OpenTelemetry } = await import('../../tracing/open-telemetry.ts');",
  ]);
});
