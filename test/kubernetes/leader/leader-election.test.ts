/** Leader election between candidates on a real API server. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import { systemClock } from '../../../src/kubernetes/clock.ts';
import { holderIdentity } from '../../../src/kubernetes/leader/holder-identity.ts';
import { LeaderElector, type LeaderElectorOptions } from '../../../src/kubernetes/leader/leader-election.ts';
import { claimedSpec, isHeldByOther, type Lease, observe, releasedSpec } from '../../../src/kubernetes/leader/lease.ts';
import { LEASES } from '../../../src/kubernetes/resource-type.ts';
import { type ControlPlane, startControlPlane } from '../../../testing/controlplane/control-plane.ts';
import { FakeClock, settle } from '../../../testing/support/fake-clock.ts';
import { missing } from '../../../testing/support/not-found.ts';
import { eventually } from '../../../testing/support/processes.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';
import { clientFor } from '../clients.ts';

const LEASE_MS = 1_000;
const FAST = { leaseDurationMs: LEASE_MS, renewDeadlineMs: 600, retryPeriodMs: 100 };
/** No test waits for this one to expire: a candidate takes it only when it was released, or was its own. */
const HOURS = { leaseDurationMs: 7_200_000, renewDeadlineMs: 3_600_000, retryPeriodMs: 50 };
/** For a fake clock; without jitter an attempt is made every two seconds. */
const USUAL = { leaseDurationMs: 15_000, renewDeadlineMs: 10_000, retryPeriodMs: 2_000, random: () => 0 };
const signal = new AbortController().signal;

/** Which of the test's candidates leads now, and where two did. */
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

  get current(): string | undefined {
    return this.#leader;
  }

  leave(identity: string): void {
    if (this.#leader === identity) this.#leader = undefined;
  }

  /** Resolves once a candidate other than these leads. */
  async leader(...except: readonly (string | undefined)[]): Promise<string> {
    while (this.#leader === undefined || except.includes(this.#leader)) await this.#change();
    return this.#leader;
  }

  /** Resolves once this candidate leads, or has led. */
  async reignOf(identity: string): Promise<void> {
    while (!this.history.includes(identity)) await this.#change();
  }

  /** Resolves once there have been this many leaders. */
  async reign(count: number): Promise<void> {
    while (this.history.length < count) await this.#change();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.add(resolve));
  }
}

describe('with an API server, or a proxy before it, that says yes to every write', () => {
  const metadata = { namespace: 'default', name: 'odd', uid: 'u', resourceVersion: '9' };
  const held = { metadata, spec: { holderIdentity: 'me', leaseDurationSeconds: 15 } };
  const answers = {
    'of nothing': {},
    'of no spec': { metadata },
    'that another candidate holds': { metadata, spec: { ...held.spec, holderIdentity: 'other' } },
    'of no version': { ...held, metadata: { namespace: 'default', name: 'odd' } },
  };

  /** Claims are answered with this, once a first one was stored where `first` is given. */
  function contend(answer: object, first?: Lease) {
    const clock = new FakeClock();
    const log = recordingLogger();
    let writes = 0;
    const write = async () => (first !== undefined && writes++ === 0 ? first : answer);
    const get = async () => {
      throw missing('odd');
    };
    const client = { get, create: write, replace: write } as LeaderElectorOptions['client'];
    const options = { client, namespace: 'default', name: 'odd', identity: 'me', clock, log, ...USUAL };
    const stop = new AbortController();
    const leading: AbortSignal[] = [];
    const lead = async (own: AbortSignal): Promise<void> => {
      leading.push(own);
      if (!own.aborted) await new Promise((resolve) => own.addEventListener('abort', resolve));
    };
    return { clock, ended: new LeaderElector(options).run({ signal: stop.signal, lead }), leading, log, stop };
  }

  for (const [what, answer] of Object.entries(answers)) {
    test(`nobody leads by a lease ${what}`, async () => {
      const { clock, ended, leading, log, stop } = contend(answer);
      for (let round = 0; round < 5; round += 1) await clock.advanceAsync(2_000);
      assert.equal(leading.length, 0);
      assert.ok(log.lines.some(({ message }) => message === 'failed to acquire or renew the lease'));
      stop.abort();
      assert.equal(await ended, 'released');
    });

    test(`a leader whose renewals are answered with a lease ${what} stops`, async () => {
      const { clock, ended, leading } = contend(answer, held);
      for (let round = 0; round < 9; round += 1) await clock.advanceAsync(2_000);
      assert.deepEqual(
        leading.map(({ aborted }) => aborted),
        [true],
      );
      assert.equal(await ended, 'lost');
    });
  }
});

describe('with a real API server', () => {
  let plane: ControlPlane;
  let client: ApiClient;

  before(async () => {
    plane = await startControlPlane();
    client = await clientFor(plane.kubeconfig);
  });
  after(async () => {
    await client?.close();
    await plane?.stop();
  });

  interface CandidateOptions extends Partial<LeaderElectorOptions> {
    /** When its work has drained. Default: at once. */
    readonly drained?: Promise<void>;
  }

  function candidate(throne: Throne, lease: string, identity: string, options: CandidateOptions = {}) {
    const stop = new AbortController();
    const log = recordingLogger();
    const { drained, ...rest } = options;
    const elector = new LeaderElector({
      client,
      namespace: 'default',
      name: lease,
      identity,
      clock: systemClock,
      random: Math.random,
      log,
      ...HOURS,
      ...rest,
    });
    const lead = async (leading: AbortSignal): Promise<void> => {
      throne.take(identity);
      if (!leading.aborted) await new Promise((resolve) => leading.addEventListener('abort', resolve));
      await drained;
      throne.leave(identity);
    };
    return { identity, stop, log, ended: elector.run({ signal: stop.signal, lead }) };
  }

  /** A separate client, whose requests are counted: a process that can be cut off and observed. */
  async function process() {
    let calls = 0;
    const own = await clientFor(plane.kubeconfig, { maxAttempts: 1, observe: () => (calls += 1) });
    return {
      client: own,
      /** Resolves after this many further requests. */
      calls: async (count: number): Promise<void> => {
        const enough = calls + count;
        await eventually(`${count} requests`, async () => calls >= enough || undefined, { intervalMs: 5 });
      },
    };
  }

  const read = (name: string) => client.get<Lease>(LEASES, { namespace: 'default', name }, { signal });

  test('of several that start at once one leads; when it releases the lease the next follows, without waiting for an expiry', async () => {
    const throne = new Throne();
    const all = ['a', 'b', 'c', 'd'].map((identity) => candidate(throne, 'handover', identity));
    for (let left = all.length; left > 0; left--) {
      const leader = await throne.leader();
      const one = all.find(({ identity }) => identity === leader);
      assert.ok(one !== undefined);
      one.stop.abort();
      assert.equal(await one.ended, 'released');
    }
    assert.deepEqual(throne.overlaps, []);
    assert.deepEqual(throne.history.toSorted(), ['a', 'b', 'c', 'd']);
    const { spec } = await read('handover');
    assert.equal(spec?.holderIdentity, '');
    assert.ok((spec?.leaseTransitions ?? 0) >= 3);
  });

  test('a container that is restarted in its pod takes its own lease back at once', async () => {
    const throne = new Throne();
    const killed = await process();
    const before = candidate(throne, 'restarted', 'pod-1_uid', { client: killed.client });
    await throne.leader();
    const { spec } = await read('restarted');
    await killed.client.close();
    const other = candidate(throne, 'restarted', 'pod-2_uid');
    const after = new Throne();
    const restarted = candidate(after, 'restarted', 'pod-1_uid');
    assert.equal(await after.leader(), 'pod-1_uid');
    const renewed = (await read('restarted')).spec;
    assert.equal(renewed?.holderIdentity, 'pod-1_uid');
    assert.equal(renewed?.acquireTime, spec?.acquireTime, 'it is the same reign');
    assert.equal(renewed?.leaseTransitions, spec?.leaseTransitions);
    for (const one of [restarted, other, before]) one.stop.abort();
    assert.equal(await restarted.ended, 'released');
    await Promise.all([other.ended, before.ended]);
    assert.deepEqual(throne.history[0], 'pod-1_uid');
  });

  test('a leader that falls silent stops itself, and is followed after its lease, not before', async () => {
    const throne = new Throne();
    const clock = new FakeClock();
    const [mortal, heir] = await Promise.all([process(), process()]);
    const first = candidate(throne, 'killed', 'first', { ...USUAL, clock, client: mortal.client });
    assert.equal(await throne.leader(), 'first');
    const second = candidate(throne, 'killed', 'second', { ...USUAL, clock, client: heir.client });
    await heir.calls(1);
    await settle();
    await mortal.client.close();
    for (let seconds = 2; seconds < 15; seconds += 2) {
      const looked = heir.calls(1);
      await clock.advanceAsync(2_000);
      await looked;
      await settle();
      assert.deepEqual(throne.history, ['first'], `after ${seconds} s`);
    }
    assert.deepEqual(throne.overlaps, []);
    const looked = heir.calls(2);
    await clock.advanceAsync(2_000);
    await looked;
    assert.equal(await throne.leader('first', undefined), 'second');
    assert.equal(await first.ended, 'lost');
    assert.deepEqual(throne.overlaps, [], 'the first had stopped itself before');
    second.stop.abort();
    assert.equal(await second.ended, 'released');
    await heir.client.close();
  });

  test('a leader whose API server is away for too long loses the lease, and its work is stopped then', async () => {
    const throne = new Throne();
    const clock = new FakeClock();
    const own = await process();
    const one = candidate(throne, 'outage', 'one', { ...USUAL, clock, client: own.client });
    await throne.leader();
    await plane.stopApiServer({ signal: 'SIGKILL' });
    for (let seconds = 2; seconds < 10; seconds += 2) {
      const tried = own.calls(1);
      await clock.advanceAsync(2_000);
      await tried;
      await settle();
      assert.equal(throne.current, 'one', `after ${seconds} s`);
    }
    await clock.advanceAsync(2_000);
    assert.equal(await one.ended, 'lost');
    assert.equal(throne.current, undefined);
    await plane.startApiServer();
    await own.client.close();
  });

  test('a client that never settles does not keep a leader beyond its renew deadline', async () => {
    const throne = new Throne();
    const clock = new FakeClock();
    let hanging = false;
    const hang = new Proxy(client, {
      get: (target, property: keyof ApiClient) =>
        hanging ? () => new Promise(() => {}) : (target[property] as () => unknown).bind(target),
    });
    const one = candidate(throne, 'hanging', 'one', { ...USUAL, clock, client: hang });
    await throne.leader();
    hanging = true;
    await clock.advanceAsync(9_999);
    assert.equal(throne.current, 'one');
    await clock.advanceAsync(1);
    await clock.advanceAsync(0);
    assert.equal(await one.ended, 'lost');
  });

  test('a short outage does not cost the lead', async () => {
    const throne = new Throne();
    const one = candidate(throne, 'short-outage', 'one');
    await throne.leader();
    await plane.stopApiServer({ signal: 'SIGKILL' });
    await plane.startApiServer();
    const renewTime = async () => (await read('short-outage')).spec?.renewTime;
    const before = await renewTime();
    await eventually('it is renewed', async () => (await renewTime()) !== before || undefined);
    one.stop.abort();
    assert.equal(await one.ended, 'released');
    assert.deepEqual(throne.history, ['one']);
  });

  test('the lease is kept while the work drains, for longer than the lease lasts', async () => {
    const throne = new Throne();
    const clock = new FakeClock();
    const [draining, waiting] = await Promise.all([process(), process()]);
    const { promise: drained, resolve: finish } = Promise.withResolvers<void>();
    const first = candidate(throne, 'drain', 'first', { ...USUAL, clock, client: draining.client, drained });
    await throne.leader();
    const second = candidate(throne, 'drain', 'second', { ...USUAL, clock, client: waiting.client });
    await waiting.calls(1);
    first.stop.abort();
    for (let seconds = 0; seconds < 40; seconds += 2) {
      const both = Promise.all([draining.calls(1), waiting.calls(1)]);
      await settle();
      await clock.advanceAsync(2_000);
      await both;
      await settle();
    }
    assert.deepEqual(throne.history, ['first']);
    finish();
    assert.equal(await first.ended, 'released');
    const follows = throne.leader('first', undefined);
    await eventually('the second follows', async () => {
      await clock.advanceAsync(2_000);
      return throne.current === 'second' || undefined;
    });
    assert.equal(await follows, 'second');
    assert.deepEqual(throne.overlaps, []);
    second.stop.abort();
    await second.ended;
    await Promise.all([draining.client.close(), waiting.client.close()]);
  });

  test('a lease that another client took by force is lost at once', async () => {
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

  test('a lease that is edited or deleted by another client is restored', async () => {
    const throne = new Throne();
    const one = candidate(throne, 'edited', 'one');
    await throne.leader();
    await client.mergePatch(
      LEASES,
      { namespace: 'default', name: 'edited' },
      { metadata: { labels: { a: 'b' } } },
      { signal },
    );
    const { spec } = await read('edited');
    const renewed = await eventually('it is renewed', async () => {
      const lease = await read('edited');
      return lease.spec?.renewTime === spec?.renewTime ? undefined : lease;
    });
    assert.deepEqual(renewed.metadata.labels, { a: 'b' });
    await client.delete(LEASES, { namespace: 'default', name: 'edited' }, { signal });
    const created = await eventually('it is re-created', async () => read('edited').catch(() => undefined));
    assert.equal(created.spec?.holderIdentity, 'one');
    one.stop.abort();
    assert.equal(await one.ended, 'released');
    assert.deepEqual(throne.history, ['one']);
  });

  test('work that ends by itself releases the lease; what it throws is passed on', async () => {
    const options = {
      client,
      namespace: 'default',
      name: 'ends',
      clock: systemClock,
      random: Math.random,
      log: recordingLogger(),
      ...HOURS,
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
    const waiting = await process();
    const second = candidate(throne, 'waiting', 'second', { client: waiting.client });
    await waiting.calls(3);
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
        const mortal = await process();
        const one = candidate(throne, 'race', `${name}-${life}`, { client: mortal.client, ...FAST });
        await Promise.race([throne.reignOf(one.identity), throne.reign(reigns)]);
        // Every third loses its connection for good, the others shut down cleanly after some renewals.
        if (throne.history.length % 3 === 0) {
          await mortal.client.close();
        } else {
          if (throne.current === one.identity) await mortal.calls(life % 4);
          one.stop.abort();
        }
        void throne.reign(throne.history.length + 1).then(() => one.stop.abort());
        await one.ended;
        await mortal.client.close();
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

  test("it is held by another until it has not changed for its duration, on this process' own clock", () => {
    const seen = observe(undefined, held, 1_000);
    assert.ok(isHeldByOther(seen, 'me', 15_999));
    assert.ok(!isHeldByOther(seen, 'me', 16_000));
    assert.ok(!isHeldByOther(seen, 'other', 1_000));
  });

  test('seeing it unchanged does not extend it, a renewal does', () => {
    const first = observe(undefined, held, 1_000);
    assert.equal(observe(first, structuredClone(held), 9_000).seenAt, 1_000);
    const renewed = {
      ...held,
      spec: claimedSpec(held.spec, { identity: 'other', leaseDurationMs: 15_000, now: NOW + 1 }),
    };
    assert.equal(observe(first, renewed, 9_000).seenAt, 9_000);
  });

  test('a renewal keeps the time of acquisition and counts no transition; a takeover sets a new time and counts one', () => {
    const renewed = claimedSpec(held.spec, { identity: 'other', leaseDurationMs: 15_000, now: NOW + 5_000 });
    assert.equal(renewed.acquireTime, held.spec?.acquireTime);
    assert.equal(renewed.leaseTransitions, 0);
    const taken = claimedSpec(held.spec, { identity: 'me', leaseDurationMs: 1_500, now: NOW + 5_000 });
    assert.equal(taken.acquireTime, '2026-01-01T00:00:05.000000Z');
    assert.equal(taken.leaseTransitions, 1);
    assert.equal(taken.leaseDurationSeconds, 2);
  });

  test('a released lease has no holder', () => {
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

describe('holderIdentity', () => {
  const input = { instance: 'pod-1', podUid: 'uid', pid: 1, unique: () => 'random' };

  test('is the pod’s for the first process of its container, and unique for every other', () => {
    assert.equal(holderIdentity(input), 'pod-1_uid');
    assert.equal(holderIdentity({ ...input, pid: 37 }), 'pod-1_random', 'kubectl exec');
    assert.equal(holderIdentity({ ...input, podUid: undefined }), 'pod-1_random', 'no pod');
    assert.equal(holderIdentity({ ...input, podUid: '' }), 'pod-1_random');
  });
});
