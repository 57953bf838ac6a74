/** How long a signer uses the grants that it has read when its API server stops answering. Silent watches: test/cluster/withdrawal.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DelegationGrantResource } from '../../src/api/delegation-grant.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { aborted } from '../../src/kubernetes/deadline.ts';
import type { KubernetesObject } from '../../src/kubernetes/objects.ts';
import { GrantWatch } from '../../src/signer/grant-watch.ts';
import { GrantedUses, GrantsUnreadableError } from '../../src/signer/granted-uses.ts';
import type { SignerGrant } from '../../src/signer/policy.ts';
import { SharedReading } from '../../src/signer/shared-reading.ts';
import { grant } from '../../testing/support/builders.ts';
import { FakeClock, settle } from '../../testing/support/fake-clock.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';

const { signal } = new AbortController();
const QUESTION = { certificate: 'vault/web-tls', cluster: 'local', usage: 'Server', namespace: 'edge' } as const;
const UNANSWERED = new ApiError('no answer', { status: 0, reason: 'Network' });
const EXPIRED = new ApiError('too old resource version', { status: 410, reason: 'Expired' });
const FORBIDDEN = new ApiError('no', { status: 403, reason: 'Forbidden' });
const SELECTING = grant({ from: [{ namespaceSelector: { matchLabels: { tier: 'edge' } } }] });
const edge = (labels: Readonly<Record<string, string>>) => ({
  metadata: { name: 'edge', uid: 'uid', resourceVersion: '10', labels },
});
const CONFIGURED: SignerGrant = {
  certificate: 'vault/web-tls',
  from: [{}],
  usages: ['Server'],
  maxLifetimeSeconds: 600,
};

/** A fake API server, whose watches begin with a list and are silent after it, until they expire or etcd is restored. */
class Server {
  grants: readonly DelegationGrantResource[] = [grant()];
  namespaces: readonly object[] = [];
  version = '100';
  error: Error | undefined;
  lists = 0;
  /** Each began with a list. */
  watches = 0;
  #expired = Promise.withResolvers<void>();
  readonly #restored = Promise.withResolvers<void>();
  #sent = Promise.withResolvers<{ readonly plural: string; readonly object: object }>();

  readonly client = {
    list: async ({ plural }: { plural: string }) => {
      this.lists += 1;
      if (this.error !== undefined) throw this.error;
      return { metadata: { resourceVersion: this.version }, items: this.#objects(plural) };
    },
    watch: (type: { plural: string }, _: object, options: { signal: AbortSignal }) => this.#watch(type, options),
  } as unknown as ApiClient;

  /** From a backup: all versions start again from an older one, and each watch finds that out. */
  restore(version: string): void {
    this.version = version;
    this.#restored.resolve();
  }

  /** As a restarted API server does: its watch cache begins at the present version. Each watch lists again. */
  expire(): void {
    this.#expired.resolve();
    this.#expired = Promise.withResolvers();
  }

  /** A later state of an object, which the watch of its kind shows. */
  async send(plural: string, object: object): Promise<void> {
    const { resolve } = this.#sent;
    this.#sent = Promise.withResolvers();
    resolve({ plural, object });
    await settle();
  }

  #objects(plural: string): readonly object[] {
    return plural === 'delegationgrants' ? this.grants : this.namespaces;
  }

  async *#watch({ plural }: { plural: string }, options: { signal: AbortSignal }) {
    const began = this.version;
    const expired = this.#expired.promise.then(() => 'expired');
    this.watches += 1;
    for (const object of this.#objects(plural)) yield { type: 'ADDED', object };
    const annotations = { 'k8s.io/initial-events-end': 'true' };
    yield { type: 'BOOKMARK', object: { metadata: { resourceVersion: began, annotations } } };
    const ended = Promise.race([expired, this.#restored.promise, aborted(options.signal)]);
    let end = await Promise.race([ended, this.#sent.promise]);
    while (typeof end === 'object') {
      if (end.plural === plural) yield { type: 'MODIFIED', object: end.object };
      end = await Promise.race([ended, this.#sent.promise]);
    }
    if (end === 'expired') throw EXPIRED;
    if (this.version !== began) yield { type: 'BOOKMARK', object: { metadata: { resourceVersion: this.version } } };
    await aborted(options.signal);
  }
}

async function signer(configured: readonly SignerGrant[] = [], server = new Server()) {
  const clock = new FakeClock();
  const log = recordingLogger();
  const changes = { count: 0 };
  const watch = new GrantWatch({
    client: server.client,
    clock,
    random: () => 0,
    log,
    namespaces: ['vault'],
    cluster: 'local',
    onChange: () => {
      changes.count += 1;
    },
  });
  const stop = new AbortController();
  const running = watch.run(stop.signal);
  await settle();
  const grants = new GrantedUses({ configured, watch });
  const end = async () => {
    stop.abort();
    await running;
  };
  return { server, clock, log, grants, changes, [Symbol.asyncDispose]: end };
}

test('only what may change a decision wakes those who wait for it', async () => {
  const server = new Server();
  const plain = edge({ tier: 'edge' });
  server.grants = [SELECTING];
  server.namespaces = [plain];
  await using world = await signer([], server);
  const { changes } = world;
  const wakes = async (plural: string, object: KubernetesObject, resourceVersion: string, change: object = {}) => {
    const before = changes.count;
    await server.send(plural, { ...object, metadata: { ...object.metadata, resourceVersion, ...change } });
    return changes.count > before;
  };
  assert.ok(changes.count >= 2, 'each list does');
  assert.equal(await wakes('namespaces', plain, '101', { annotations: { note: 'changed' } }), false);
  assert.equal(await wakes('namespaces', plain, '102', { labels: { tier: 'other' } }), true);
  assert.equal(await wakes('namespaces', plain, '103', { uid: 'of a new one' }), true);
  const { spec } = SELECTING;
  const status = { conditions: [], observedGeneration: 1 };
  assert.equal(await wakes('delegationgrants', { ...SELECTING, ...{ status } }, '104'), false);
  const shorter = { ...SELECTING, spec: { ...spec, maxLifetimeSeconds: 600 } };
  assert.equal(await wakes('delegationgrants', shorter, '105'), true);
  assert.equal(await wakes('delegationgrants', { ...SELECTING, ...{ spec: { unreadable: true } } }, '106'), true);
});

test('grants that were read a moment ago are not read again', async () => {
  await using world = await signer();
  const { clock, grants, server } = world;
  assert.equal((await grants.current(QUESTION, signal)).length, 1);
  clock.advance(10_000);
  assert.equal((await grants.current(QUESTION, signal)).length, 1);
  assert.equal(server.lists, 1);
  clock.advance(1);
  assert.equal((await grants.current(QUESTION, signal)).length, 1);
  assert.equal(server.lists, 2);
});

test('grants stay in use for five minutes while the API server does not answer, which is logged once', async () => {
  await using world = await signer();
  const { clock, grants, log, server } = world;
  await grants.current(QUESTION, signal);
  server.error = UNANSWERED;
  clock.advance(10_001);
  for (let count = 0; count < 20; count += 1) assert.equal((await grants.current(QUESTION, signal)).length, 1);
  assert.equal(server.lists, 2, 'not one for each signature');
  clock.advance(300_000 - 10_001);
  assert.equal((await grants.current(QUESTION, signal)).length, 1);
  assert.equal(log.lines.filter(({ level }) => level === 'warn').length, 1);
  clock.advance(1);
  await assert.rejects(async () => await grants.current(QUESTION, signal), GrantsUnreadableError);
  server.error = undefined;
  clock.advance(2_000);
  assert.equal((await grants.current(QUESTION, signal)).length, 1);
});

test('the five minutes also count from a list that a watch began again with', async () => {
  for (const objects of [{ grants: [grant()] }, { grants: [SELECTING], namespaces: [edge({ tier: 'edge' })] }]) {
    const server = Object.assign(new Server(), objects);
    await using world = await signer([], server);
    const { clock, grants } = world;
    await grants.current(QUESTION, signal);
    const { watches } = server;
    clock.advance(1);
    server.expire();
    await clock.advanceAsync(5_000);
    assert.equal(server.watches, 2 * watches, 'each has listed again');
    server.error = UNANSWERED;
    clock.advance(10_001);
    assert.equal((await grants.current(QUESTION, signal)).length, 1);
    clock.advance(300_001);
    await assert.rejects(async () => await grants.current(QUESTION, signal), GrantsUnreadableError);
  }
});

test('and from the first list of the watch, where nothing was signed before the API server went away', async () => {
  await using world = await signer();
  const { clock, grants, server } = world;
  server.error = UNANSWERED;
  clock.advance(300_000);
  assert.equal((await grants.current(QUESTION, signal)).length, 1);
  clock.advance(1);
  await assert.rejects(async () => await grants.current(QUESTION, signal), GrantsUnreadableError);
});

test('a list of a watch saves no list while the API server answers', async () => {
  await using world = await signer();
  const { clock, grants, server } = world;
  await grants.current(QUESTION, signal);
  clock.advance(1);
  server.expire();
  await clock.advanceAsync(5_000);
  const { lists } = server;
  await grants.current(QUESTION, signal);
  assert.equal(server.lists, lists + 1);
});

test('they do not where it refuses to show the grants: they may have been withdrawn', async () => {
  await using world = await signer();
  const { clock, grants, server } = world;
  await grants.current(QUESTION, signal);
  server.error = FORBIDDEN;
  clock.advance(10_001);
  await assert.rejects(
    async () => await grants.current(QUESTION, signal),
    (error) => error instanceof GrantsUnreadableError && error.refused,
  );
});

test('what the configuration grants needs no API server', async () => {
  await using world = await signer([CONFIGURED]);
  const { grants, server } = world;
  server.error = FORBIDDEN;
  assert.deepEqual(await grants.current(QUESTION, signal), [CONFIGURED]);
});

test('a grant that is newer than what was read counts, and one that was changed counts as it is now', async () => {
  await using world = await signer();
  const { clock, grants, server } = world;
  // The list shows a state that the silent watch does not.
  server.grants = [grant({ resourceVersion: '90', maxLifetimeSeconds: 900 })];
  const [changed] = await grants.current(QUESTION, signal);
  assert.equal(changed?.maxLifetimeSeconds, 900);
  server.grants = [];
  clock.advance(10_001);
  assert.deepEqual(await grants.current(QUESTION, signal), []);
});

test('what was read before etcd was restored does not count against a grant or a label that is there again', async () => {
  for (const { before, lost } of [
    { before: { grants: [grant()] }, lost: { grants: [] } },
    {
      before: { grants: [SELECTING], namespaces: [edge({ tier: 'edge' })] },
      lost: { namespaces: [edge({})] },
    },
  ]) {
    const server = Object.assign(new Server(), before, { version: '1000000' });
    await using world = await signer([], server);
    const { clock, grants } = world;
    // Withdrawn: the list shows it, the silent watch does not.
    Object.assign(server, lost);
    assert.deepEqual(await grants.current(QUESTION, signal), []);
    Object.assign(server, before);
    clock.advance(1);
    server.restore('900000');
    await clock.advanceAsync(60_000);
    assert.equal((await grants.current(QUESTION, signal)).length, 1);
    // From here on, versions of one history are compared as always.
    Object.assign(server, lost);
    await clock.advanceAsync(10_001);
    assert.deepEqual(await grants.current(QUESTION, signal), []);
  }
});

test('nor does a reading that is in progress while a watch lists again, if it began before', async () => {
  const clock = new FakeClock();
  const lost = Promise.withResolvers<string>();
  const answers = [lost.promise, Promise.resolve('restored')];
  const reading = new SharedReading(clock, () => answers.shift() ?? assert.fail('read too often'));
  const first = reading.since(0, signal);
  clock.advance(1);
  reading.forgetBefore(1);
  lost.resolve('lost');
  await first;
  assert.deepEqual(reading.latest, undefined);
  await reading.since(1, signal);
  assert.deepEqual(reading.latest, { value: 'restored', sinceMs: 1 });
});
