/** A namespace whose grants the API server refuses to show: it stops nothing else, and nothing of it looks like a withdrawal. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { DelegationGrantResource } from '../../src/api/delegation-grant.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { aborted } from '../../src/kubernetes/deadline.ts';
import { CertificateFeed } from '../../src/signer/certificate-feed.ts';
import { Changes } from '../../src/signer/changes.ts';
import { GrantWatch } from '../../src/signer/grant-watch.ts';
import { GrantedUses, GrantsUnreadableError } from '../../src/signer/granted-uses.ts';
import { SignerMetrics } from '../../src/signer/metrics.ts';
import type { SignerGrant } from '../../src/signer/policy.ts';
import { grant } from '../../testing/support/builders.ts';
import { FakeClock, settle } from '../../testing/support/fake-clock.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';

const { signal } = new AbortController();
const CLIENT = { name: 'here', cluster: 'local' };
const BY_LABEL = { from: [{ namespaceSelector: { matchLabels: { tier: 'edge' } } }] };
const question = (certificate: string, cluster = 'local') =>
  ({ certificate, cluster, usage: 'Server', namespace: 'edge' }) as const;
const isRefused = (error: unknown) => error instanceof GrantsUnreadableError && error.refused;

interface Selection {
  readonly namespace?: string | undefined;
}

/** A fake API server. What it refuses is a namespace of grants, or "namespaces". */
class Server {
  readonly refused = new Set<string>();
  isAway = false;
  #ended = Promise.withResolvers<void>();
  grants: readonly DelegationGrantResource[] = [grant({ namespace: 'a' }), grant({ namespace: 'b' })];

  readonly client = {
    list: async ({ plural }: { plural: string }, selection: Selection) => ({
      metadata: { resourceVersion: '100' },
      items: this.#objects(plural, selection),
    }),
    watch: (type: { plural: string }, selection: Selection, options: { signal: AbortSignal }) =>
      this.#watch(type.plural, selection, options),
  } as unknown as ApiClient;

  /** As an API server does with each watch after some minutes. */
  endWatches(): void {
    this.#ended.resolve();
    this.#ended = Promise.withResolvers();
  }

  #objects(plural: string, { namespace }: Selection): readonly object[] {
    if (this.isAway) throw new ApiError('no answer', { status: 0, reason: 'Network' });
    if (this.refused.has(namespace ?? plural)) throw new ApiError('no', { status: 403, reason: 'Forbidden' });
    if (plural === 'namespaces') return [{ metadata: { name: 'edge', uid: 'uid', labels: { tier: 'edge' } } }];
    return this.grants.filter(({ metadata }) => metadata.namespace === namespace);
  }

  async *#watch(plural: string, selection: Selection, options: { signal: AbortSignal; onAccepted?: () => void }) {
    const objects = this.#objects(plural, selection);
    const ended = this.#ended.promise;
    options.onAccepted?.();
    for (const object of objects) yield { type: 'ADDED', object };
    const annotations = { 'k8s.io/initial-events-end': 'true' };
    yield { type: 'BOOKMARK', object: { metadata: { resourceVersion: '100', annotations } } };
    await Promise.race([ended, aborted(options.signal)]);
  }
}

/** A signer with the certificates a/web-tls and b/web-tls, which has just started. */
async function signer(t: TestContext, server: Server, configured: readonly SignerGrant[] = []) {
  const clock = new FakeClock();
  const changes = new Changes();
  const log = recordingLogger();
  const watch = new GrantWatch({
    client: server.client,
    clock,
    random: () => 0,
    log,
    namespaces: ['a', 'b'],
    cluster: 'local',
    onChange: () => changes.notify(),
  });
  const stop = new AbortController();
  const running = watch.run(stop.signal);
  t.after(async () => {
    stop.abort();
    await running;
  });
  await settle();
  const grants = new GrantedUses({ configured, watch });
  const chain = { certificate: { chainPem: 'chain' } } as never;
  const feed = new CertificateFeed({
    certificates: { get: () => chain, has: () => true },
    grants: (one) => grants.known(one),
    changes,
    maxLifetimeSeconds: 86_400,
    clock,
  });
  /** Which certificates a client without any gets news of, and whether they are granted. */
  const news = async () => {
    const known = ['a/web-tls', 'b/web-tls'].map((certificate) => ({
      certificate,
      namespace: 'edge',
      version: undefined,
    }));
    const found = await feed.news(CLIENT, { known, waitSeconds: 0 }, signal);
    return found.map(({ certificate, granted }) => [certificate, granted !== undefined]);
  };
  const current = async (certificate: string, cluster?: string) =>
    (await grants.current(question(certificate, cluster), signal)).length;
  const metrics = new SignerMetrics('test');
  metrics.watchGrants(() => watch.readable);
  /** The values of the gauge, as they are scraped. */
  const readable = async () => {
    const found = await metrics.registry.getSingleMetric('dcred_signer_grants_readable')?.get();
    return Object.fromEntries(
      found?.values.map(({ labels, value }) => [`${labels['resource']}/${labels['namespace']}`, value]) ?? [],
    );
  };
  const errors = () => log.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields);
  return { clock, watch, grants, news, current, errors, readable };
}

test('one namespace that is refused from the start stops no other, and counts as unknown', async (t) => {
  const server = new Server();
  server.refused.add('b');
  const { clock, current, grants, news, watch } = await signer(t, server);
  assert.equal(watch.problem, undefined);
  assert.match(watch.refused ?? '', /^DelegationGrants of namespace "b": Forbidden$/);
  assert.equal(await current('a/web-tls'), 1);
  await assert.rejects(current('b/web-tls'), isRefused);
  assert.equal(grants.mayRead('a/web-tls', 'local'), true);
  assert.throws(() => grants.mayRead('b/web-tls', 'local'), isRefused);
  assert.deepEqual(await news(), [['a/web-tls', true]]);

  server.refused.clear();
  await clock.advanceAsync(60_000);
  assert.equal(watch.refused, undefined);
  assert.equal(await current('b/web-tls'), 1);
  assert.deepEqual(await news(), [
    ['a/web-tls', true],
    ['b/web-tls', true],
  ]);
});

test('so does the same refusal of what selects by labels: other grants of the cluster, and those of others, count', async (t) => {
  const server = new Server();
  server.refused.add('namespaces');
  server.grants = [grant({ namespace: 'a' }), grant({ namespace: 'b', from: [...BY_LABEL.from, { cluster: 'eu' }] })];
  const { clock, current, news, watch } = await signer(t, server);
  assert.equal(watch.problem, undefined);
  assert.match(watch.refused ?? '', /^labels of namespaces: Forbidden$/);
  assert.equal(await current('a/web-tls'), 1);
  await assert.rejects(current('b/web-tls'), isRefused);
  assert.equal(await current('b/web-tls', 'eu'), 1);
  assert.deepEqual(await news(), [['a/web-tls', true]]);

  server.refused.clear();
  await clock.advanceAsync(60_000);
  assert.equal(await current('b/web-tls'), 1);
});

test('what a signer may no longer list under an open watch is named until it may again, and logged once', async (t) => {
  for (const { refused, granted, named, fields } of [
    {
      refused: 'b',
      granted: grant({ namespace: 'b' }),
      named: /^DelegationGrants of namespace "b": Forbidden$/,
      fields: { namespace: 'b', reason: 'Forbidden' },
    },
    {
      refused: 'namespaces',
      granted: grant({ namespace: 'b', ...BY_LABEL }),
      named: /^labels of namespaces: Forbidden$/,
      fields: { reason: 'Forbidden' },
    },
  ]) {
    const server = Object.assign(new Server(), { grants: [granted] });
    const { clock, current, errors, watch } = await signer(t, server);
    assert.equal(await current('b/web-tls'), 1);
    server.refused.add(refused);
    for (const ms of [10_001, 60_000]) {
      clock.advance(ms);
      await assert.rejects(current('b/web-tls'), isRefused);
      assert.match(watch.refused ?? '', named);
    }
    assert.deepEqual(errors(), [fields]);

    server.refused.clear();
    clock.advance(2_000);
    assert.equal(await current('b/web-tls'), 1);
    assert.equal(watch.refused, undefined);
  }
});

test('so is what the proof of a withdrawal may not list, and a watch that begins again shows that it may', async (t) => {
  const server = new Server();
  const { clock, errors, grants, watch } = await signer(t, server);
  server.refused.add('b');
  await assert.rejects(grants.wasCovered(question('b/web-tls'), clock.monotonic(), signal), isRefused);
  assert.match(watch.refused ?? '', /namespace "b": Forbidden$/);
  server.refused.clear();
  server.endWatches();
  await clock.advanceAsync(60_000);
  assert.equal(watch.refused, undefined);
  assert.equal(errors().length, 1);
});

test('a watch that is refused after a list was is no news, and stays named when the list is shown again', async (t) => {
  const server = new Server();
  const { clock, current, errors, watch } = await signer(t, server);
  server.refused.add('b');
  clock.advance(10_001);
  await assert.rejects(current('b/web-tls'), isRefused);
  server.endWatches();
  await clock.advanceAsync(60_000);
  assert.equal(errors().length, 1);
  server.refused.clear();
  // The watch has not been tried again yet.
  assert.equal(await current('b/web-tls'), 1);
  assert.match(watch.refused ?? '', /namespace "b": Forbidden$/);
  await clock.advanceAsync(60_000);
  assert.equal(watch.refused, undefined);
});

test('a gauge has 0 for what is refused and 1 for what is shown, and nothing before the first answer', async (t) => {
  const server = new Server();
  server.isAway = true;
  const { clock, current, readable } = await signer(t, server);
  assert.deepEqual(await readable(), {});
  server.isAway = false;
  server.refused.add('b').add('namespaces');
  await clock.advanceAsync(60_000);
  assert.deepEqual(await readable(), { 'delegationgrants/a': 1, 'delegationgrants/b': 0, 'namespaces/': 0 });
  server.refused.clear();
  await clock.advanceAsync(60_000);
  assert.deepEqual(await readable(), { 'delegationgrants/a': 1, 'delegationgrants/b': 1, 'namespaces/': 1 });
  server.refused.add('b');
  await assert.rejects(current('b/web-tls'), isRefused);
  assert.deepEqual(await readable(), { 'delegationgrants/a': 1, 'delegationgrants/b': 0, 'namespaces/': 1 });
  server.refused.clear();
  clock.advance(2_000);
  await current('b/web-tls');
  assert.deepEqual(await readable(), { 'delegationgrants/a': 1, 'delegationgrants/b': 1, 'namespaces/': 1 });
});

test('what the configuration grants is signed meanwhile, and a namespace without certificates has no grants', async (t) => {
  const server = new Server();
  server.refused.add('b');
  const configured = { certificate: 'b/web-tls', from: [{}], usages: ['Server'], maxLifetimeSeconds: 600 } as const;
  const { current, grants, news } = await signer(t, server, [configured]);
  assert.equal(await current('b/web-tls'), 1);
  assert.equal(grants.mayRead('b/web-tls', 'local'), true);
  assert.equal(grants.mayRead('c/web-tls', 'local'), false);
  // What else is granted is not known: a client that knows more must not lose it.
  assert.deepEqual(await news(), [['a/web-tls', true]]);
});

test('until the API server has answered, nothing is decided', async (t) => {
  const server = new Server();
  server.isAway = true;
  const { current, news, watch } = await signer(t, server);
  assert.match(watch.problem ?? '', /namespace "a" cannot be read yet/);
  await assert.rejects(current('a/web-tls'), GrantsUnreadableError);
  assert.deepEqual(await news(), []);
});
