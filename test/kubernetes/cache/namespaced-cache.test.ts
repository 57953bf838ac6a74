/** What a cache says of a namespace that the API server refuses: for good, or only while it starts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ApiError } from '../../../src/kubernetes/api-error.ts';
import { NamespacedCache, namespacedKey } from '../../../src/kubernetes/cache/namespaced-cache.ts';
import { Reflector } from '../../../src/kubernetes/cache/reflector.ts';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import type { KubernetesObject } from '../../../src/kubernetes/objects.ts';
import { PODS } from '../../../src/kubernetes/resource-type.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';

type Watch = Parameters<ApiClient['watch']>;

const FAILURES = {
  forbidden: new ApiError('no role', { status: 403, reason: 'Forbidden' }),
  missing: new ApiError('no such kind', { status: 404, reason: 'NotFound' }),
  internal: new ApiError('no etcd', { status: 500, reason: 'InternalError' }),
  cut: new ApiError('cut', { status: 0, reason: 'Network' }),
} as const;

/** A fake: a real API server cannot be made to refuse at a given moment. It has no objects, and its watches stay open until they are cut. */
class FakeServer {
  failure: ApiError | undefined;
  #open = new AbortController();

  /** From now on everything fails like this; undefined: everything works. */
  become(failure: ApiError | undefined): void {
    this.failure = failure;
    if (failure === undefined) return;
    this.#open.abort();
    this.#open = new AbortController();
  }

  get client(): ApiClient {
    return this as unknown as ApiClient;
  }

  async list(): Promise<object> {
    if (this.failure !== undefined) throw this.failure;
    return { metadata: { resourceVersion: '7' }, items: [] };
  }

  async *watch(_type: Watch[0], _selection: Watch[1], options: Watch[2]): AsyncGenerator<object> {
    if (this.failure !== undefined) throw this.failure;
    options.onAccepted?.();
    const annotations = { 'k8s.io/initial-events-end': 'true' };
    yield { type: 'BOOKMARK', object: { metadata: { resourceVersion: '7', annotations } } };
    const ends = AbortSignal.any([options.signal, this.#open.signal]);
    if (!ends.aborted) await new Promise((resolve) => ends.addEventListener('abort', resolve, { once: true }));
    if (this.failure !== undefined) throw this.failure;
  }
}

function started(server: FakeServer) {
  const clock = new FakeClock();
  const told: string[] = [];
  const stop = new AbortController();
  const cache = new NamespacedCache(
    ['edge'],
    ({ namespace, observe }) =>
      new Reflector<KubernetesObject['metadata'] & { readonly namespace: string; readonly name: string }>({
        client: server.client,
        clock,
        random: () => 0.5,
        log: recordingLogger(),
        type: PODS,
        namespace,
        observe,
        transform: ({ metadata }) => ({ ...metadata, namespace: metadata.namespace ?? '', name: metadata.name ?? '' }),
        keyOf: namespacedKey,
        onChange: () => {},
      }),
    (namespace, reason) => told.push(`${namespace} ${reason}`),
    (namespace) => told.push(`${namespace} readable`),
  );
  const run = cache.run(stop.signal);
  const end = async () => {
    stop.abort();
    await run;
  };
  return { cache, clock, told, end };
}

test('a namespace that is refused from the start is refused at once, and readable once it is listed', async () => {
  const server = new FakeServer();
  server.become(FAILURES.forbidden);
  const { cache, clock, told, end } = started(server);
  await clock.advanceAsync(10);
  assert.deepEqual([...cache.refusals], [['edge', 'Forbidden']]);
  server.become(undefined);
  await clock.advanceAsync(5_000);
  assert.deepEqual([...cache.refusals], []);
  assert.deepEqual(told, ['edge Forbidden', 'edge readable']);
  await end();
});

test('an API server that is starting, and refuses everything for two seconds, does not count as a refusal', async () => {
  for (const failure of [FAILURES.forbidden, FAILURES.missing]) {
    const server = new FakeServer();
    const { cache, clock, told, end } = started(server);
    await clock.advanceAsync(2_000);
    server.become(FAILURES.cut);
    await clock.advanceAsync(600);
    server.become(failure);
    await clock.advanceAsync(2_000);
    assert.deepEqual([...cache.refusals], []);
    server.become(undefined);
    await clock.advanceAsync(60_000);
    assert.deepEqual(told, []);
    await end();
  }
});

test('whatever happened before, the cache knows half a minute later that a refusal has begun or ended', async () => {
  const kind = fc.constantFrom<keyof typeof FAILURES | 'works'>('forbidden', 'missing', 'internal', 'cut', 'works');
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(kind, fc.integer({ min: 1, max: 100_000 })), { maxLength: 8 }),
      async (spells) => {
        const server = new FakeServer();
        const { cache, clock, end } = started(server);
        await clock.advanceAsync(2_000);
        for (const [what, ms] of [...spells, ['works', 33_000] as const]) {
          server.become(what === 'works' ? undefined : FAILURES[what]);
          await clock.advanceAsync(ms);
          if (ms < 33_000) continue;
          if (what === 'works') assert.equal(cache.refusals.size, 0);
          if (what === 'forbidden') assert.equal(cache.refusals.size, 1);
        }
        await end();
      },
    ),
    { numRuns: 100 },
  );
});
