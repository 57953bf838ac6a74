/** What happens to an issuer and its CA while the controller is at work on them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCertificateChain } from '../../src/credential/certificate.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { IssuerController, missingIssuer } from '../../src/issuer/controller.ts';
import { AuthorityLoader } from '../../src/issuer/issuers.ts';
import { IssuerMetrics } from '../../src/issuer/metrics.ts';
import type { KeyOpener } from '../../src/keys/key-opener.ts';
import { parseKeyUri } from '../../src/keys/key-uri.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { type Clock, systemClock } from '../../src/kubernetes/clock.ts';
import type { KubernetesObject, WatchEvent } from '../../src/kubernetes/objects.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';
import { notServed } from '../../testing/support/not-found.ts';
import { authority } from '../../testing/support/openssl.ts';
import { eventually } from '../../testing/support/processes.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';

type Watch = Parameters<ApiClient['watch']>;

const ca = authority();
const never = new AbortController().signal;
const base64 = (text: string) => Buffer.from(text).toString('base64');

/** A fake: a real API server cannot be made to answer after the issuer was deleted. It has one issuer, and answers with the Secret of its CA when the test says so. */
class FakeServer {
  /** The Secret was asked for. */
  readonly read = Promise.withResolvers<void>();
  /** The watcher has dealt with the deletion: it wants the next event. */
  readonly deletionSeen = Promise.withResolvers<void>();
  readonly #answer = Promise.withResolvers<void>();
  readonly #deleted = Promise.withResolvers<void>();
  readonly #issuer: KubernetesObject = {
    metadata: { namespace: 'edge', name: 'web', generation: 1, resourceVersion: '5' },
    spec: { ca: { secretName: 'web-ca' } },
    status: { conditions: [{ type: 'example.com/Reviewed', status: 'True', reason: 'Reviewed', message: '' }] },
  } as KubernetesObject;

  get client(): ApiClient {
    return this as unknown as ApiClient;
  }

  deleteIssuer(): void {
    this.#deleted.resolve();
  }

  answer(): void {
    this.#answer.resolve();
  }

  async get(): Promise<object> {
    this.read.resolve();
    await this.#answer.promise;
    return { metadata: {}, data: { 'tls.crt': base64(ca.certificatePem), 'tls.key': base64(ca.keyPem) } };
  }

  readonly applied: unknown[] = [];

  async apply(_type: unknown, { status }: { readonly status: unknown }): Promise<object> {
    this.applied.push(status);
    return { metadata: {} };
  }

  async *watch(type: Watch[0], _selection: Watch[1], options: Watch[2]): AsyncGenerator<WatchEvent<KubernetesObject>> {
    const hasIssuer = type.kind === 'DelegationIssuer';
    options.onAccepted?.();
    if (hasIssuer) yield { type: 'ADDED', object: this.#issuer };
    const annotations = { 'k8s.io/initial-events-end': 'true' };
    yield { type: 'BOOKMARK', object: { metadata: { resourceVersion: '7', annotations } } };
    const ended = new Promise((resolve) => options.signal.addEventListener('abort', resolve, { once: true }));
    await Promise.race(hasIssuer ? [this.#deleted.promise, ended] : [ended]);
    if (options.signal.aborted) return;
    const metadata = { ...this.#issuer.metadata, resourceVersion: '8' };
    yield { type: 'DELETED', object: { ...this.#issuer, metadata } };
    this.deletionSeen.resolve();
    await ended;
  }
}

function controllerOf(
  { client }: { readonly client: ApiClient },
  metrics: IssuerMetrics,
  clock: Clock = systemClock,
): IssuerController {
  return new IssuerController({
    client,
    keys: undefined as never,
    caKeys: new Map(),
    namespace: 'dcred-system',
    elector: undefined,
    leaseName: 'dcred-issuer',
    metrics,
    clock,
    random: Math.random,
    log: recordingLogger(),
  });
}

test("the status of an issuer gets dcred's own condition alone: those of others may be newer than the cache shows", async () => {
  const server = new FakeServer();
  server.answer();
  const stop = new AbortController();
  const running = controllerOf(server, new IssuerMetrics('test')).run(stop.signal);
  try {
    const [status] = await eventually('a status', async () => (server.applied.length > 0 ? server.applied : undefined));
    const { conditions } = status as { readonly conditions: readonly { readonly type: string; status: string }[] };
    assert.deepEqual(
      conditions.map(({ type, status: holds }) => `${type} ${holds}`),
      ['Ready True'],
    );
  } finally {
    stop.abort();
    await running;
  }
});

test('the answer to a request is written again where the API server does not serve the kind at the moment', async () => {
  const denied = {
    metadata: { namespace: 'edge', name: 'web-1', resourceVersion: '5' },
    spec: { issuerRef: { group: 'dcred.dev', kind: 'DelegationIssuer', name: 'web' } },
    status: { conditions: [{ type: 'Denied', status: 'True', reason: 'Policy', message: '' }] },
  };
  let writes = 0;
  const client = {
    mergePatch: async () => {
      writes += 1;
      if (writes === 1) throw notServed();
      return { metadata: {} };
    },
    async *watch(type: Watch[0], _selection: Watch[1], options: Watch[2]) {
      options.onAccepted?.();
      if (type.kind === 'CertificateRequest') yield { type: 'ADDED', object: denied };
      const annotations = { 'k8s.io/initial-events-end': 'true' };
      yield { type: 'BOOKMARK', object: { metadata: { resourceVersion: '7', annotations } } };
      await new Promise((resolve) => options.signal.addEventListener('abort', resolve, { once: true }));
    },
  };
  const clock = new FakeClock();
  const stop = new AbortController();
  const server = { client: client as unknown as ApiClient };
  const running = controllerOf(server, new IssuerMetrics('test'), clock).run(stop.signal);
  try {
    for (let second = 0; second < 120; second += 1) await clock.advanceAsync(1_000);
    assert.equal(writes, 2);
  } finally {
    stop.abort();
    await clock.advanceAsync(10_000);
    await running;
  }
});

test('an issuer that is deleted while its CA is read leaves no series of metrics behind', async () => {
  const server = new FakeServer();
  const metrics = new IssuerMetrics('test');
  const stop = new AbortController();
  const controller = controllerOf(server, metrics);
  const running = controller.run(stop.signal);
  try {
    await server.read.promise;
    server.deleteIssuer();
    await server.deletionSeen.promise;
    server.answer();
    await eventually('the check to end', async () => {
      const text = await metrics.registry.metrics();
      return /workqueue_work_duration_seconds_count\{name="issuer"\} [1-9]/.test(text) || undefined;
    });
    const series = (await metrics.registry.metrics()).split('\n').filter((line) => /^dcred_issuer_ca_\w+\{/.test(line));
    assert.deepEqual(series, []);
  } finally {
    stop.abort();
    await running;
  }
});

test('a CA key that several requests need at once is opened once, and again after it could not be opened', async () => {
  let opened = 0;
  let isDown = true;
  const closed: number[] = [];
  const keys = {
    open: async () => {
      const id = ++opened;
      await new Promise((resolve) => setImmediate(resolve));
      if (isDown) throw new TypeError('no answer');
      return Object.assign(signerFromPem(ca.keyPem), { close: async () => void closed.push(id) });
    },
  } as unknown as KeyOpener;
  const uri = parseKeyUri('awskms:///alias/edge-ca');
  assert.ok(uri.scheme !== 'file');
  const server = new FakeServer();
  server.answer();
  const loader = new AuthorityLoader({ client: server.client, keys, caKeys: new Map([['edge', uri]]) });
  const spec = { ca: { secretName: 'web-ca', keyName: 'edge' }, maxDurationSeconds: 3_600 };
  const reference = { kind: 'ClusterDelegationIssuer', secretNamespace: 'dcred-system', spec } as const;
  const load = () => loader.load(reference, Math.floor(Date.now() / 1000), never);
  const failed = await Promise.allSettled([load(), load()]);
  assert.deepEqual(
    failed.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  isDown = false;
  opened = 0;
  await Promise.all([load(), load(), load()]);
  await load();
  assert.equal(opened, 1);
  await loader.close();
  assert.deepEqual(closed, [1]);
});

test('a CA key is closed once no issuer has needed it for a while, as that of a CA that was replaced', async () => {
  const [old, renewed] = [ca, authority()];
  const closed: string[] = [];
  const keys = {
    open: async (_uri: unknown, { sha256 }: { readonly sha256: string }) => {
      const signer = signerFromPem(sha256 === shaOf(renewed) ? renewed.keyPem : old.keyPem);
      return Object.assign(signer, { close: async () => void closed.push(sha256) });
    },
  } as unknown as KeyOpener;
  const uri = parseKeyUri('awskms:///alias/edge-ca');
  assert.ok(uri.scheme !== 'file');
  let now = Math.floor(Date.now() / 1000);
  let current = old;
  const client = {
    get: async () => ({ metadata: {}, data: { 'tls.crt': base64(current.certificatePem) } }),
  } as unknown as ApiClient;
  const loader = new AuthorityLoader({ client, keys, caKeys: new Map([['edge', uri]]) });
  const spec = { ca: { secretName: 'web-ca', keyName: 'edge' }, maxDurationSeconds: 3_600 };
  const reference = { kind: 'ClusterDelegationIssuer', secretNamespace: 'dcred-system', spec } as const;
  const load = async () => {
    await loader.load(reference, now, never);
    await new Promise((resolve) => setImmediate(resolve));
  };
  await load();
  for (let minute = 0; minute < 30; minute += 1) {
    now += 60;
    await load();
  }
  assert.deepEqual(closed, [], 'in use');
  current = renewed;
  await load();
  assert.deepEqual(closed, [], 'another issuer may have the old one');
  for (let minute = 0; minute < 11; minute += 1) {
    now += 60;
    await load();
  }
  assert.deepEqual(closed, [shaOf(old)]);
  await loader.close();
  assert.deepEqual(closed, [shaOf(old), shaOf(renewed)]);
});

const shaOf = ({ certificatePem }: { readonly certificatePem: string }) =>
  readCertificateChain(certificatePem)[0].sha256;

test('a request for an issuer that is not there says what is expected, and quotes little of a stranger', () => {
  assert.equal(missingIssuer({ kind: 'DelegationIssuer', name: 'web' }), 'the DelegationIssuer "web" does not exist');
  for (const kind of ['', 'Issuer', '\u001b[31m'.repeat(100_000)]) {
    const message = missingIssuer({ kind, name: 'web' });
    assert.match(message, /expected DelegationIssuer or ClusterDelegationIssuer$/);
    assert.ok(message.length < 200 && !message.includes('\u001b'));
  }
  assert.ok(missingIssuer({ kind: 'ClusterDelegationIssuer', name: 'x'.repeat(1_000_000) }).length < 400);
});
