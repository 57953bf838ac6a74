import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { z } from 'zod';
import type { DelegationGrantResource, grantSpecSchema } from '../../../src/api/delegation-grant.ts';
import { decideGrant } from '../../../src/grant/decide.ts';
import { ApiError } from '../../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import type { Access } from '../../../src/operator/core/access.ts';
import { GrantCheck } from '../../../src/operator/grants/grant-check.ts';
import { PodFailure, StaleCacheError } from '../../../src/operator/pod-failure.ts';
import { grant, resource, specOf } from '../../../testing/support/builders.ts';
import { missing, notServed } from '../../../testing/support/not-found.ts';

const signal = new AbortController().signal;
const LIFETIME = 3600;
const EDGE = resource({
  spec: specOf({ certificateRef: { name: 'web-tls', namespace: 'vault' }, lifetimeSeconds: LIFETIME }),
});

type GrantSpec = Partial<z.input<typeof grantSpecSchema>>;

/** A fake API server, whose answers the test holds back or changes; the operator's watches show an earlier state of it. */
class Server {
  grants: readonly DelegationGrantResource[];
  /** Undefined: there is none. An error: what its GET is answered with. */
  namespace: object | undefined = { metadata: { name: 'edge', uid: 'uid-of-edge', labels: { tier: 'edge' } } };
  error: Error | undefined;
  reads: string[] = [];
  hold: Promise<void> | undefined;

  constructor(...grants: readonly DelegationGrantResource[]) {
    this.grants = grants;
  }

  readonly client = {
    get: async ({ plural }: { plural: string }, { name }: { name: string }) => {
      this.reads.push(`get ${plural} ${name}`);
      await this.hold;
      if (this.error !== undefined) throw this.error;
      const found =
        plural === 'namespaces' ? this.namespace : this.grants.find(({ metadata }) => metadata.name === name);
      if (found === undefined) throw missing(name);
      if (found instanceof Error) throw found;
      return structuredClone(found);
    },
    list: async () => {
      if (this.error !== undefined) throw this.error;
      return { metadata: {}, items: structuredClone(this.grants) };
    },
  } as unknown as ApiClient;
}

/** What the operator's watches showed of these grants. */
function seen(...grants: readonly DelegationGrantResource[]): Extract<Access, { kind: 'granted' }> {
  const consumer = { namespace: 'edge', uid: 'uid-of-edge', labels: { tier: 'edge' } };
  const certificate = { namespace: 'vault', name: 'web-tls' };
  const terms = decideGrant(grants, { certificate, usage: 'Server', consumer, lifetimeSeconds: LIFETIME });
  assert.ok(terms !== undefined);
  return { kind: 'granted', terms };
}

describe('a grant that the watches show', () => {
  const named = grant();
  const selected = grant({ from: [{ namespaceSelector: { matchLabels: { tier: 'edge' } } }] });
  const pinned = grant({ from: [{ namespace: 'edge', uid: 'uid-of-edge' }] });

  test('holds while the API server has it too', async () => {
    for (const one of [named, selected, pinned]) {
      await new GrantCheck(new Server(one).client, false).holds(seen(one), EDGE, signal);
    }
  });

  const stale: Readonly<Record<string, readonly [DelegationGrantResource, (server: Server) => void]>> = {
    'is gone': [named, (server) => Object.assign(server, { grants: [] })],
    'is for another namespace now': [
      named,
      (server) => Object.assign(server, { grants: [grant({ from: [{ namespace: 'shop' }] })] }),
    ],
    'is of another Secret now': [named, (server) => Object.assign(server, { grants: [grant({ secret: 'api-tls' })] })],
    'is for another usage now': [named, (server) => Object.assign(server, { grants: [grant({ usages: ['Client'] })] })],
    'is for a shorter lifetime now': [
      named,
      (server) => Object.assign(server, { grants: [grant({ maxLifetimeSeconds: 60 })] }),
    ],
    'is for fewer pods now': [named, (server) => Object.assign(server, { grants: [grant({ maxPods: 1 })] })],
    'deletes what was issued when it is withdrawn': [
      named,
      (server) => Object.assign(server, { grants: [grant({ onWithdraw: 'Delete' })] }),
    ],
    'has a field now that this version does not know': [
      named,
      (server) => Object.assign(server, { grants: [{ ...named, spec: { ...named.spec, novelty: 1 } }] }),
    ],
    'selects a label that the namespace has lost': [
      selected,
      (server) => Object.assign(server, { namespace: { metadata: { name: 'edge', uid: 'uid-of-edge' } } }),
    ],
    'selects a namespace that is gone': [selected, (server) => Object.assign(server, { namespace: undefined })],
    'is to a namespace that was created again': [
      pinned,
      (server) => Object.assign(server, { namespace: { metadata: { name: 'edge', uid: 'another' } } }),
    ],
  };
  for (const [what, [one, change]] of Object.entries(stale)) {
    test(`does not hold when at the API server it ${what}`, async () => {
      const server = new Server(one);
      change(server);
      await assert.rejects(new GrantCheck(server.client, false).holds(seen(one), EDGE, signal), StaleCacheError);
    });
  }

  test('does not hold while the API server refuses to show it, and is not known to have changed', async () => {
    for (const error of [new ApiError('forbidden', { status: 403, reason: 'Forbidden' }), notServed()]) {
      const server = Object.assign(new Server(named), { error });
      const held = new GrantCheck(server.client, false).holds(seen(named), EDGE, signal);
      await assert.rejects(held, { name: 'PodFailure', code: 'ReadRefused' });
    }
  });

  test("does not hold, and is not known to have changed, while a proxy's page stands for the namespace", async () => {
    const server = Object.assign(new Server(selected), { namespace: notServed() });
    const held = new GrantCheck(server.client, false).holds(seen(selected), EDGE, signal);
    await assert.rejects(held, { name: 'PodFailure', code: 'ReadRefused', transient: true });
  });

  test('is read once for all that wait, by a read that begins after they started waiting', async () => {
    const server = new Server(named);
    const check = new GrantCheck(server.client, false);
    const { promise, resolve } = Promise.withResolvers<void>();
    server.hold = promise;
    const first = check.holds(seen(named), EDGE, signal);
    await new Promise(setImmediate);
    const later = Array.from({ length: 20 }, () => check.holds(seen(named), EDGE, signal));
    // Withdrawn after the first read began, before the later ones started waiting.
    server.grants = [];
    resolve();
    const outcomes = await Promise.allSettled([first, ...later]);
    assert.ok(outcomes.slice(1).every(({ status }) => status === 'rejected'));
    assert.equal(server.reads.filter((read) => read.startsWith('get delegationgrants')).length, 2);
  });
});

describe('a withdrawal', () => {
  const spec = (one: GrantSpec) => new Server(grant(one)).client;

  test('is confirmed where no grant covers the namespace, whatever the watches show', async () => {
    assert.ok(await new GrantCheck(new Server().client, false).isWithdrawn(EDGE, signal));
    assert.ok(await new GrantCheck(spec({ from: [{ namespace: 'shop' }] }), false).isWithdrawn(EDGE, signal));
    assert.ok(!(await new GrantCheck(spec({}), false).isWithdrawn(EDGE, signal)));
  });

  test("is not confirmed for a certificate of the resource's own namespace, unless that needs a grant too", async () => {
    const own = resource();
    assert.ok(!(await new GrantCheck(new Server().client, false).isWithdrawn(own, signal)));
    assert.ok(await new GrantCheck(new Server().client, true).isWithdrawn(own, signal));
  });

  test('is not confirmed where this version cannot read a grant of the certificate', async () => {
    const newer = (change: object) => ({ ...grant({}), spec: { ...grant({}).spec, from: [], ...change } }) as never;
    const check = (...all: never[]) => new GrantCheck(new Server(...all).client, false).isWithdrawn(EDGE, signal);
    assert.ok(!(await check(newer({ hours: 'weekdays' }))));
    assert.ok(!(await check(newer({ certificateRef: 'web-tls' }))));
    assert.ok(!(await check(grant({ from: [{ namespace: 'shop' }] }) as never, newer({ hours: 'weekdays' }))));
    assert.ok(await check(newer({ hours: 'weekdays', certificateRef: { name: 'api-tls' } })));
  });

  test("is not confirmed by a proxy's page in the place of the namespace, but by a namespace that is gone", async () => {
    for (const one of [
      grant({ from: [{ namespaceSelector: { matchLabels: { tier: 'edge' } } }] }),
      grant({ from: [{ namespace: 'edge', uid: 'uid-of-edge' }] }),
    ]) {
      const server = new Server(one);
      const check = new GrantCheck(server.client, false);
      assert.ok(!(await check.isWithdrawn(EDGE, signal)));
      server.namespace = notServed();
      assert.ok(!(await check.isWithdrawn(EDGE, signal)));
      server.namespace = undefined;
      assert.ok(await check.isWithdrawn(EDGE, signal));
    }
  });

  test('is not confirmed where the whole kind is gone, and unknown where the API server refuses', async () => {
    const server = new Server();
    server.error = notServed();
    assert.ok(!(await new GrantCheck(server.client, false).isWithdrawn(EDGE, signal)));
    server.error = new ApiError('forbidden', { status: 403, reason: 'Forbidden' });
    await assert.rejects(new GrantCheck(server.client, false).isWithdrawn(EDGE, signal), PodFailure);
  });
});
