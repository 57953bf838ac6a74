/** How long a signer uses the grants that it has read when its API server stops answering. Silent watches: test/cluster/withdrawal.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DelegationGrantResource } from '../../src/api/delegation-grant.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { aborted } from '../../src/kubernetes/deadline.ts';
import { GrantWatch } from '../../src/signer/grant-watch.ts';
import { GrantedUses, GrantsUnreadableError } from '../../src/signer/granted-uses.ts';
import type { SignerGrant } from '../../src/signer/policy.ts';
import { grant } from '../../testing/support/builders.ts';
import { FakeClock, settle } from '../../testing/support/fake-clock.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';

const { signal } = new AbortController();
const QUESTION = { certificate: 'vault/web-tls', cluster: 'local', usage: 'Server', namespace: 'edge' } as const;
const UNANSWERED = new ApiError('no answer', { status: 0, reason: 'Network' });
const FORBIDDEN = new ApiError('no', { status: 403, reason: 'Forbidden' });
const CONFIGURED: SignerGrant = {
  certificate: 'vault/web-tls',
  from: [{}],
  usages: ['Server'],
  maxLifetimeSeconds: 600,
};

/** A fake API server, whose watches begin with a list and are silent after it. */
class Server {
  grants: readonly DelegationGrantResource[] = [grant()];
  error: Error | undefined;
  lists = 0;

  readonly client = {
    list: async () => {
      this.lists += 1;
      if (this.error !== undefined) throw this.error;
      return { metadata: { resourceVersion: '100' }, items: this.grants };
    },
    watch: (type: { plural: string }, _: object, options: { signal: AbortSignal }) => this.#watch(type, options),
  } as unknown as ApiClient;

  async *#watch({ plural }: { plural: string }, options: { signal: AbortSignal }) {
    const objects = plural === 'delegationgrants' ? this.grants : [];
    for (const object of objects) yield { type: 'ADDED', object };
    const annotations = { 'k8s.io/initial-events-end': 'true' };
    yield { type: 'BOOKMARK', object: { metadata: { resourceVersion: '100', annotations } } };
    await aborted(options.signal);
  }
}

async function signer(configured: readonly SignerGrant[] = []) {
  const server = new Server();
  const clock = new FakeClock();
  const log = recordingLogger();
  const watch = new GrantWatch({
    client: server.client,
    clock,
    random: () => 0,
    log,
    namespaces: ['vault'],
    cluster: 'local',
    onChange: () => {},
  });
  const stop = new AbortController();
  const running = watch.run(stop.signal);
  await settle();
  const grants = new GrantedUses({ configured, watch });
  const end = async () => {
    stop.abort();
    await running;
  };
  return { server, clock, log, grants, [Symbol.asyncDispose]: end };
}

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
