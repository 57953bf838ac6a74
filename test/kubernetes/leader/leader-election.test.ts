/** Leader election between candidates on a real API server. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import { systemClock } from '../../../src/kubernetes/clock.ts';
import { LeaderElector, type LeaderElectorOptions } from '../../../src/kubernetes/leader/leader-election.ts';
import { claimedSpec, isHeldByOther, type Lease, observe, releasedSpec } from '../../../src/kubernetes/leader/lease.ts';
import { LEASES } from '../../../src/kubernetes/resource-type.ts';
import { type ControlPlane, startControlPlane } from '../../../testing/controlplane/control-plane.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';
import { clientFor } from '../clients.ts';

const LEASE_MS = 1_000;
const FAST = { leaseDurationMs: LEASE_MS, renewDeadlineMs: 600, retryPeriodMs: 100 };
const signal = AbortSignal.timeout(120_000);

/** Who leads now, over all candidates of a test: fails the test when there are two. */
class Throne {
  readonly history: string[] = [];
  readonly overlaps: string[] = [];
  #leader: string | undefined;
  readonly #waiting = new Set<() => void>();

  take(identity: string): void {
    if (this.#leader !== undefined) this.overlaps.push(`${identity} while ${this.#leader}`);
    this.#leader = identity;
    this.history.push(identity);
    for (const wake of this.#waiting) wake();
  }

  leave(identity: string): void {
    if (this.#leader === identity) this.#leader = undefined;
  }

  /** Resolves once somebody other than these leads. */
  async leader(...except: readonly (string | undefined)[]): Promise<string> {
    while (this.#leader === undefined || except.includes(this.#leader)) await this.#change();
    return this.#leader;
  }

  /** Resolves once this one leads, or has led. */
  async reignOf(identity: string): Promise<void> {
    while (!this.history.includes(identity)) await this.#change();
  }

  /** Resolves once so many have led. */
  async reign(count: number): Promise<void> {
    while (this.history.length < count) await this.#change();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.add(resolve));
  }
}

describe('with a real API server', () => {
  let plane: ControlPlane;
  let client: ApiClient;

  before(async () => {
    plane = await startControlPlane();
    client = await clientFor(plane.kubeconfig);
  });
  after(async () => {
    await client.close();
    await plane.stop();
  });

  function candidate(
    throne: Throne,
    lease: string,
    identity: string,
    options: Partial<LeaderElectorOptions> & { drainMs?: number } = {},
  ) {
    const stop = new AbortController();
    const log = recordingLogger();
    const { drainMs = 0, ...rest } = options;
    const elector = new LeaderElector({
      client,
      namespace: 'default',
      name: lease,
      identity,
      clock: systemClock,
      random: Math.random,
      log,
      ...FAST,
      ...rest,
    });
    const lead = async (leading: AbortSignal): Promise<void> => {
      throne.take(identity);
      if (!leading.aborted) await new Promise((resolve) => leading.addEventListener('abort', resolve));
      await new Promise((resolve) => setTimeout(resolve, drainMs));
      throne.leave(identity);
    };
    return { identity, stop, log, ended: elector.run({ signal: stop.signal, lead }) };
  }

  const read = (name: string) => client.get<Lease>(LEASES, { namespace: 'default', name }, { signal });

  test('of several that start at once one leads; when it is released the next follows at once', async () => {
    const throne = new Throne();
    const all = ['a', 'b', 'c', 'd'].map((identity) => candidate(throne, 'handover', identity));
    const waiting = new Set(all);
    const times: number[] = [];
    for (let left = all.length; left > 0; left--) {
      const began = performance.now();
      const leader = await throne.leader();
      times.push(performance.now() - began);
      const one = all.find(({ identity }) => identity === leader);
      assert.ok(one !== undefined);
      waiting.delete(one);
      one.stop.abort();
      assert.equal(await one.ended, 'released');
    }
    assert.deepEqual(throne.overlaps, []);
    assert.deepEqual(throne.history.toSorted(), ['a', 'b', 'c', 'd']);
    for (const ms of times.slice(1)) assert.ok(ms < LEASE_MS / 2, `the handover took ${ms} ms`);
    const { spec } = await read('handover');
    assert.equal(spec?.holderIdentity, '');
    assert.ok((spec?.leaseTransitions ?? 0) >= 3);
  });

  test('a leader that falls silent is followed after its lease, not before', async () => {
    const throne = new Throne();
    // Killed, as far as anyone can see: its connections are gone in the middle of its reign.
    const mortal = await clientFor(plane.kubeconfig, { maxAttempts: 1 });
    const first = candidate(throne, 'killed', 'first', { client: mortal });
    assert.equal(await throne.leader(), 'first');
    const second = candidate(throne, 'killed', 'second');
    await new Promise((resolve) => setTimeout(resolve, 300));
    const killed = performance.now();
    await mortal.close();
    assert.equal(await throne.leader('first', undefined), 'second');
    const took = performance.now() - killed;
    assert.ok(took >= LEASE_MS - 250 && took < LEASE_MS * 2, `it took ${took} ms`);
    assert.equal(await first.ended, 'lost');
    assert.deepEqual(throne.overlaps, [], 'the first had stopped itself before');
    second.stop.abort();
    assert.equal(await second.ended, 'released');
  });

  test('a leader whose API server is away for too long loses, and its work is told so at that moment', async () => {
    const throne = new Throne();
    const one = candidate(throne, 'outage', 'one');
    await throne.leader();
    const began = performance.now();
    await plane.stopApiServer({ signal: 'SIGKILL' });
    assert.equal(await one.ended, 'lost');
    const took = performance.now() - began;
    assert.ok(took < LEASE_MS + 300, `it took ${took} ms`);
    await plane.startApiServer();
  });

  test('a short outage does not cost the lead', async () => {
    const throne = new Throne();
    const long = { leaseDurationMs: 15_000, renewDeadlineMs: 10_000, retryPeriodMs: 100 };
    const one = candidate(throne, 'short-outage', 'one', long);
    await throne.leader();
    await plane.stopApiServer({ signal: 'SIGKILL' });
    await plane.startApiServer();
    const { spec } = await read('short-outage');
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.notEqual((await read('short-outage')).spec?.renewTime, spec?.renewTime);
    one.stop.abort();
    assert.equal(await one.ended, 'released');
  });

  test('the lease is kept while the work drains, for longer than the lease lasts', async () => {
    const throne = new Throne();
    const first = candidate(throne, 'drain', 'first', { drainMs: LEASE_MS * 1.5 });
    await throne.leader();
    const second = candidate(throne, 'drain', 'second');
    first.stop.abort();
    assert.equal(await first.ended, 'released');
    assert.equal(await throne.leader(), 'second');
    assert.deepEqual(throne.overlaps, []);
    second.stop.abort();
    await second.ended;
  });

  test('a lease that another took by force is lost at once', async () => {
    const throne = new Throne();
    const one = candidate(throne, 'usurped', 'one');
    await throne.leader();
    const { metadata } = await read('usurped');
    const spec = claimedSpec(undefined, { identity: 'usurper', leaseDurationMs: 60_000, now: Date.now() });
    await client.apply(
      LEASES,
      { metadata: { namespace: 'default', name: 'usurped' }, ...{ spec } },
      { signal, force: true },
    );
    assert.ok(metadata.name !== undefined);
    assert.equal(await one.ended, 'lost');
    assert.equal((await read('usurped')).spec?.holderIdentity, 'usurper');
  });

  test('a lease that is edited or deleted by someone is made good', async () => {
    const throne = new Throne();
    const one = candidate(throne, 'edited', 'one');
    await throne.leader();
    await client.mergePatch(
      LEASES,
      { namespace: 'default', name: 'edited' },
      { metadata: { labels: { a: 'b' } } },
      { signal },
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.deepEqual((await read('edited')).metadata.labels, { a: 'b' });
    await client.delete(LEASES, { namespace: 'default', name: 'edited' }, { signal });
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal((await read('edited')).spec?.holderIdentity, 'one');
    one.stop.abort();
    assert.equal(await one.ended, 'released');
    assert.deepEqual(throne.history, ['one']);
  });

  test('work that ends by itself gives the lease up; what it throws comes out', async () => {
    const options = {
      client,
      namespace: 'default',
      name: 'ends',
      clock: systemClock,
      random: Math.random,
      log: recordingLogger(),
      ...FAST,
    };
    assert.equal(
      await new LeaderElector({ ...options, identity: 'a' }).run({ signal, lead: async () => {} }),
      'released',
    );
    const failing = async (): Promise<void> => {
      throw new Error('broken');
    };
    await assert.rejects(new LeaderElector({ ...options, identity: 'b' }).run({ signal, lead: failing }), {
      message: 'broken',
    });
    assert.equal((await read('ends')).spec?.holderIdentity, '');
  });

  test('a candidate that is stopped before it ever led has nothing to release', async () => {
    const throne = new Throne();
    const first = candidate(throne, 'waiting', 'first');
    await throne.leader();
    const second = candidate(throne, 'waiting', 'second');
    await new Promise((resolve) => setTimeout(resolve, 200));
    second.stop.abort();
    assert.equal(await second.ended, 'released');
    assert.equal((await read('waiting')).spec?.holderIdentity, 'first');
    first.stop.abort();
    await first.ended;
  });

  test('there are never two leaders, however they come and go', async () => {
    const throne = new Throne();
    const reigns = 8;
    const lives = async (name: string): Promise<void> => {
      for (let life = 0; throne.history.length < reigns; life++) {
        const mortal = await clientFor(plane.kubeconfig, { maxAttempts: 1 });
        const one = candidate(throne, 'race', `${name}-${life}`, { client: mortal });
        await Promise.race([throne.reignOf(one.identity), throne.reign(reigns)]);
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 300));
        // Every third loses its connection for good, the others end in an orderly way.
        if (throne.history.length % 3 === 0) await mortal.close();
        else one.stop.abort();
        const stopSoon = setTimeout(() => one.stop.abort(), LEASE_MS);
        await one.ended;
        clearTimeout(stopSoon);
        await mortal.close();
      }
    };
    await Promise.all(['x', 'y', 'z'].map(lives));
    assert.deepEqual(throne.overlaps, []);
    assert.ok(throne.history.length >= reigns, throne.history.join());
  });
});

describe('what a lease says', () => {
  const NOW = Date.UTC(2026, 0, 1);
  const held: Lease = {
    metadata: { uid: 'u', resourceVersion: '1' },
    spec: claimedSpec(undefined, { identity: 'other', leaseDurationMs: 15_000, now: NOW }),
  };

  test('it is held by another until it was not seen to change for its duration, on our own clock', () => {
    const seen = observe(undefined, held, 1_000);
    assert.ok(isHeldByOther(seen, 'me', 15_999));
    assert.ok(!isHeldByOther(seen, 'me', 16_000));
    assert.ok(!isHeldByOther(seen, 'other', 1_000));
  });

  test('seeing the same again gives it no more time, a renewal does', () => {
    const first = observe(undefined, held, 1_000);
    assert.equal(observe(first, structuredClone(held), 9_000).seenAt, 1_000);
    const renewed = {
      ...held,
      spec: claimedSpec(held.spec, { identity: 'other', leaseDurationMs: 15_000, now: NOW + 1 }),
    };
    assert.equal(observe(first, renewed, 9_000).seenAt, 9_000);
  });

  test('a renewal keeps the time of acquisition and counts no transition, a takeover does both anew', () => {
    const renewed = claimedSpec(held.spec, { identity: 'other', leaseDurationMs: 15_000, now: NOW + 5_000 });
    assert.equal(renewed.acquireTime, held.spec?.acquireTime);
    assert.equal(renewed.leaseTransitions, 0);
    const taken = claimedSpec(held.spec, { identity: 'me', leaseDurationMs: 1_500, now: NOW + 5_000 });
    assert.equal(taken.acquireTime, '2026-01-01T00:00:05.000000Z');
    assert.equal(taken.leaseTransitions, 1);
    assert.equal(taken.leaseDurationSeconds, 2);
  });

  test('a released lease is nobody’s', () => {
    const released = { ...held, spec: releasedSpec(held.spec, NOW) };
    assert.ok(!isHeldByOther(observe(undefined, released, 0), 'me', 0));
  });

  test('times that contradict each other are refused', () => {
    const options = {
      client: {} as ApiClient,
      namespace: 'x',
      name: 'x',
      identity: 'x',
      clock: systemClock,
      random: Math.random,
      log: recordingLogger(),
    };
    assert.throws(
      () => new LeaderElector({ ...options, leaseDurationMs: 5_000 }),
      /expected leaseDurationMs > renewDeadlineMs/,
    );
  });
});
