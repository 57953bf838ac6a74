/** How certificates are followed: by how many watches, how often they are read, and what happens when they can no longer be seen. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { ISSUED_SECRET_TYPE, RESOURCE_LABEL } from '../../src/api/keys.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { type Clock, systemClock } from '../../src/kubernetes/clock.ts';
import type { KubernetesObject } from '../../src/kubernetes/objects.ts';
import { SECRETS } from '../../src/kubernetes/resource-type.ts';
import { CertificateWatcher } from '../../src/operator/certificates/certificate-watcher.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { type Delegation, delegation } from '../../testing/support/builders.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';
import { missing, notServed } from '../../testing/support/not-found.ts';
import { eventually } from '../../testing/support/processes.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';
import { operatorsClient } from './cluster.ts';

const signal = new AbortController().signal;
const BY_NAME = 'metadata.name=';
/** More than are watched by name. */
const NAMES = Array.from({ length: 12 }, (_, index) => `web-${index}`);
const base64 = (text: string) => Buffer.from(text).toString('base64');
const secretOf = (name: string, { chainPem, keyPem }: Pick<Delegation, 'chainPem' | 'keyPem'>) => ({
  metadata: { namespace: 'default', name },
  type: 'kubernetes.io/tls',
  data: { 'tls.crt': base64(chainPem), 'tls.key': base64(keyPem) },
});

class Followed {
  readonly stop = new AbortController();
  readonly changes: string[] = [];
  readonly watcher: CertificateWatcher;

  constructor(
    client: Pick<ApiClient, 'get' | 'watch'>,
    namespaces: readonly string[] = [],
    clock: Clock = systemClock,
  ) {
    const log = recordingLogger();
    this.watcher = new CertificateWatcher({
      engine: { client: client as ApiClient, clock, random: () => 0.5, log },
      namespaces,
      log,
      signal: this.stop.signal,
      onChange: (key) => void this.changes.push(key),
    });
  }

  refer(name: string): void {
    this.watcher.refer(`default/${name}`, { namespace: 'default', name });
  }

  state(name: string) {
    return this.watcher.state({ namespace: 'default', name });
  }

  word(name: string): string {
    const state = this.state(name);
    if (state.kind === 'usable') return state.certificate.sha256;
    return state.kind === 'refused' ? state.reason : state.kind;
  }

  async until(name: string, expected: string): Promise<void> {
    const isSo = async () => this.word(name) === expected || undefined;
    await eventually(`${name} to be ${expected}`, isSo).catch((error: unknown) => {
      throw new Error(`${String(error)}; it is ${this.word(name)}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop.abort();
    await this.watcher.ended();
  }
}

/** The real client, with its calls counted; `cut` ends every watch, as a network does. */
function tapped(client: ApiClient) {
  const counts = { get: 0, watch: 0 };
  const cuts = new Set<AbortController>();
  const tap = {
    get: (...args: Parameters<ApiClient['get']>) => {
      counts.get += 1;
      return client.get(...args);
    },
    list: (...args: Parameters<ApiClient['list']>) => client.list(...args),
    watch: (...[type, selection, options]: Parameters<ApiClient['watch']>) => {
      counts.watch += 1;
      const cut = new AbortController();
      cuts.add(cut);
      const ends = AbortSignal.any([options.signal, cut.signal]);
      return client.watch(type, selection, { ...options, signal: ends });
    },
  };
  return {
    client: tap as unknown as Pick<ApiClient, 'get' | 'list' | 'watch'>,
    counts,
    cut: () => {
      for (const one of cuts) one.abort();
      cuts.clear();
    },
  };
}

describe('with a real API server', () => {
  let plane: ControlPlane;
  let client: ApiClient;
  let one: Delegation;
  let other: Delegation;

  before(async () => {
    plane = await startControlPlane();
    client = await operatorsClient(plane);
    [one, other] = [delegation(), delegation()];
  });
  after(async () => {
    await client?.close();
    await plane?.stop();
  });

  const put = (name: string, files: Delegation) =>
    client.apply<KubernetesObject>(SECRETS, secretOf(name, files), { signal, force: true });

  for (const [where, namespaces] of [
    ['in all namespaces', []],
    ['in one namespace', ['default']],
  ] as const) {
    test(`sixty certificates ${where} take one watch, and each is followed`, async () => {
      const names = Array.from({ length: 60 }, (_, index) => `many-${namespaces.length}-${index}`);
      await Promise.all(names.slice(1).map((name) => put(name, one)));
      await using followed = new Followed(client, namespaces);
      for (const name of names) followed.refer(name);
      await Promise.all(names.slice(1).map((name) => followed.until(name, one.certificate.sha256)));
      await eventually('one watch', async () => followed.watcher.size.watches === 1 || undefined);
      const [missing = '', second = '', ...rest] = names;
      await followed.until(missing, 'CertificateNotFound');
      await put(missing, other);
      await put(second, other);
      await followed.until(missing, other.certificate.sha256);
      await followed.until(second, other.certificate.sha256);
      const last = rest.at(-1) ?? '';
      await client.delete(SECRETS, { namespace: 'default', name: last }, { signal });
      await followed.until(last, 'CertificateNotFound');
      for (const name of names) followed.watcher.refer(`default/${name}`, undefined);
      assert.deepEqual(followed.watcher.size, { certificates: 0, watches: 0 });
    });
  }

  test('a few certificates are watched by name: nothing of other Secrets is received', async () => {
    await put('few-0', one);
    await using followed = new Followed(client);
    for (let index = 0; index < 8; index += 1) followed.refer(`few-${index}`);
    await followed.until('few-0', one.certificate.sha256);
    assert.deepEqual(followed.watcher.size, { certificates: 8, watches: 8 });
  });

  test('where RBAC permits certificates by name alone, each is watched by name', async () => {
    const names = Array.from({ length: 12 }, (_, index) => `named-${index}`);
    await Promise.all(names.map((name) => put(name, one)));
    await plane.kubectl(['create', 'serviceaccount', 'by-name']);
    const rule = ['--verb=get,list,watch', '--resource=secrets', ...names.map((name) => `--resource-name=${name}`)];
    await plane.kubectl(['create', 'role', 'by-name', ...rule]);
    await plane.kubectl(['create', 'rolebinding', 'by-name', '--role=by-name', '--serviceaccount=default:by-name']);
    const kubeconfig = await plane.kubeconfigFor({ serviceAccount: { namespace: 'default', name: 'by-name' } });
    const weak = await operatorsClient(plane, kubeconfig);
    try {
      await using followed = new Followed(weak);
      for (const name of names) followed.refer(name);
      await Promise.all(names.map((name) => followed.until(name, one.certificate.sha256)));
      await eventually('twelve watches', async () => followed.watcher.size.watches === 12 || undefined);
      await put('named-11', other);
      await followed.until('named-11', other.certificate.sha256);
    } finally {
      await weak.close();
    }
  });

  test('a permission that is withdrawn later blocks the certificate, and unblocks it when it is back', async () => {
    await put('withdrawn', one);
    await plane.kubectl(['create', 'serviceaccount', 'later']);
    const grant = ['create', 'role', 'later', '--verb=get,list,watch', '--resource=secrets'];
    await plane.kubectl(grant);
    await plane.kubectl(['create', 'rolebinding', 'later', '--role=later', '--serviceaccount=default:later']);
    const kubeconfig = await plane.kubeconfigFor({ serviceAccount: { namespace: 'default', name: 'later' } });
    const weak = await operatorsClient(plane, kubeconfig);
    const tap = tapped(weak);
    try {
      await using followed = new Followed(tap.client, ['default']);
      followed.refer('withdrawn');
      await followed.until('withdrawn', one.certificate.sha256);
      const before = followed.state('withdrawn');
      await plane.kubectl(['delete', 'role', 'later']);
      const forbidden = async () => {
        // An open watch outlives the permission: the next one is refused.
        tap.cut();
        return followed.word('withdrawn') === 'CertificateNotPermitted' || undefined;
      };
      await eventually('the certificate to be blocked', forbidden);
      await plane.kubectl(grant);
      await followed.until('withdrawn', one.certificate.sha256);
      assert.notEqual(followed.state('withdrawn'), before, 'pods that were planned for meanwhile are planned again');
    } finally {
      await weak.close();
    }
  });

  test('a Secret whose certificate and key stay the same counts as unchanged', async () => {
    await put('labelled', one);
    const tap = tapped(client);
    await using followed = new Followed(tap.client);
    followed.refer('labelled');
    await followed.until('labelled', one.certificate.sha256);
    const [state, changes, reads] = [followed.state('labelled'), followed.changes.length, tap.counts.get];
    await client.mergePatch(
      SECRETS,
      { namespace: 'default', name: 'labelled' },
      { metadata: { labels: { team: 'x' } } },
      { signal },
    );
    await client.mergePatch(
      SECRETS,
      { namespace: 'default', name: 'labelled' },
      { data: { 'ca.crt': '' } },
      { signal },
    );
    await eventually('the Secret to be read again', async () => tap.counts.get > reads || undefined);
    await put('labelled', other);
    await followed.until('labelled', other.certificate.sha256);
    assert.equal(followed.changes.length, changes + 1);
    assert.notEqual(followed.state('labelled'), state);
  });

  test('a Secret that is rewritten all the time is read a few times at once, and then rarely', async () => {
    const tap = tapped(client);
    await using followed = new Followed(tap.client);
    followed.refer('busy');
    for (let index = 0; index < 60; index += 1) await put('busy', index % 2 === 0 ? one : other);
    await eventually('its state', async () => followed.word('busy') !== 'CertificateNotFound' || undefined);
    const written = 60;
    assert.ok(tap.counts.get < written / 2, `${tap.counts.get} reads of ${written} writes`);
    await followed.until('busy', other.certificate.sha256);
  });
});

describe('with a fake API server, a certificate', () => {
  const one = delegation();
  const found = { ...secretOf('web', one), metadata: { namespace: 'default', name: 'web', resourceVersion: '7' } };
  const failure = new ApiError('the server is on fire', { status: 500, reason: 'InternalError' });

  const forbidden = new ApiError('no role yet', { status: 403, reason: 'Forbidden' });

  /** Every watch fails as long as `broken`, with `failure`; else it lists one Secret and stays open. */
  function server() {
    const state = { broken: false, failure, readable: true, cut: new AbortController(), gets: 0, found };
    const client = {
      get: async () => {
        state.gets += 1;
        if (!state.readable) throw state.failure;
        return state.found;
      },
      list: async () => {
        if (state.broken) throw state.failure;
        return { metadata: { resourceVersion: '7' }, items: [state.found] };
      },
      async *watch(_type: unknown, _selection: unknown, options: Parameters<ApiClient['watch']>[2]) {
        if (state.broken) throw state.failure;
        options.onAccepted?.();
        const annotations = { 'k8s.io/initial-events-end': 'true' };
        yield { type: 'ADDED', object: state.found };
        yield { type: 'BOOKMARK', object: { metadata: { resourceVersion: '7', annotations } } };
        const ends = AbortSignal.any([options.signal, state.cut.signal]);
        if (!ends.aborted) await new Promise((resolve) => ends.addEventListener('abort', resolve, { once: true }));
        if (state.broken) throw state.failure;
      },
    };
    return { state, client: client as unknown as Pick<ApiClient, 'get' | 'list' | 'watch'> };
  }

  /** The certificate, read and watched. */
  async function followedWeb() {
    const { client, state } = server();
    const clock = new FakeClock();
    const followed = new Followed(client, [], clock);
    followed.refer('web');
    await clock.advanceAsync(1_000);
    return { clock, followed, state, [Symbol.asyncDispose]: () => followed[Symbol.asyncDispose]() };
  }

  test('that cannot be watched for two minutes is not used, until it can', async () => {
    await using world = await followedWeb();
    const { clock, followed, state } = world;
    assert.equal(followed.word('web'), one.certificate.sha256);

    Object.assign(state, { broken: true });
    state.cut.abort();
    await clock.advanceAsync(60_000);
    assert.equal(followed.word('web'), one.certificate.sha256, 'a short outage changes nothing');
    await clock.advanceAsync(120_000);
    const blocked = followed.state('web');
    assert.ok(blocked.kind === 'pending');
    assert.match(blocked.message ?? '', /cannot be watched at the moment, so nothing is issued/);

    Object.assign(state, { broken: false, cut: new AbortController() });
    await clock.advanceAsync(5_000);
    assert.equal(followed.word('web'), one.certificate.sha256, 'no list is made, so the watch that goes on has to do');
  });

  test('that is refused by an API server that is starting stays in use', async () => {
    await using world = await followedWeb();
    const { clock, followed, state } = world;
    followed.changes.length = 0;
    Object.assign(state, { broken: true });
    state.cut.abort();
    await clock.advanceAsync(500);
    Object.assign(state, { failure: forbidden, readable: false });
    await clock.advanceAsync(2_000);
    Object.assign(state, { broken: false, readable: true, cut: new AbortController() });
    await clock.advanceAsync(300_000);
    assert.equal(followed.word('web'), one.certificate.sha256);
    assert.deepEqual(followed.changes, [], 'and no change is reported');
  });

  test('that is refused for longer is not used, and is used as soon as the watch is accepted again', async () => {
    await using world = await followedWeb();
    const { clock, followed, state } = world;
    // The connection breaks first: what waits for its end must not unblock what is refused by then.
    Object.assign(state, { broken: true });
    state.cut.abort();
    await clock.advanceAsync(1_000);
    Object.assign(state, { failure: forbidden });
    for (let seconds = 10; seconds < 300; seconds += 10) {
      await clock.advanceAsync(10_000);
      assert.equal(followed.word('web'), 'CertificateNotPermitted', `after ${seconds} s`);
    }
    Object.assign(state, { broken: false, cut: new AbortController() });
    // The longest wait of a refused watch, and a moment more.
    await clock.advanceAsync(32_000);
    assert.equal(followed.word('web'), one.certificate.sha256);
  });

  test('is what the API server says now, a few seconds after any sequence of failures', async () => {
    const failures = fc.constantFrom<readonly [string, ApiError]>(
      ['refused', forbidden],
      ['failed', failure],
      ['cut', new ApiError('cut', { status: 0, reason: 'Network' })],
    );
    const spells = fc.array(fc.tuple(failures, fc.integer({ min: 1, max: 200_000 }), fc.boolean()), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(spells, async (sequence) => {
        const { client, state } = server();
        const clock = new FakeClock();
        await using followed = new Followed(client, [], clock);
        followed.refer('web');
        await clock.advanceAsync(2_000);
        for (const [[, kind], ms, recovers] of sequence) {
          Object.assign(state, { broken: true, failure: kind });
          state.cut.abort();
          await clock.advanceAsync(ms);
          state.cut = new AbortController();
          if (!recovers) continue;
          state.broken = false;
          await clock.advanceAsync(33_000);
          assert.equal(followed.word('web'), one.certificate.sha256);
        }
        state.broken = false;
        await clock.advanceAsync(33_000);
        assert.equal(followed.word('web'), one.certificate.sha256);
      }),
      { numRuns: 100 },
    );
  });

  /** What may fail by itself: watches by name, those of the whole scope, reads. */
  type Part = 'names' | 'scope' | 'reads';

  /** A cluster of twelve certificates: what `broken` selects fails, with `failure`. */
  function serverOfMany() {
    const isBroken: (what: Part) => boolean = () => false;
    const state = { broken: isBroken, failure, cut: new AbortController(), wideWatches: 0 };
    const objectOf = (name: string) => ({ ...found, metadata: { ...found.metadata, name } });
    const check = (what: Part) => {
      if (state.broken(what)) throw state.failure;
    };
    const client = {
      get: async (_type: unknown, { name }: { name: string }) => {
        check('reads');
        return objectOf(name);
      },
      list: async (_type: unknown, { fieldSelector = '' }: { fieldSelector?: string }) => {
        check(fieldSelector.startsWith(BY_NAME) ? 'names' : 'scope');
        return { metadata: { resourceVersion: '7' }, items: [] };
      },
      async *watch(...[, { fieldSelector = '' }, options]: Parameters<ApiClient['watch']>) {
        const { cut } = state;
        const isByName = fieldSelector.startsWith(BY_NAME);
        if (!isByName) state.wideWatches += 1;
        check(isByName ? 'names' : 'scope');
        options.onAccepted?.();
        const names = isByName ? [fieldSelector.slice(BY_NAME.length)] : NAMES;
        for (const name of names) yield { type: 'ADDED', object: objectOf(name) };
        const annotations = { 'k8s.io/initial-events-end': 'true' };
        yield { type: 'BOOKMARK', object: { metadata: { resourceVersion: '7', annotations } } };
        const ends = AbortSignal.any([options.signal, cut.signal]);
        if (!ends.aborted) await new Promise((resolve) => ends.addEventListener('abort', resolve, { once: true }));
        check(isByName ? 'names' : 'scope');
      },
    };
    return { state, client: client as unknown as Pick<ApiClient, 'get' | 'list' | 'watch'> };
  }

  interface Outage {
    readonly clock: FakeClock;
    readonly followed: Followed;
    readonly recover: (ms: number) => Promise<void>;
    readonly state: ReturnType<typeof serverOfMany>['state'];
  }

  /** Twelve certificates that are followed by one watch, and an outage of everything, which fails in one way after another. */
  async function afterOutage(
    spells: readonly (readonly [ApiError, number])[],
    after: (world: Outage) => Promise<void>,
  ) {
    const { client, state } = serverOfMany();
    const clock = new FakeClock();
    await using followed = new Followed(client, [], clock);
    for (const name of NAMES) followed.refer(name);
    await clock.advanceAsync(2_000);
    assert.equal(followed.watcher.size.watches, 1);
    followed.changes.length = 0;
    state.broken = () => true;
    state.cut.abort();
    for (const [kind, ms] of spells) {
      state.failure = kind;
      await clock.advanceAsync(ms);
    }
    state.cut = new AbortController();
    const recover = async (ms: number) => {
      state.broken = () => false;
      await clock.advanceAsync(ms);
    };
    await after({ clock, followed, recover, state });
  }
  const unreachable = new ApiError('no answer', { status: 0, reason: 'Network' });

  test('of many stays in use, by one watch, where a control plane that is rebooted refuses before and after its absence', async () => {
    const reboot = [
      [forbidden, 1],
      [unreachable, 8_000],
      [forbidden, 1_500],
    ] as const;
    await afterOutage(reboot, async ({ followed, recover }) => {
      assert.equal(followed.watcher.size.watches, 1);
      await recover(60_000);
      assert.deepEqual([followed.watcher.size.watches, followed.changes], [1, []]);
      assert.deepEqual(new Set(NAMES.map((name) => followed.word(name))), new Set([one.certificate.sha256]));
    });
  });

  test('of many is followed by one watch again some minutes after a refusal that lasted', async () => {
    await afterOutage([[forbidden, 10_000]], async ({ followed, recover }) => {
      assert.equal(followed.watcher.size.watches, NAMES.length);
      await recover(310_000);
      assert.equal(followed.watcher.size.watches, 1);
      assert.deepEqual(new Set(NAMES.map((name) => followed.word(name))), new Set([one.certificate.sha256]));
    });
  });

  test('of many whose scope may not be watched any more is asked for once more, and then by name', async () => {
    await afterOutage([[forbidden, 10_000]], async ({ clock, followed, recover, state }) => {
      await recover(1_000);
      const before = state.wideWatches;
      state.broken = (what) => what === 'scope';
      await clock.advanceAsync(3_600_000);
      assert.deepEqual([state.wideWatches - before, followed.watcher.size.watches], [1, NAMES.length]);
      assert.deepEqual(new Set(NAMES.map((name) => followed.word(name))), new Set([one.certificate.sha256]));
    });
  });

  test('of many is used after any sequence of failures, by whichever watch it is followed', async () => {
    type Step =
      | { readonly refer: number }
      | { readonly release: number }
      | { readonly error: ApiError; readonly of: 'everything' | 'scope' | 'names'; readonly seconds: number }
      | { readonly healthySeconds: number };
    const index = fc.nat(NAMES.length - 1);
    const step = fc.oneof<fc.Arbitrary<Step>[]>(
      fc.record({ refer: index }),
      fc.record({ release: index }),
      fc.record({
        error: fc.constantFrom(forbidden, failure),
        of: fc.constantFrom('everything' as const, 'scope' as const, 'names' as const),
        seconds: fc.constantFrom(1, 10, 130, 250),
      }),
      fc.record({ healthySeconds: fc.constantFrom(0, 1, 40, 310) }),
    );
    const first = fc.constantFrom(1, 7, 8, 9, NAMES.length);
    const property = fc.asyncProperty(first, fc.array(step, { minLength: 3, maxLength: 8 }), async (count, steps) => {
      const { client, state } = serverOfMany();
      const clock = new FakeClock();
      await using followed = new Followed(client, [], clock);
      const referred = new Set<string>();
      const refer = (name = '') => {
        followed.refer(name);
        referred.add(name);
      };
      const words = () => Object.fromEntries([...referred].map((name) => [name, followed.word(name)]));
      const recover = async (seconds: number) => {
        state.broken = () => false;
        await clock.advanceAsync(seconds * 1_000);
      };
      const allUsable = () => Object.fromEntries([...referred].map((name) => [name, one.certificate.sha256]));
      for (const name of NAMES.slice(0, count)) refer(name);
      await clock.advanceAsync(2_000);
      for (const action of steps) {
        if ('refer' in action) refer(NAMES[action.refer]);
        else if ('release' in action) {
          const name = NAMES[action.release] ?? '';
          followed.watcher.refer(`default/${name}`, undefined);
          referred.delete(name);
        } else if ('healthySeconds' in action) await recover(action.healthySeconds);
        else {
          state.failure = action.error;
          state.broken = (what) => action.of === 'everything' || what === action.of;
          state.cut.abort();
          state.cut = new AbortController();
          await clock.advanceAsync(action.seconds * 1_000);
          if (action.of !== 'everything' || action.seconds < 250) continue;
          assert.ok(!Object.values(words()).includes(one.certificate.sha256), 'what cannot be watched is not used');
        }
      }
      await recover(120);
      assert.deepEqual(words(), allUsable());
    });
    const outage = (error: ApiError, seconds: number) => ({ error, of: 'everything' as const, seconds });
    const examples: [number, Step[]][] = [
      // From watches by name to one of the scope: while they are refused, and after an outage.
      [8, [outage(forbidden, 130), { healthySeconds: 0 }, { refer: 8 }]],
      [8, [outage(failure, 250), { healthySeconds: 0 }, { refer: 8 }]],
      // From the watch of the scope to watches by name.
      [9, [outage(failure, 250), { error: forbidden, of: 'scope', seconds: 10 }]],
    ];
    await fc.assert(property, { examples, numRuns: 100 });
  });

  test("that a proxy's page stands for is not gone: it stays in use, and is read again", async () => {
    await using world = await followedWeb();
    const { clock, followed, state } = world;
    followed.changes.length = 0;
    Object.assign(state, { readable: false, failure: notServed() });
    state.found = { ...found, metadata: { ...found.metadata, resourceVersion: '8' } };
    state.cut.abort();
    state.cut = new AbortController();
    await clock.advanceAsync(10_000);
    assert.equal(followed.word('web'), one.certificate.sha256);
    const before = state.gets;
    await clock.advanceAsync(31_000);
    assert.ok(state.gets > before, 'it is read again within the longest wait between two reads');

    state.failure = missing();
    await clock.advanceAsync(31_000);
    assert.equal(followed.word('web'), 'CertificateNotFound', 'and gone once the answer names it');
  });

  test('that cannot be read for two minutes is not used, until it can', async () => {
    const { client, state } = server();
    const clock = new FakeClock();
    await using followed = new Followed(client, [], clock);
    Object.assign(state, { readable: false });
    followed.refer('web');
    await clock.advanceAsync(30_000);
    assert.equal(followed.state('web').kind, 'pending');
    await clock.advanceAsync(180_000);
    const blocked = followed.state('web');
    assert.match((blocked.kind === 'pending' && blocked.message) || '', /cannot be watched at the moment/);
    Object.assign(state, { readable: true });
    await clock.advanceAsync(60_000);
    assert.equal(followed.word('web'), one.certificate.sha256);
  });

  test('is judged by the Secret as it is now, whatever it was before: its type, its labels and its files', async () => {
    type Parts = { readonly type?: string; readonly labels?: object; readonly data?: object };
    const states: readonly (readonly [string, Parts, string])[] = [
      ['a certificate', {}, one.certificate.sha256],
      ['an issued Secret, by its label', { labels: { [RESOURCE_LABEL]: 'web' } }, 'CertificateNotFound'],
      ['an issued Secret, by its type', { type: ISSUED_SECRET_TYPE }, 'CertificateNotFound'],
      ['without files', { data: {} }, 'CertificateNotFound'],
      ['without a key', { data: { 'tls.crt': found.data['tls.crt'] } }, 'CertificateInvalid'],
    ];
    for (const before of states) {
      for (const after of states) {
        const { client, state } = server();
        const clock = new FakeClock();
        await using followed = new Followed(client, [], clock);
        for (const [index, [what, { labels, ...parts }, expected]] of [before, after, before].entries()) {
          const metadata = { ...found.metadata, resourceVersion: String(8 + index), labels };
          Object.assign(state, { found: { ...found, ...parts, metadata } });
          if (index === 0) followed.refer('web');
          state.cut.abort();
          state.cut = new AbortController();
          await clock.advanceAsync(33_000);
          assert.equal(followed.word('web'), expected, `${before[0]}, then ${after[0]}: now ${what}`);
        }
      }
    }
  });
});
