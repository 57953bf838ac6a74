/** What proves a withdrawal to a client that then deletes: nothing else does. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { DelegationGrantResource } from '../../src/api/delegation-grant.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { GrantWatch } from '../../src/signer/grant-watch.ts';
import { GrantedUses, GrantsUnreadableError } from '../../src/signer/granted-uses.ts';
import type { SignerGrant } from '../../src/signer/policy.ts';
import { Withdrawals } from '../../src/signer/withdrawals.ts';
import { grant } from '../../testing/support/builders.ts';
import { FakeClock, settle } from '../../testing/support/fake-clock.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';

const { signal } = new AbortController();
const LEAF = 'a'.repeat(64);
const USE = { certificate: 'vault/web-tls', usage: 'Server', namespace: 'edge', leafSha256: LEAF } as const;
const FORBIDDEN = new ApiError('no', { status: 403, reason: 'Forbidden' });
const HOME = { name: 'here', cluster: 'local' };
const AWAY = { name: 'eu', cluster: 'eu-west' };

/** A fake API server for a signer whose watches have never shown anything. */
class Server {
  readonly clock = new FakeClock();
  grants: readonly DelegationGrantResource[] = [];
  labels: Readonly<Record<string, string>> = {};
  error: Error | undefined;
  /** A namespace whose grants are not shown. */
  refused: string | undefined;
  /** Lists that were requested. */
  readonly lists: string[] = [];
  /** Each call answers one list with the present state. Undefined: all are answered at once. */
  answers: (() => void)[] | undefined;

  readonly client = {
    list: async ({ plural }: { plural: string }, { namespace, fieldSelector }: Record<string, string>) => {
      this.lists.push(plural);
      if (this.answers !== undefined) await new Promise<void>((resolve) => this.answers?.push(resolve));
      if (this.error !== undefined) throw this.error;
      if (namespace !== undefined && namespace === this.refused) throw FORBIDDEN;
      const metadata = { resourceVersion: '1000' };
      if (plural === 'namespaces') {
        assert.equal(fieldSelector, 'metadata.name=edge');
        return { metadata, items: [{ metadata: { name: 'edge', uid: 'uid-of-edge', labels: this.labels } }] };
      }
      return { metadata, items: this.grants.filter((one) => one.metadata.namespace === namespace) };
    },
  } as unknown as ApiClient;

  withdrawals(config: readonly SignerGrant[] = []): Withdrawals {
    const watch = new GrantWatch({
      client: this.client,
      clock: this.clock,
      random: () => 0,
      log: recordingLogger(),
      namespaces: ['vault', 'shop'],
      cluster: 'local',
      onChange: () => {},
    });
    const certificates = {
      hasUsed: (name: string, leaf: string) => ['vault/web-tls', 'shop/web-tls'].includes(name) && leaf === LEAF,
    };
    const grants = new GrantedUses({ configured: config, watch });
    return new Withdrawals({ certificates, grants, clock: this.clock });
  }

  async isWithdrawn(
    client = HOME,
    change: object = {},
    config: readonly SignerGrant[] = [],
  ): Promise<boolean | undefined> {
    const [answer] = await this.withdrawals(config).confirm(client, [{ ...USE, ...change }], signal);
    return answer;
  }
}

describe('a use of a certificate', () => {
  test("is withdrawn where no grant covers it, in the signer's own cluster and in another one", async () => {
    const server = new Server();
    assert.equal(await server.isWithdrawn(), true);
    server.grants = [grant({ from: [{ namespace: 'shop' }, { cluster: 'us-east' }] }), grant({ usages: ['Client'] })];
    assert.equal(await server.isWithdrawn(), true);
    assert.equal(await server.isWithdrawn(AWAY), true);
    assert.equal(await server.isWithdrawn(HOME, { usage: 'Client' }), false);
  });

  test('is not withdrawn while a grant covers it by name, label or cluster, whatever the watches show', async () => {
    const server = new Server();
    server.grants = [grant()];
    assert.equal(await server.isWithdrawn(), false);
    assert.equal(await server.isWithdrawn(AWAY), true);
    server.grants = [grant({ from: [{ namespaceSelector: { matchLabels: { tier: 'edge' } } }] })];
    assert.equal(await server.isWithdrawn(), true);
    server.labels = { tier: 'edge' };
    assert.equal(await server.isWithdrawn(), false);
    server.grants = [grant({ from: [{ cluster: 'eu-west' }] })];
    assert.equal(await server.isWithdrawn(AWAY), false);
  });

  test('is not withdrawn while this version cannot read a grant of the certificate', async () => {
    const server = new Server();
    const newer = (change: object) =>
      ({ ...grant(), spec: { ...grant().spec, hours: 'weekdays', ...change } }) as never;
    server.grants = [newer({})];
    assert.equal(await server.isWithdrawn(), false);
    assert.equal(await server.isWithdrawn(AWAY), false);
    server.grants = [newer({ certificateRef: undefined })];
    assert.equal(await server.isWithdrawn(), false);
    server.grants = [newer({ certificateRef: { name: 'api-tls' } })];
    assert.equal(await server.isWithdrawn(), true);
  });

  test('is not withdrawn while the configuration grants it', async () => {
    const config: SignerGrant = {
      certificate: 'vault/web-tls',
      from: [{ cluster: 'local' }],
      usages: ['Server'],
      maxLifetimeSeconds: undefined,
    };
    assert.equal(await new Server().isWithdrawn(HOME, {}, [config]), false);
    assert.equal(await new Server().isWithdrawn(AWAY, {}, [config]), true);
  });

  test('is not withdrawn for a signer that does not hold the certificate, or never had that leaf', async () => {
    assert.equal(await new Server().isWithdrawn(HOME, { certificate: 'vault/api-tls' }), false);
    assert.equal(await new Server().isWithdrawn(HOME, { leafSha256: 'b'.repeat(64) }), false);
  });

  test('is not withdrawn where the whole kind is gone, and unknown while the API server does not answer', async () => {
    const server = new Server();
    server.error = new ApiError('not found', { status: 404, reason: 'NotFound' });
    assert.equal(await server.isWithdrawn(), false);
    for (const [status, reason] of [
      [0, 'Unavailable'],
      [503, 'ServiceUnavailable'],
    ] as const) {
      server.error = new ApiError('refused', { status, reason });
      await assert.rejects(server.isWithdrawn(), GrantsUnreadableError);
    }
  });
});

describe('many questions', () => {
  test('are answered one by one where the API server refuses to show the grants of some: those are no proof', async () => {
    const server = new Server();
    server.refused = 'vault';
    const uses = [USE, { ...USE, certificate: 'shop/web-tls' }];
    assert.deepEqual(await server.withdrawals().confirm(HOME, uses, signal), [false, true]);
    server.refused = undefined;
    assert.deepEqual(await server.withdrawals().confirm(HOME, uses, signal), [true, true]);
  });

  test('of one call are answered by one list', async () => {
    const server = new Server();
    server.grants = [grant()];
    const uses = ['edge', 'shop', 'edge', 'bar'].map((namespace) => ({ ...USE, namespace }));
    assert.deepEqual(await server.withdrawals().confirm(HOME, uses, signal), [false, true, false, true]);
    assert.deepEqual(server.lists, ['delegationgrants']);
  });

  test('that come while a list is in progress share the next: none is answered by a list that began before it', async () => {
    const server = new Server();
    const answers: (() => void)[] = [];
    server.answers = answers;
    server.grants = [grant()];
    const withdrawals = server.withdrawals();
    const first = withdrawals.confirm(HOME, [USE], signal);
    await settle();
    server.clock.advance(1);
    // Withdrawn after the first list began and before the others are requested; the first may have either state.
    const later = Array.from({ length: 50 }, () => withdrawals.confirm(HOME, [USE], signal));
    await settle();
    assert.equal(server.lists.length, 1);
    answers.shift()?.();
    assert.deepEqual(await first, [false]);
    await settle();
    server.grants = [];
    assert.equal(server.lists.length, 2);
    answers.shift()?.();
    assert.deepEqual(
      (await Promise.all(later)).flat(),
      Array.from({ length: 50 }, () => true),
    );
    assert.equal(server.lists.length, 2);
  });

  test('whose callers are gone block no other answer', async () => {
    const server = new Server();
    const answers: (() => void)[] = [];
    server.answers = answers;
    const withdrawals = server.withdrawals();
    const gone = new AbortController();
    const first = withdrawals.confirm(HOME, [USE], gone.signal);
    await settle();
    const second = withdrawals.confirm(HOME, [USE], signal);
    gone.abort(new Error('gone'));
    await assert.rejects(first, /gone/);
    answers.shift()?.();
    assert.deepEqual(await second, [true]);
  });

  test('are answered with an error where the API server is silent, without one wait for each', async () => {
    const server = new Server();
    server.answers = [];
    const withdrawals = server.withdrawals();
    const first = assert.rejects(withdrawals.confirm(HOME, [USE], signal), GrantsUnreadableError);
    await server.clock.advanceAsync(3_000);
    await first;
    await assert.rejects(withdrawals.confirm(HOME, [USE], signal), GrantsUnreadableError);
    assert.equal(server.lists.length, 1);
    server.clock.advance(2_000);
    server.answers = undefined;
    assert.deepEqual(await withdrawals.confirm(HOME, [USE], signal), [true]);
  });
});
