import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import type { IssuedSecret } from '../../src/issued-secret/issued-secret.ts';
import { podKeyOf } from '../../src/issued-secret/issued-secret.ts';
import type { Caches } from '../../src/operator/caches.ts';
import { type CertificateState, latestExpiry, PENDING, refused } from '../../src/operator/core/certificate-state.ts';
import { Membership } from '../../src/operator/core/membership.ts';
import type { Pod } from '../../src/operator/core/pod.ts';
import type { PodFailures } from '../../src/operator/pod-failure.ts';
import { type TallyInput, tallyPods } from '../../src/operator/tally.ts';
import { delegation, facts, issuedSecret, podOf, resource } from '../../testing/support/builders.ts';

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

/** The caches and the failures are fakes: tables of what is given. */
function count({ certificate = usable, failed = {}, pods, secrets = [] }: World) {
  const membership = new Membership();
  membership.setResource('edge', 'web', {}, pods);
  const caches = {
    pods: { get: (_namespace: string, name: string) => pods.find((pod) => pod.name === name) },
    secrets: {
      byIndex: (_namespace: string, _index: string, key: string) =>
        secrets.filter((secret) => podKeyOf(secret) === key).map((issued) => ({ issued })),
    },
  } as unknown as Caches;
  const failureOf = (key: string) => {
    const message = failed[key.replace('edge/web/', '')];
    return message === undefined ? undefined : ({ message } as ReturnType<PodFailures['failureOf']>);
  };
  const input: TallyInput = {
    caches,
    membership,
    failures: { failureOf } as PodFailures,
    resource: resource(),
    certificate,
    now,
  };
  return tallyPods(input);
}

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
    'a Secret changed by another hand': () => good('a', { intact: false }),
    'a Secret that does not say it all': () => good('a', { facts: undefined }),
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

  test('shows the expiry of what a failing pod holds, and of what has expired: that is when somebody must see it', () => {
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
