/** What is exported, as OpenTelemetry's own Go types decode it; and a trace that goes on in the signer, over a real connection. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { makeDevCertificate } from '../../src/provision/dev-authority.ts';
import { parseSignerConfig } from '../../src/signer/config.ts';
import { SignerMetrics } from '../../src/signer/metrics.ts';
import { SignerProcess } from '../../src/signer/signer.ts';
import { SignerClient } from '../../src/signer-client/signer-client.ts';
import { signerConnection } from '../../src/signer-client/signer-connection.ts';
import { SigningBatcher } from '../../src/signer-client/signing-batcher.ts';
import { readTracingEnvironment } from '../../src/tracing/environment.ts';
import { OpenTelemetry } from '../../src/tracing/open-telemetry.ts';
import { findTraceReceiver, type ReceivedSpan, type TraceReceiver } from '../../testing/otlp/receiver.ts';
import { leaf } from '../../testing/support/openssl.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';
import { temporaryDirectory } from '../cli/run-command.ts';

const found = await findTraceReceiver();
const skip = found.available || process.env['CI'] === 'true' ? false : found.reason;

describe('traces', { skip }, () => {
  let receiver: TraceReceiver;

  before(async () => {
    assert.ok(found.available, found.available ? '' : found.reason);
    receiver = await found.start();
    // The exporter reads the process's own environment.
    process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = receiver.endpoint;
    process.env['OTEL_EXPORTER_OTLP_HEADERS'] = 'authorization=Bearer%20of-the-collector';
    process.env['OTEL_RESOURCE_ATTRIBUTES'] = 'deployment.environment.name=test,service.version=theirs';
  });
  after(async () => {
    for (const name of Object.keys(process.env)) if (name.startsWith('OTEL_')) delete process.env[name];
    await receiver?.[Symbol.asyncDispose]();
  });

  const start = (service: string, env: Readonly<Record<string, string>> = {}) => {
    const { settings } = readTracingEnvironment({ ...process.env, ...env }, service);
    assert.ok(settings !== undefined);
    const shared = { version: '1.2.3', instance: `${service}-0`, clock: systemClock, log: recordingLogger() };
    return new OpenTelemetry({ settings, ...shared });
  };
  const spansOf = async (service: string) => {
    const spans = await receiver.spans();
    return spans.filter(({ resource }) => resource['service.name'] === service);
  };
  const one = (spans: readonly ReceivedSpan[], name: string) => {
    const [span, ...more] = spans.filter((candidate) => candidate.name === name);
    assert.ok(span !== undefined && more.length === 0, `one span ${name}`);
    return span;
  };

  test('have nested spans, of work that awaits and of calls that have ended', async () => {
    const tracing = start('nested');
    await tracing.inSpan('outer', { 'dcred.key': 'edge/web' }, async () => {
      await Promise.all([
        tracing.inSpan('left', {}, async () => {
          await later();
          tracing.ended({ name: 'call', attributes: { code: 200 }, seconds: 0.25, failed: false });
        }),
        tracing.inSpan('right', {}, later),
      ]);
    });
    tracing.ended({ name: 'outside of any work', attributes: {}, seconds: 1, failed: false });
    await tracing.shutdown();
    const spans = await spansOf('nested');
    const [outer, left, right, call] = ['outer', 'left', 'right', 'call'].map((name) => one(spans, name));
    assert.ok(outer && left && right && call);
    assert.equal(spans.length, 4);
    assert.equal(new Set(spans.map(({ traceId }) => traceId)).size, 1);
    assert.deepEqual([left.parentSpanId, right.parentSpanId], [outer.spanId, outer.spanId]);
    assert.equal(call.parentSpanId, left.spanId);
    assert.equal(BigInt(call.endTimeUnixNano) - BigInt(call.startTimeUnixNano), 250_000_000n);
    assert.deepEqual(outer.attributes, { 'dcred.key': 'edge/web' });
    assert.equal(outer.resource['service.instance.id'], 'nested-0');
    assert.equal(outer.resource['deployment.environment.name'], 'test');
    assert.equal(outer.resource['service.version'], 'theirs', "the environment's attributes hold");
  });

  test('are sent to the standard path, in protobuf, with the headers of the environment', async () => {
    const tracing = start('transport');
    await tracing.inSpan('one', {}, async () => {});
    await tracing.shutdown();
    for (const { authorization, contentType, path, unknown } of await receiver.exports()) {
      assert.deepEqual(
        { authorization, contentType, path, unknown },
        {
          authorization: 'Bearer of-the-collector',
          contentType: 'application/x-protobuf',
          path: '/v1/traces',
          unknown: 0,
        },
      );
    }
  });

  test('show a failure by its code, without its message', async () => {
    const tracing = start('failures');
    const failure = Object.assign(new Error('a message that quotes SECRET'), { code: 'SecretNameTaken' });
    const fails = tracing.inSpan('throws', {}, () => Promise.reject(failure));
    await assert.rejects(fails, (error) => error === failure);
    const result = await tracing.inSpan(
      'retries',
      {},
      async () => 'kept',
      () => new TypeError('SECRET'),
    );
    assert.equal(result, 'kept');
    await tracing.shutdown();
    const spans = await spansOf('failures');
    for (const [name, code] of [
      ['throws', 'SecretNameTaken'],
      ['retries', 'TypeError'],
    ] as const) {
      const { attributes, status } = one(spans, name);
      assert.deepEqual(status, { code: 'STATUS_CODE_ERROR' });
      assert.deepEqual(attributes, { 'error.type': code });
    }
    assert.doesNotMatch(await receiver.text(), /SECRET\b/);
  });

  test("are sampled as configured, and follow the caller's decision", async () => {
    const none = start('none', { OTEL_TRACES_SAMPLER: 'always_off' });
    await none.inSpan('unseen', {}, async () => {});
    await none.shutdown();
    assert.equal((await spansOf('none')).length, 0);
    const follows = start('follows', { OTEL_TRACES_SAMPLER: 'parentbased_always_off' });
    const traceparent = (flags: string) => ({ traceparent: `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-${flags}` });
    await follows.inServerSpan('sampled', traceparent('01'), async () => {});
    await follows.inServerSpan('not sampled', traceparent('00'), async () => {});
    await follows.inServerSpan('garbage', { traceparent: '00-zz' }, async () => {});
    await follows.shutdown();
    const spans = await spansOf('follows');
    assert.deepEqual(
      spans.map(({ kind, name }) => [kind, name]),
      [['SPAN_KIND_SERVER', 'sampled']],
    );
    assert.equal(Buffer.from(spans[0]?.traceId ?? '', 'base64').toString('hex'), 'ab'.repeat(16));
  });

  test('continue in the signer: one call for two pods is inside the first, and linked to the second', async (t) => {
    const [operator, signing] = [start('operator'), start('signer')];
    const { client, signer, stop } = await startSigner(t, signing, () => operator.headers());
    const batcher = new SigningBatcher({
      client,
      clock: systemClock,
      random: Math.random,
      signal: stop.signal,
      tracing: operator,
    });
    const { subjectPublicKeyInfo } = await generateCredentialKey('ECDSAP256');
    const request = {
      certificate: 'web-tls',
      usage: 'Server',
      dcCertVerifyAlgorithm: 0x0403,
      subjectPublicKeyInfo,
      expiresAt: Math.floor(Date.now() / 1000) + 3_600,
      namespace: 'edge',
      resource: 'web',
    } as const;
    const results = await Promise.all(
      ['a', 'b'].map((podUid) =>
        operator.inSpan(`issue ${podUid}`, {}, () => batcher.sign({ ...request, podUid }, stop.signal)),
      ),
    );
    assert.deepEqual(
      results.map(({ ok }) => ok),
      [true, true],
    );
    stop.abort();
    await signer.close();
    await Promise.all([operator.shutdown(), signing.shutdown()]);
    const spans = await spansOf('operator');
    const [first, second, call] = ['issue a', 'issue b', 'call signer'].map((name) => one(spans, name));
    assert.ok(first && second && call);
    assert.equal(call.parentSpanId, first.spanId);
    assert.deepEqual(
      call.links?.map(({ spanId }) => spanId),
      [second.spanId],
    );
    assert.equal(call.attributes['dcred.credentials'], '2');
    const served = one(await spansOf('signer'), 'POST /v1/sign');
    assert.deepEqual(
      [served.traceId, served.parentSpanId, served.kind],
      [call.traceId, call.spanId, 'SPAN_KIND_SERVER'],
    );
  });

  test('that no collector accepts are a warning, and stop nothing', async (t) => {
    const fake = createServer((_request, response) => response.writeHead(404).end()).listen(0, '127.0.0.1');
    await once(fake, 'listening');
    t.after(() => fake.close());
    process.env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] = `http://127.0.0.1:${(fake.address() as AddressInfo).port}`;
    const { settings } = readTracingEnvironment(process.env, 'lost');
    assert.ok(settings !== undefined);
    const log = recordingLogger();
    const tracing = new OpenTelemetry({ settings, version: '1', instance: 'x', clock: systemClock, log });
    delete process.env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];
    assert.equal(await tracing.inSpan('one', {}, async () => 7), 7);
    await tracing.shutdown();
    assert.deepEqual(
      log.lines.map(({ level, message }) => `${level}: ${message}`),
      ['warn: traces are not exported'],
    );
  });
});

function later(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A signer that signs for any client with a certificate of its CA. */
async function startSigner(
  t: Parameters<typeof temporaryDirectory>[0],
  tracing: OpenTelemetry,
  headers: () => Readonly<Record<string, string>>,
) {
  const folder = temporaryDirectory(t);
  const file = (name: string, content: string) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const web = leaf();
  mkdirSync(join(folder, 'web-tls'));
  file('web-tls/tls.crt', web.certificatePem);
  file('web-tls/tls.key', web.keyPem);
  const made = { now: Math.floor(Date.now() / 1000), lifetimeSeconds: 86_400 };
  const serving = await makeDevCertificate({ ...made, dnsNames: ['localhost'] });
  const operator = await makeDevCertificate({ ...made, dnsNames: ['operator'] });
  const signer = await SignerProcess.create({
    address: { host: '127.0.0.1', port: 0 },
    tls: { certificatePem: serving.certificate, keyPem: serving.key, clientCaPem: operator.authority },
    config: parseSignerConfig({
      clients: [{ name: 'operator', cluster: 'here', tlsName: 'operator' }],
      certificates: [{ name: 'web-tls', directory: join(folder, 'web-tls') }],
      grants: [{ certificate: 'web-tls', from: [{ cluster: 'here' }] }],
    }),
    env: {},
    keySets: new Map(),
    reviewToken: undefined,
    auditLog: join(folder, 'audit.jsonl'),
    metrics: new SignerMetrics('test'),
    clock: systemClock,
    log: recordingLogger(),
    inServerSpan: tracing.inServerSpan,
  });
  const stop = new AbortController();
  await signer.listen(stop.signal);
  const connection = await signerConnection({
    url: `https://localhost:${signer.port}`,
    caFile: file('ca.crt', serving.authority),
    certFile: file('client.crt', operator.certificate),
    keyFile: file('client.key', operator.key),
    clock: systemClock,
  });
  const client = new SignerClient({ connection, userAgent: 'test', clock: systemClock, headers });
  t.after(() => client.close());
  return { client, signer, stop };
}
