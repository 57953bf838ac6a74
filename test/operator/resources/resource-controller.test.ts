import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import type { DelegatedCredentialResource, DelegatedCredentialStatus } from '../../../src/api/delegated-credential.ts';
import type { UnreadableResource } from '../../../src/api/read.ts';
import type { Referrer } from '../../../src/grant/request.ts';
import type { IssuedSecret } from '../../../src/issued-secret/issued-secret.ts';
import { ApiError } from '../../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import { WorkQueue } from '../../../src/kubernetes/queue/work-queue.ts';
import type { Caches } from '../../../src/operator/caches.ts';
import { type Access, OWN } from '../../../src/operator/core/access.ts';
import { type CertificateState, PENDING, refused } from '../../../src/operator/core/certificate-state.ts';
import { Membership } from '../../../src/operator/core/membership.ts';
import type { Pod } from '../../../src/operator/core/pod.ts';
import { PodFailure, PodFailures } from '../../../src/operator/pod-failure.ts';
import { OperatorMetrics } from '../../../src/operator/reporting/metrics.ts';
import { Reporter } from '../../../src/operator/reporting/reporter.ts';
import { ResourceController } from '../../../src/operator/resources/resource-controller.ts';
import {
  type Delegation,
  delegation,
  facts,
  grant,
  issuedSecret,
  podOf,
  resource,
  specOf,
} from '../../../testing/support/builders.ts';
import { FakeClock, settle } from '../../../testing/support/fake-clock.ts';
import { missing, notServed } from '../../../testing/support/not-found.ts';
import { PodTable } from '../../../testing/support/pod-table.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';

const KEY = 'edge/web';
const POD_KEY = { namespace: 'edge', resourceName: 'web', pod: 'web-0' };
const signal = new AbortController().signal;
let authority: Delegation;

before(() => {
  authority = delegation();
});

const usable = (): CertificateState => ({
  kind: 'usable',
  certificate: authority.certificate,
  signer: authority.signer,
});

/** A cluster as the controller sees it: caches, API server and certificates are fakes, the queues are real. */
class World {
  readonly clock = new FakeClock((authority.certificate.notBefore + 1_000) * 1000);
  readonly podQueue = new WorkQueue({ clock: this.clock, random: () => 0 });
  readonly resourceQueue = new WorkQueue({ clock: this.clock, random: () => 0 });
  readonly #table = new PodTable();
  readonly membership = new Membership(this.#table);
  readonly metrics = new OperatorMetrics('test');
  readonly written: DelegatedCredentialStatus[] = [];
  readonly patches: object[] = [];
  readonly failures = new PodFailures();
  readonly referred: (string | undefined)[] = [];
  found: DelegatedCredentialResource | UnreadableResource | undefined = resource();
  #secrets: IssuedSecret[] = [];
  certificate: CertificateState = usable();
  access: Access = OWN;
  readonly users: string[] = [];
  /** Whether the names that its pods wait for were released, each time that any were. */
  readonly released: boolean[] = [];
  refusal: ApiError | undefined;
  /** The resource's version at the API server, and the newest that the cache shows. */
  version = 100;
  skewed = false;
  seen = 100;
  /** What a write waits for before it is answered. */
  answer: Promise<void> = Promise.resolve();
  readonly controller: ResourceController;

  constructor() {
    const caches = {
      isComplete: () => true,
      resources: {
        get: () => this.found && { value: this.found },
        isAtLeast: (_: string, version: string) => this.seen >= Number(version),
      },
      pods: this.#table,
      secrets: {
        byIndex: (_: string, index: string) => (index === 'resource' ? this.secrets.map((issued) => ({ issued })) : []),
      },
    } as unknown as Caches;
    const certificates = {
      follow: (_: string, followed: Referrer | undefined) => this.referred.push(followed?.spec.certificateRef.name),
      access: () => this.access,
      resolve: () => this.certificate,
    };
    const client = {
      apply: async (_type: unknown, applied: { status: DelegatedCredentialStatus }) => {
        if (this.refusal !== undefined) throw this.refusal;
        this.written.push(applied.status);
        this.version += 1;
        await this.answer;
        return { metadata: { resourceVersion: String(this.version) } };
      },
      mergePatch: async (_type: unknown, _ref: unknown, patch: { status: object }) => {
        this.patches.push(patch.status);
        return { metadata: {} };
      },
    } as unknown as ApiClient;
    const log = recordingLogger();
    this.controller = new ResourceController({
      client,
      caches,
      membership: this.membership,
      certificates,
      grants: { used: (key, access, pods) => void this.users.push(`${key} ${access.kind} ${pods}`) },
      failures: this.failures,
      names: { releaseNamespaces: (isReleased) => void this.released.push(isReleased('edge')) },
      podQueue: this.podQueue,
      resourceQueue: this.resourceQueue,
      reporter: new Reporter({ events: { record: () => {} }, metrics: this.metrics, log, clock: new FakeClock() }),
      metrics: this.metrics,
      clock: this.clock,
      isClockSkewed: () => this.skewed,
    });
    this.pods = [podOf()];
  }

  /** As the caches change, the operator notifies the controller. */
  set pods(next: readonly Pod[]) {
    const gone = [...this.#table.inNamespace('edge')].filter(({ name }) => !next.some((pod) => pod.name === name));
    for (const { name } of gone) this.membership.podChanged(this.#table.delete(name), undefined);
    for (const pod of next) this.membership.podChanged(this.#table.set(pod), pod);
    for (const { name } of [...gone, ...next]) this.#changed(name);
  }

  get secrets(): readonly IssuedSecret[] {
    return this.#secrets;
  }

  set secrets(next: readonly IssuedSecret[]) {
    const all = [...this.#secrets, ...next];
    this.#secrets = [...next];
    for (const { podName } of all) this.#changed(podName);
  }

  #changed(pod: string): void {
    this.controller.podChanged({ namespace: 'edge', resourceName: 'web', pod });
  }

  reconcile() {
    return this.controller.reconcile(KEY, signal);
  }

  /** Takes and returns the pod keys that are queued. */
  async enqueued(): Promise<readonly string[]> {
    const keys: string[] = [];
    while (this.podQueue.length > 0) {
      const key = (await this.podQueue.take(signal)) ?? '';
      this.podQueue.done(key);
      keys.push(key);
    }
    return keys;
  }

  reason(): string | undefined {
    return this.written.at(-1)?.conditions?.find(({ type }) => type === 'Ready')?.reason;
  }

  async metric(name: string): Promise<string | undefined> {
    const text = await this.metrics.registry.metrics();
    return text
      .split('\n')
      .find((line) => line.startsWith(name))
      ?.split(' ')[1];
  }
}

function granted(terms: Partial<Extract<Access, { kind: 'granted' }>['terms']>): Access {
  const defaults = { grant: grant(), lifetimeSeconds: 172_800, maxPods: undefined, onWithdraw: 'Keep' } as const;
  return { kind: 'granted', terms: { ...defaults, ...terms } };
}

describe('a resource that is new', () => {
  test('has its certificate watched, its pods enqueued and its status written', async () => {
    const world = new World();
    await world.reconcile();
    assert.deepEqual(world.referred, ['web-tls']);
    assert.deepEqual(await world.enqueued(), ['edge/web/web-0']);
    assert.equal(world.reason(), 'Issuing');
  });

  test('has no status until its certificate is read, for up to five seconds', async () => {
    const world = new World();
    world.certificate = PENDING;
    const until = world.clock.now() + 5_000;
    assert.deepEqual(await world.reconcile(), { kind: 'at', timeMs: until });
    assert.deepEqual(world.written, []);
    assert.deepEqual(await world.enqueued(), [], 'and the pods are enqueued once');
    world.clock.advance(5_000);
    await world.reconcile();
    assert.equal(world.reason(), 'Issuing');
  });

  test('that refers to a Secret of another namespace is not ready', async () => {
    const world = new World();
    world.found = resource({ spec: specOf({ certificateRef: { name: 'web-tls', namespace: 'vault' } }) });
    world.certificate = refused('CertificateNotPermitted', 'grant it');
    const until = world.clock.now() + 1_000;
    assert.deepEqual(await world.reconcile(), { kind: 'at', timeMs: until });
    assert.equal(world.reason(), undefined, 'said at a moment that does not tell how it was found');
    world.clock.advance(1_000);
    await world.reconcile();
    assert.equal(world.reason(), 'CertificateNotPermitted');
  });

  test('says what is wrong when it should, whenever and however far the clock was set', async () => {
    for (const [certificate, ms] of [
      [PENDING, 5_000],
      [refused('CertificateNotPermitted', 'grant it'), 1_000],
    ] as const) {
      for (const jump of [-31_536_000_000, -3_600_000, -2_000, 2_000, 3_600_000]) {
        for (const before of [0, ms - 1, ms, 60_000]) {
          const world = new World();
          world.certificate = certificate;
          await world.reconcile();
          world.clock.advance(before);
          await world.reconcile();
          world.clock.jump(jump);
          const { kind } = await world.reconcile();
          assert.equal(kind === 'at', before < ms, `${certificate.kind}, set by ${jump} ms after ${before} ms`);
          if (before < ms) world.clock.advance(ms - before);
          await world.reconcile();
          assert.equal(world.reason(), certificate.kind === 'refused' ? certificate.reason : 'Issuing');
        }
      }
    }
  });

  test('whose certificate is granted says so, and how long its credentials live', async () => {
    const world = new World();
    world.found = resource({ spec: specOf({ certificateRef: { name: 'web-tls', namespace: 'vault' } }) });
    world.access = granted({ lifetimeSeconds: 3600 });
    await world.reconcile();
    assert.equal(world.written.at(-1)?.lifetimeSeconds, 3600);
    assert.deepEqual(world.users, ['edge/web granted 0']);
  });

  test('enqueues its pods again when the terms of its grant change, and when it is withdrawn', async () => {
    const world = new World();
    for (const access of [granted({}), granted({ onWithdraw: 'Delete' }), granted({ maxPods: 3 })]) {
      world.access = access;
      await world.reconcile();
      assert.deepEqual(await world.enqueued(), ['edge/web/web-0']);
      await world.reconcile();
      assert.deepEqual(await world.enqueued(), []);
    }
    world.access = { kind: 'refused' };
    world.certificate = refused('CertificateNotPermitted', 'grant it');
    await world.reconcile();
    assert.deepEqual(await world.enqueued(), ['edge/web/web-0']);
  });

  test('that refers to its own namespace is served', async () => {
    const world = new World();
    world.found = resource({ spec: specOf({ certificateRef: { name: 'web-tls', namespace: 'edge' } }) });
    await world.reconcile();
    assert.deepEqual(world.referred, ['web-tls']);
    assert.equal(world.reason(), 'Issuing');
  });
});

describe('the pods of a resource are enqueued again', () => {
  async function settled(): Promise<World> {
    const world = new World();
    await world.reconcile();
    await world.enqueued();
    return world;
  }

  test('not because it is reconciled', async () => {
    const world = await settled();
    await world.reconcile();
    assert.deepEqual(await world.enqueued(), []);
  });

  test('when its spec changes', async () => {
    const world = await settled();
    world.found = resource({ generation: 2 });
    await world.reconcile();
    assert.deepEqual(await world.enqueued(), ['edge/web/web-0']);
  });

  test('when it was re-created under the same name', async () => {
    const world = await settled();
    world.found = resource({ uid: 'another' });
    await world.reconcile();
    assert.deepEqual(await world.enqueued(), ['edge/web/web-0']);
  });

  test('when its certificate goes, and when it comes back', async () => {
    const world = await settled();
    world.certificate = refused('CertificateNotFound', 'create it');
    await world.reconcile();
    assert.deepEqual(await world.enqueued(), ['edge/web/web-0']);
    world.certificate = usable();
    await world.reconcile();
    assert.deepEqual(await world.enqueued(), ['edge/web/web-0']);
  });

  test('when its certificate went and came back between two reconciles: a pod reconciled in between gave up', async () => {
    const world = await settled();
    world.certificate = usable();
    await world.reconcile();
    assert.deepEqual(await world.enqueued(), ['edge/web/web-0']);
  });

  test('when its certificate becomes valid', async () => {
    const world = new World();
    const { notBefore } = authority.certificate;
    world.clock.jump((notBefore - 10) * 1000 - world.clock.now());
    assert.deepEqual(await world.reconcile(), { kind: 'at', timeMs: notBefore * 1000 });
    assert.equal(world.reason(), 'CertificateInvalid');
    await world.enqueued();
    world.clock.advance(10_000);
    await world.reconcile();
    assert.deepEqual(await world.enqueued(), ['edge/web/web-0']);
  });

  test('when its selector changes, those that it no longer selects too', async () => {
    const world = await settled();
    world.pods = [podOf(), podOf({ name: 'api-0', labels: { app: 'api' } })];
    world.secrets = [issuedSecret()];
    world.found = resource({ generation: 2, spec: specOf({ podSelector: { matchLabels: { app: 'api' } } }) });
    await world.reconcile();
    assert.deepEqual(await world.enqueued(), ['edge/web/api-0', 'edge/web/web-0']);
    assert.deepEqual([...world.membership.podsOf('edge', 'web')], ['api-0']);
  });
});

describe('a resource that is gone', () => {
  test('leaves nothing behind: its Secrets are enqueued, its certificate is released', async () => {
    const world = new World();
    await world.reconcile();
    await world.enqueued();
    world.found = undefined;
    world.secrets = [issuedSecret(), issuedSecret({ name: 'web-old', podName: 'old' })];
    assert.deepEqual(await world.reconcile(), { kind: 'done' });
    assert.deepEqual(await world.enqueued(), ['edge/web/web-0', 'edge/web/old']);
    assert.equal(world.referred.at(-1), undefined);
    assert.deepEqual([...world.membership.podsOf('edge', 'web')], []);
    assert.equal(await world.metric('dcred_ready{'), undefined);
  });

  test('is not reconciled again for each of its Secrets that is deleted', async () => {
    const world = new World();
    await world.reconcile();
    world.found = undefined;
    await world.reconcile();
    world.controller.podReconciled(POD_KEY);
    assert.deepEqual([world.resourceQueue.length, world.resourceQueue.delayed], [0, 0]);
  });
});

describe('a resource that another replica serves now', () => {
  test('is followed, shown and counted here no longer', async () => {
    const world = new World();
    world.access = granted({});
    await world.reconcile();
    assert.deepEqual([world.referred, world.users], [['web-tls'], ['edge/web granted 0']]);
    world.controller.release((namespace) => namespace === 'other');
    assert.deepEqual([world.users.length, await world.metric('dcred_ready{')], [1, '0']);
    world.controller.release((namespace) => namespace === 'edge');
    assert.deepEqual(world.referred, ['web-tls', undefined]);
    assert.deepEqual(world.users, ['edge/web granted 0', 'edge/web own 0']);
    assert.deepEqual(world.released, [false, true]);
    assert.equal(await world.metric('dcred_ready{'), undefined);
  });
});

describe('a resource that cannot be read', () => {
  const unreadable = (): UnreadableResource => {
    const { metadata, status } = resource({ generation: 2 });
    return { metadata, status, problem: 'spec.usage: wrong' };
  };

  test('is reported, and nothing is done or undone for it', async () => {
    const world = new World();
    world.found = unreadable();
    await world.reconcile();
    assert.equal(world.reason(), 'SpecInvalid');
    assert.deepEqual(await world.enqueued(), []);
  });

  test('is not ready in the metrics either', async () => {
    const world = new World();
    world.pods = [];
    await world.reconcile();
    assert.equal(await world.metric('dcred_ready{'), '1');
    world.clock.advance(2_000);
    world.found = unreadable();
    await world.reconcile();
    assert.equal(world.reason(), 'SpecInvalid');
    assert.equal(await world.metric('dcred_ready{'), '0');
  });

  test('is served once it can be read', async () => {
    const world = new World();
    world.found = unreadable();
    await world.reconcile();
    world.found = resource({ generation: 3 });
    await world.reconcile();
    assert.deepEqual(await world.enqueued(), ['edge/web/web-0']);
  });
});

describe('the status of a resource', () => {
  test('is written when it changes, at most once a second', async () => {
    const world = new World();
    await world.reconcile();
    await world.reconcile();
    assert.equal(world.written.length, 1);
    const next = world.clock.now() + 1_000;
    world.clock.advance(300);
    world.pods = [];
    assert.deepEqual(await world.reconcile(), { kind: 'at', timeMs: next });
    assert.equal(world.written.length, 1);
    world.clock.advance(700);
    await world.reconcile();
    assert.equal(world.written.length, 2);
    assert.equal(world.reason(), 'NoPods');
  });

  test('is written at once after a clock was set back', async () => {
    const world = new World();
    await world.reconcile();
    world.clock.jump(-600_000);
    world.pods = [];
    await world.reconcile();
    assert.equal(world.written.length, 2);
  });

  test("leaves out what is unknown, and other clients' conditions", async () => {
    const foreign = {
      type: 'Audited',
      status: 'True',
      reason: 'Fine',
      message: '',
      lastTransitionTime: '2027-01-01T00:00:00Z',
    };
    const world = new World();
    world.found = resource({ status: { conditions: [foreign as never] } });
    world.pods = [];
    await world.reconcile();
    const [applied] = world.written;
    assert.ok(applied !== undefined);
    assert.ok(!('nextRenewalTime' in applied) && !('earliestExpiryTime' in applied));
    assert.deepEqual(
      applied.conditions?.map(({ type }) => type),
      ['Ready'],
    );
  });

  test('of a resource that is gone meanwhile is dropped', async () => {
    const world = new World();
    world.refusal = missing();
    assert.deepEqual(await world.reconcile(), { kind: 'done' });
  });

  test('of a kind that the API server does not serve at the moment is retried', async () => {
    const world = new World();
    world.refusal = notServed();
    assert.equal((await world.reconcile()).kind, 'retry');
    world.refusal = undefined;
    const { kind } = await world.reconcile();
    assert.deepEqual([kind, world.written.length], ['at', 1]);
  });

  for (const reason of ['Conflict', 'Forbidden', 'ServiceUnavailable', 'Network'] as const) {
    test(`that failed with ${reason} is retried`, async () => {
      const world = new World();
      world.refusal = new ApiError('refused', { status: 409, reason });
      const outcome = await world.reconcile();
      assert.equal(outcome.kind, 'retry');
      world.refusal = undefined;
      await world.reconcile();
      assert.equal(world.written.length, 1);
    });
  }
});

describe('a status update that is requested', () => {
  test('reconciles the resource at most once a second', async () => {
    const world = new World();
    await world.reconcile();
    world.controller.podReconciled(POD_KEY);
    world.controller.podReconciled(POD_KEY);
    assert.deepEqual([world.resourceQueue.length, world.resourceQueue.delayed], [0, 1]);
    world.clock.advance(1_000);
    assert.deepEqual([world.resourceQueue.length, world.resourceQueue.delayed], [1, 0]);
  });

  test('reconciles the resource within a second after a clock was set back', async () => {
    const world = new World();
    await world.reconcile();
    world.clock.jump(-3_600_000);
    world.controller.podReconciled(POD_KEY);
    world.clock.advance(1_000);
    assert.equal(world.resourceQueue.length, 1);
  });
});

describe('a request to re-issue', () => {
  /** Three pods with credentials, the last of which expires first, and a request that counts in 700 ms. */
  async function requested() {
    const world = new World();
    const pods = [0, 1, 2].map((index) => `web-${index}`);
    const held = facts();
    world.pods = pods.map((name) => podOf({ name, uid: `uid-of-${name}` }));
    world.secrets = pods.map((podName, index) =>
      issuedSecret({ podName, facts: { ...held, expiresAt: held.expiresAt - index * 60 } }),
    );
    await world.reconcile();
    await world.enqueued();
    world.clock.advance(1_300);
    const made = resource();
    world.found = { ...made, metadata: { ...made.metadata, renewRequestedAt: world.clock.now() / 1000 } };
    return world;
  }

  test('enqueues the pods once it counts, as a wave, soonest expiry first, which a new pod overtakes', async () => {
    const world = await requested();
    await world.reconcile();
    world.clock.advance(699);
    assert.deepEqual(await world.enqueued(), [], 'a request counts from the next whole second');
    assert.equal(world.resourceQueue.length, 0);
    world.clock.advance(1);
    assert.equal(world.resourceQueue.length, 1);
    await world.reconcile();
    world.podQueue.add('edge/web/new');
    assert.deepEqual(await world.enqueued(), ['edge/web/new', 'edge/web/web-2', 'edge/web/web-1', 'edge/web/web-0']);
    await world.reconcile();
    assert.deepEqual(await world.enqueued(), [], 'once');
  });

  test('is not delayed by a status that cannot be written', async () => {
    const world = await requested();
    world.skewed = true;
    world.refusal = new ApiError('refused', { status: 403, reason: 'Forbidden' });
    assert.equal((await world.reconcile()).kind, 'retry');
    world.clock.advance(700);
    assert.equal(world.resourceQueue.length, 1);
  });

  test('enqueues the pods again when the clock was set back and has come to it again', async () => {
    const world = await requested();
    world.clock.advance(700);
    await world.reconcile();
    assert.equal((await world.enqueued()).length, 3);
    world.clock.jump(-600_000);
    await world.reconcile();
    await world.enqueued();
    world.clock.advance(600_000);
    await world.reconcile();
    assert.equal((await world.enqueued()).length, 3);
  });
});

describe('a status that another client writes', () => {
  /** As the API server shows what the operator has written. */
  function shown(world: World, change: Partial<DelegatedCredentialStatus> = {}): void {
    world.found = resource({ status: { ...world.written.at(-1), ...change } });
    world.seen = world.version;
  }

  const lie = (world: World) => {
    const conditions = (world.written.at(-1)?.conditions ?? []).map((condition) => ({
      ...condition,
      status: 'False' as const,
      reason: 'Lie',
    }));
    return { conditions };
  };

  async function settled(): Promise<World> {
    const world = new World();
    world.pods = [];
    await world.reconcile();
    shown(world);
    world.clock.advance(2_000);
    await world.reconcile();
    assert.equal(world.written.length, 1, 'a correct status is not written again');
    return world;
  }

  test('is corrected', async () => {
    const world = await settled();
    world.version += 1;
    shown(world, lie(world));
    await world.reconcile();
    assert.equal(world.written.length, 2);
    assert.deepEqual(world.written[1], world.written[0], 'with the times that it had');
  });

  test("is not assumed where the cache is behind the operator's own write", async () => {
    const world = new World();
    world.pods = [];
    await world.reconcile();
    world.clock.advance(2_000);
    await world.reconcile();
    assert.equal(world.written.length, 1);
  });

  test('or that etcd lost in a restore is corrected: a write that the cache has not shown for a minute no longer counts', async () => {
    const world = new World();
    world.pods = [];
    await world.reconcile();
    world.clock.advance(61_000);
    await world.reconcile();
    assert.equal(world.written.length, 2);
  });

  test('repeatedly is corrected less and less often', async () => {
    const world = await settled();
    const end = world.clock.now() + 120_000;
    while (world.clock.now() < end) {
      world.version += 1;
      shown(world, lie(world));
      await world.reconcile();
      world.clock.advance(500);
    }
    assert.ok(world.written.length <= 13, `${world.written.length} writes in two minutes`);
    assert.ok(world.written.length >= 5);
  });

  test('loses the fields that are not true', async () => {
    const world = await settled();
    world.version += 1;
    shown(world, { nextRenewalTime: '2027-01-01T00:00:00Z' });
    await world.reconcile();
    assert.deepEqual(world.patches, [{ nextRenewalTime: null }]);
    assert.equal(world.written.length, 2);
  });

  test("keeps other clients' conditions", async () => {
    const world = await settled();
    world.version += 1;
    const theirs = {
      type: 'Audited',
      status: 'True',
      reason: 'Fine',
      message: '',
      lastTransitionTime: '2027-01-01T00:00:00Z',
    };
    shown(world, { conditions: [theirs as never, ...(world.written.at(-1)?.conditions ?? [])] });
    await world.reconcile();
    assert.equal(world.written.length, 1);
  });
});

describe('a problem that keeps no pod from being served', () => {
  const types = (world: World) =>
    world.written.at(-1)?.conditions?.map(({ reason, status, type }) => `${type} ${status} ${reason}`);

  test('has its own condition: clocks that differ', async () => {
    const world = new World();
    world.pods = [];
    world.skewed = true;
    await world.reconcile();
    assert.deepEqual(types(world), ['Ready True NoPods', 'ClockSynchronized False ClockSkew']);
    world.skewed = false;
    world.clock.advance(2_000);
    await world.reconcile();
    assert.deepEqual(types(world), ['Ready True NoPods']);
  });

  test('has its own condition: Secrets that cannot be deleted', async () => {
    const world = new World();
    world.pods = [];
    world.failures.setCleanUp('edge/web/old', new PodFailure('SecretRefused', 'secrets "web-old" is forbidden'));
    world.failures.setCleanUp('edge/website/old', new PodFailure('SecretRefused', 'another resource'));
    await world.reconcile();
    assert.deepEqual(types(world), ['Ready True NoPods', 'CleanedUp False CleanUpRefused']);
    const message = world.written.at(-1)?.conditions?.find(({ type }) => type === 'CleanedUp')?.message ?? '';
    assert.match(message, /^Secrets of 1 pod that are no longer needed remain: secrets "web-old" is forbidden$/);
  });
});

describe('a change of a resource that the watch shows', () => {
  const entry = (value: DelegatedCredentialResource | UnreadableResource) => ({
    namespace: 'edge',
    name: 'web',
    value,
  });

  async function written(): Promise<{ world: World; before: DelegatedCredentialResource; status: object }> {
    const world = new World();
    await world.reconcile();
    return { world, before: resource(), status: world.written.at(-1) ?? assert.fail('no status was written') };
  }

  test("is an echo where it is the operator's own status", async () => {
    const { before, status, world } = await written();
    assert.equal(world.controller.isEcho(entry(before), entry(resource({ status }))), true);
  });

  test('is an echo even before the write is answered', async () => {
    const world = new World();
    const { promise, resolve } = Promise.withResolvers<void>();
    world.answer = promise;
    const reconciling = world.reconcile();
    await settle();
    const status = world.written.at(-1) ?? assert.fail('no status was written');
    assert.equal(world.controller.isEcho(entry(resource()), entry(resource({ status }))), true);
    resolve();
    await reconciling;
  });

  test("is an echo where only labels, annotations or other clients' conditions differ", async () => {
    const { status, world } = await written();
    const before = resource({ status });
    const after = { ...before, metadata: { ...before.metadata, resourceVersion: '99' } };
    assert.equal(world.controller.isEcho(entry(before), entry(after)), true);
  });

  const others: Readonly<Record<string, (status: object) => DelegatedCredentialResource | UnreadableResource>> = {
    'another spec': (status) => resource({ status, spec: specOf({ lifetimeSeconds: 3_600 }), generation: 2 }),
    'another spec of the same generation': (status) => resource({ status, spec: specOf({ lifetimeSeconds: 3_600 }) }),
    'another resource of that name': (status) => resource({ status, uid: 'another' }),
    'a renew request': (status) => {
      const made = resource({ status });
      return { ...made, metadata: { ...made.metadata, renewRequestedAt: 1_800_000_000 } };
    },
    'a spec that cannot be read': (status) => {
      const { metadata } = resource();
      return { metadata, status, problem: 'spec.usage: wrong' } as UnreadableResource;
    },
    "another client's status": (status) => resource({ status: { ...status, observedGeneration: 77 } }),
  };
  for (const [what, changed] of Object.entries(others)) {
    test(`is not an echo where it is ${what}`, async () => {
      const { before, status, world } = await written();
      assert.equal(world.controller.isEcho(entry(before), entry(changed(status))), false);
    });
  }
});
