import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { DelegatedCredentialResource } from '../../../src/api/delegated-credential.ts';
import type { IssuedSecret } from '../../../src/issued-secret/issued-secret.ts';
import { podKeyOf } from '../../../src/issued-secret/issued-secret.ts';
import { type CertificateState, latestExpiry, PENDING, refused } from '../../../src/operator/core/certificate-state.ts';
import { Membership } from '../../../src/operator/core/membership.ts';
import type { Pod } from '../../../src/operator/core/pod.ts';
import type { PodTally } from '../../../src/operator/core/status.ts';
import { PodFailure } from '../../../src/operator/pod-failure.ts';
import { Tally } from '../../../src/operator/resources/tally.ts';
import { delegation, facts, issuedSecret, podOf, resource, specOf } from '../../../testing/support/builders.ts';
import { PodTable } from '../../../testing/support/pod-table.ts';

let usable: Extract<CertificateState, { kind: 'usable' }>;
let now: number;

before(() => {
  const { certificate, signer } = delegation();
  usable = { kind: 'usable', certificate, signer };
  now = certificate.notBefore + 1_000;
});

interface World {
  readonly pods: readonly Pod[];
  readonly secrets?: readonly IssuedSecret[];
  readonly failed?: Readonly<Record<string, string>>;
  readonly certificate?: CertificateState;
}

/** What the tally reads: caches and failures are fakes, tables that the test fills. */
class Ground {
  readonly pods = new PodTable();
  readonly membership = new Membership(this.pods);
  readonly secrets = new Map<string, readonly IssuedSecret[]>();
  readonly failed = new Map<string, string>();
  lookups = 0;

  constructor() {
    this.membership.setResource('edge', 'web', {});
  }

  tally(): Tally {
    const byIndex = (_namespace: string, _index: string, key: string) => {
      this.lookups += 1;
      return (this.secrets.get(key) ?? []).map((issued) => ({ namespace: 'edge', name: issued.name, issued }));
    };
    const failureOf = (key: string) => {
      const message = this.failed.get(key);
      return message === undefined ? undefined : new PodFailure('SecretNameTaken', message);
    };
    const caches = { pods: this.pods, secrets: { byIndex } };
    return new Tally({ caches, membership: this.membership, failures: { failureOf } });
  }
}

function count({ certificate = usable, failed = {}, pods, secrets = [] }: World) {
  const ground = new Ground();
  for (const pod of pods) ground.membership.podChanged(ground.pods.set(pod), pod);
  for (const secret of secrets) {
    const key = podKeyOf(secret);
    ground.secrets.set(key, [...(ground.secrets.get(key) ?? []), secret]);
  }
  for (const [pod, message] of Object.entries(failed)) ground.failed.set(`edge/web/${pod}`, message);
  return ground.tally().count({ resource: WEB, certificate, now });
}

const WEB = resource({ spec: specOf({ podSelector: {} }) });

function good(podName: string, overrides: Partial<IssuedSecret> = {}, issuedAgo = 0): IssuedSecret {
  const issuedAt = now - issuedAgo;
  return issuedSecret({
    name: `web-${podName}`,
    podName,
    facts: facts({
      issuedAt,
      certificateSha256: usable.certificate.sha256,
      chainSha256: usable.certificate.chainSha256,
    }),
    ...overrides,
  });
}

describe('the tally', () => {
  test('of no pods is zero', () => {
    assert.deepEqual(count({ pods: [] }), {
      selected: 0,
      issued: 0,
      failed: 0,
      failures: [],
      notInjected: 0,
      earliestExpiry: undefined,
      renewalDeadline: undefined,
      nextExpiry: undefined,
      nextRenewal: undefined,
    });
  });

  test('counts pods, with the earliest expiry and the next renewal', () => {
    const pods = [podOf({ name: 'a' }), podOf({ name: 'b' }), podOf({ name: 'c' })];
    const result = count({ pods, secrets: [good('a', {}, 500), good('b')] });
    assert.deepEqual([result.selected, result.issued, result.failed], [3, 2, 0]);
    assert.equal(result.earliestExpiry, now - 500 + 172_800);
    assert.ok(result.nextRenewal !== undefined && result.nextRenewal > now && result.nextRenewal < now + 110_000);
  });

  test('excludes terminating pods', () => {
    assert.equal(count({ pods: [podOf({ name: 'a', terminating: true })], secrets: [good('a')] }).selected, 0);
  });

  for (const [what, secret] of Object.entries<() => IssuedSecret>({
    'another certificate': () => good('a', { facts: facts({ issuedAt: now }) }),
    'an expired credential': () => good('a', {}, 172_800),
    'a Secret changed by another client': () => good('a', { intact: false }),
    'a Secret without its annotations': () => good('a', { facts: undefined }),
    'a predecessor of the same name': () => good('a', { podUid: 'another' }),
  })) {
    test(`does not count a pod with ${what} as served`, () => {
      assert.equal(count({ pods: [podOf({ name: 'a' })], secrets: [secret()] }).issued, 0);
    });
  }

  test('counts what pods hold while the certificate is unusable, without a next renewal', () => {
    for (const certificate of [PENDING, refused('CertificateNotFound', 'create it')]) {
      const result = count({ pods: [podOf({ name: 'a' })], secrets: [good('a')], certificate });
      assert.equal(result.issued, 1);
      assert.equal(result.nextRenewal, undefined);
      assert.notEqual(result.earliestExpiry, undefined);
    }
  });

  test('has no next renewal where every credential lasts until the certificate expires', () => {
    const last = good('a');
    const ending = { ...last, facts: facts({ ...last.facts, expiresAt: latestExpiry(usable.certificate) }) };
    const result = count({ pods: [podOf({ name: 'a' })], secrets: [ending] });
    assert.deepEqual([result.issued, result.nextRenewal], [1, undefined]);
  });

  test('counts pods that cannot be served, with the reason for three', () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    const failed = Object.fromEntries(names.map((name) => [name, `${name} is taken`]));
    const result = count({ pods: [...names, 'fine'].map((name) => podOf({ name })), failed, secrets: [good('fine')] });
    assert.deepEqual([result.selected, result.issued, result.failed], [6, 1, 5]);
    assert.deepEqual(
      result.failures.map(({ message }) => message),
      ['a is taken', 'b is taken', 'c is taken'],
    );
  });

  test('shows the expiry of what a failing pod holds, and of what has expired: that is what a user must see', () => {
    const pods = [podOf({ name: 'late' }), podOf({ name: 'fine' })];
    const failing = count({
      pods,
      secrets: [good('late', {}, 100_000), good('fine')],
      failed: { late: 'the signer failed' },
    });
    assert.equal(failing.earliestExpiry, now - 100_000 + 172_800);
    assert.ok(failing.nextRenewal !== undefined && failing.nextRenewal < now);
    const { expiresAt = 0, renewAt = 0 } = good('late', {}, 100_000).facts ?? {};
    assert.equal(failing.renewalDeadline, (renewAt + expiresAt) / 2);
    assert.deepEqual([failing.issued, failing.failed], [1, 1]);
    const expired = count({ pods, secrets: [good('late', {}, 200_000), good('fine')] });
    assert.equal(expired.earliestExpiry, now - 200_000 + 172_800);
    assert.equal(expired.issued, 1);
  });

  test('counts a pod that holds two Secrets once', () => {
    const result = count({ pods: [podOf({ name: 'a' })], secrets: [good('a'), good('a', { name: 'old' })] });
    assert.equal(result.issued, 1);
  });
});

test('an event of one pod costs the same however many pods there are', () => {
  const costs = [10, 100, 1_000].map((number) => {
    const ground = new Ground();
    for (let index = 0; index < number; index += 1) {
      const pod = podOf({ name: `p${index}` });
      ground.membership.podChanged(ground.pods.set(pod), pod);
      ground.secrets.set(`edge/web/p${index}`, [good(`p${index}`)]);
    }
    const tally = ground.tally();
    assert.equal(tally.count({ resource: WEB, certificate: usable, now }).issued, number);
    [ground.pods.visits, ground.lookups] = [0, 0];
    ground.secrets.delete('edge/web/p7');
    tally.podChanged({ namespace: 'edge', resourceName: 'web', pod: 'p7' });
    assert.equal(tally.count({ resource: WEB, certificate: usable, now: now + 1 }).issued, number - 1);
    return ground.pods.visits + ground.lookups;
  });
  assert.deepEqual(costs, [2, 2, 2]);
});

test('pods that come and go while nothing is counted are not remembered one by one', () => {
  const ground = new Ground();
  const tally = ground.tally();
  tally.count({ resource: WEB, certificate: usable, now });
  for (let index = 0; index < 5_000; index += 1) {
    tally.podChanged({ namespace: 'edge', resourceName: 'web', pod: `gone-${index}` });
  }
  const pod = podOf({ name: 'a' });
  ground.membership.podChanged(ground.pods.set(pod), pod);
  tally.podChanged({ namespace: 'edge', resourceName: 'web', pod: 'a' });
  ground.pods.visits = 0;
  assert.equal(tally.count({ resource: WEB, certificate: usable, now }).selected, 1);
  assert.ok(ground.pods.visits < 10, `${ground.pods.visits} pods were read`);
});

type Event =
  | { readonly kind: 'pod'; readonly pod: Pod }
  | { readonly kind: 'pod gone'; readonly name: string }
  | { readonly kind: 'secrets'; readonly name: string; readonly secrets: readonly IssuedSecret[] }
  | { readonly kind: 'failure'; readonly name: string; readonly message: string | undefined }
  | { readonly kind: 'resource'; readonly resource: DelegatedCredentialResource }
  | { readonly kind: 'certificate'; readonly state: CertificateState }
  | { readonly kind: 'time'; readonly seconds: number }
  | { readonly kind: 'count' };

test('after any sequence of events, what was counted pod by pod equals a count of all', () => {
  fc.assert(
    fc.property(fc.array(anyEvent(), { maxLength: 60 }), (events) => {
      const ground = new Ground();
      const tally = ground.tally();
      const state = { resource: WEB, certificate: usable as CertificateState, now };
      for (const event of [...events, { kind: 'count' as const }]) {
        carryOut(event, ground, tally, state);
        if (event.kind === 'count') expectEqual(tally.count(state), ground.tally().count(state));
      }
    }),
    { numRuns: 1_000 },
  );
});

/** Which three failures are shown depends on their order, which does not matter. */
function expectEqual(counted: PodTally, whole: PodTally): void {
  const { failures, ...numbers } = counted;
  const { failures: expected, ...expectedNumbers } = whole;
  assert.deepEqual(numbers, expectedNumbers);
  assert.equal(failures.length, expected.length);
  for (const { message, pod } of failures) assert.equal(message, `${pod} is taken`);
}

function carryOut(
  event: Event,
  ground: Ground,
  tally: Tally,
  state: { resource: DelegatedCredentialResource; certificate: CertificateState; now: number },
): void {
  const changed = (pod: string) => tally.podChanged({ namespace: 'edge', resourceName: 'web', pod });
  switch (event.kind) {
    case 'pod':
      ground.membership.podChanged(ground.pods.set(event.pod), event.pod);
      changed(event.pod.name);
      return;
    case 'pod gone':
      ground.membership.podChanged(ground.pods.delete(event.name), undefined);
      changed(event.name);
      return;
    case 'secrets':
      ground.secrets.set(`edge/web/${event.name}`, event.secrets);
      changed(event.name);
      return;
    case 'failure': {
      const key = `edge/web/${event.name}`;
      if (event.message === undefined) ground.failed.delete(key);
      else ground.failed.set(key, event.message);
      changed(event.name);
      return;
    }
    case 'resource':
      state.resource = event.resource;
      ground.membership.setResource('edge', 'web', event.resource.spec.podSelector);
      return;
    case 'certificate':
      state.certificate = event.state;
      return;
    case 'time':
      state.now += event.seconds;
      return;
    case 'count':
  }
}

function anyEvent(): fc.Arbitrary<Event> {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
  const uid = fc.constantFrom('old', 'new');
  const pod = fc.record({
    name,
    uid,
    terminating: fc.boolean(),
    labels: fc.constantFrom({ app: 'web' }, { app: 'api' }, { app: 'web', 'dcred.dev/inject': 'web' }),
    injected: fc.constantFrom<readonly string[]>([], ['web']),
    secretNames: fc.constantFrom<Readonly<Record<string, string>>>({}, { web: 'web-x' }),
  });
  const secret = fc.record({
    podUid: uid,
    intact: fc.boolean(),
    hours: fc.integer({ min: 0, max: 48 }),
    isCurrent: fc.boolean(),
    hasFacts: fc.boolean(),
  });
  const secrets = fc.tuple(name, fc.array(secret, { maxLength: 2 })).map(([podName, list]) => ({
    kind: 'secrets' as const,
    name: podName,
    secrets: list.map(({ hasFacts, hours, intact, isCurrent, podUid }, index) =>
      good(podName, {
        name: `web-${podName}-${index}`,
        podUid,
        intact,
        facts: hasFacts
          ? facts({
              issuedAt: now - hours * 3_600,
              ...(isCurrent && {
                certificateSha256: usable.certificate.sha256,
                chainSha256: usable.certificate.chainSha256,
              }),
            })
          : undefined,
      }),
    ),
  }));
  const specs = [
    specOf({ podSelector: {} }),
    specOf({ podSelector: {}, renewBeforeSeconds: 3_600 }),
    specOf({ podSelector: { matchLabels: { app: 'web' } } }),
    specOf({}),
  ];
  const changedResource = fc
    .record({
      spec: fc.constantFrom(...specs),
      uid: fc.constantFrom('one', 'two'),
      renewRequestedAt: fc.constantFrom(undefined, Number.NaN, now - 3_600, now + 3_600),
    })
    .map(({ renewRequestedAt, spec, uid: resourceUid }) => {
      const made = resource({ spec, uid: resourceUid });
      return { ...made, metadata: { ...made.metadata, ...(renewRequestedAt !== undefined && { renewRequestedAt }) } };
    });
  const states = [usable, { ...usable }, PENDING, refused('CertificateNotFound', 'create it')];
  return fc.oneof(
    pod.map((parts) => ({ kind: 'pod' as const, pod: podOf(parts) })),
    name.map((podName) => ({ kind: 'pod gone' as const, name: podName })),
    secrets,
    fc.tuple(name, fc.boolean()).map(([podName, failed]) => ({
      kind: 'failure' as const,
      name: podName,
      message: failed ? `${podName} is taken` : undefined,
    })),
    changedResource.map((changed) => ({ kind: 'resource' as const, resource: changed })),
    fc.constantFrom(...states).map((state) => ({ kind: 'certificate' as const, state })),
    fc.integer({ min: -7_200, max: 86_400 }).map((seconds) => ({ kind: 'time' as const, seconds })),
    fc.constant({ kind: 'count' as const }),
  );
}
