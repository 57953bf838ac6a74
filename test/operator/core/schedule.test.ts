import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { maxRetryDelayMs, type Renewal, renewalTime } from '../../../src/operator/core/schedule.ts';
import { NOW } from '../../../testing/support/builders.ts';

const MIN = 60;
const MAX = 601_200;

/** When each of a fleet's pods is renewed, as a share of the credential's own life, sorted. */
function shares(renewal: Omit<Renewal, 'podUid'>, pods = 4_000): readonly number[] {
  const life = renewal.expiresAt - renewal.issuedAt;
  return Array.from({ length: pods }, (_, index) => {
    return (renewalTime({ ...renewal, podUid: `3f1c-${index}` }) - renewal.issuedAt) / life;
  }).sort((a, b) => a - b);
}

function lifeOf(seconds: number, renewBeforeSeconds?: number): Omit<Renewal, 'podUid'> {
  return { issuedAt: NOW, expiresAt: NOW + seconds, lifetimeSeconds: seconds, renewBeforeSeconds };
}

/** Uniform over [from, to]: no tenth of the window holds much more or less than a tenth of the pods. */
function assertSpread(sorted: readonly number[], from: number, to: number, grain: number): void {
  assert.ok((sorted.at(0) ?? 0) >= from - grain, `the earliest is at ${sorted.at(0)}`);
  assert.ok((sorted.at(-1) ?? 1) <= to + grain, `the last is at ${sorted.at(-1)}`);
  for (let tenth = 0; tenth < 10; tenth += 1) {
    const [low, high] = [from + ((to - from) * tenth) / 10, from + ((to - from) * (tenth + 1)) / 10];
    const share = sorted.filter((at) => at >= low && at < high).length / sorted.length;
    assert.ok(Math.abs(share - 0.1) < 0.025, `${(share * 100).toFixed(1)} % fall between ${low} and ${high}`);
  }
}

describe('the renewal time', () => {
  test('is strictly within the life, whatever is configured and however short the certificate has made it', () => {
    fc.assert(
      fc.property(anyRenewal(), (renewal) => {
        const at = renewalTime(renewal);
        assert.ok(Number.isInteger(at));
        assert.ok(at > renewal.issuedAt && at < renewal.expiresAt);
      }),
      { numRuns: 5_000 },
    );
  });

  test('is the same every time', () => {
    fc.assert(fc.property(anyRenewal(), (renewal) => renewalTime(renewal) === renewalTime({ ...renewal })));
  });

  test('lies within a tenth of the life around the configured point, where the life has room for that', () => {
    fc.assert(
      fc.property(anyRenewal(), (renewal) => {
        const { issuedAt, expiresAt, lifetimeSeconds, renewBeforeSeconds = lifetimeSeconds / 2 } = renewal;
        const life = expiresAt - issuedAt;
        const point = expiresAt - (renewBeforeSeconds * life) / lifetimeSeconds;
        fc.pre(point - issuedAt >= 0.15 * life && expiresAt - point >= 0.15 * life);
        assert.ok(Math.abs(renewalTime(renewal) - point) <= 0.1 * life + 1);
      }),
      { numRuns: 2_000 },
    );
  });

  test('is never in the first or last twentieth of the life', () => {
    fc.assert(
      fc.property(anyRenewal(), (renewal) => {
        const margin = (renewal.expiresAt - renewal.issuedAt) / 20;
        const at = renewalTime(renewal);
        assert.ok(at >= Math.floor(renewal.issuedAt + margin) && at <= renewal.expiresAt - margin);
      }),
    );
  });

  test('is half of the life by default, a fleet spread over a fifth of it', () => {
    assertSpread(shares(lifeOf(172_800)), 0.4, 0.6, 0.0001);
  });

  test('spreads the shortest and the longest life as well', () => {
    assertSpread(shares(lifeOf(MAX)), 0.4, 0.6, 0.0001);
    assertSpread(shares(lifeOf(6_000)), 0.4, 0.6, 0.001);
    const shortest = shares(lifeOf(MIN));
    assert.ok((shortest.at(0) ?? 0) >= 0.4 && (shortest.at(-1) ?? 1) <= 0.6);
    assert.equal(new Set(shortest).size, 12, 'every second of twelve is used');
  });

  test('follows renewBeforeSeconds', () => {
    assertSpread(shares(lifeOf(100_000, 25_000)), 0.65, 0.85, 0.0001);
    assertSpread(shares(lifeOf(100_000, 70_000)), 0.2, 0.4, 0.0001);
  });

  test('keeps a fleet spread where the window would extend beyond the life', () => {
    assertSpread(shares(lifeOf(100_000, 99_999)), 0.05, 0.1, 0.0002);
    assertSpread(shares(lifeOf(100_000, 1)), 0.9, 0.95, 0.0002);
  });

  test('of 60 s renewed 59 s before the end leaves time between renewals', () => {
    const all = shares(lifeOf(MIN, 59));
    assert.ok((all.at(0) ?? 0) * MIN >= 3);
    assert.ok((all.at(-1) ?? 1) * MIN <= 7);
  });

  test('of 60 s renewed 1 s before the end leaves time to retry', () => {
    const all = shares(lifeOf(MIN, 1));
    assert.ok((all.at(0) ?? 0) * MIN >= 53);
    assert.ok((all.at(-1) ?? 1) * MIN <= 57);
  });

  test('scales with the life where the certificate has cut it short', () => {
    const cut = { issuedAt: NOW, expiresAt: NOW + 1_000, lifetimeSeconds: 100_000, renewBeforeSeconds: 25_000 };
    assertSpread(shares(cut), 0.65, 0.85, 0.002);
  });

  test('stays at the configured distance from the end where a life is longer than configured', () => {
    const longer = { issuedAt: NOW, expiresAt: NOW + 100_000, lifetimeSeconds: 60_000, renewBeforeSeconds: 30_000 };
    assertSpread(shares(longer), 0.6, 0.8, 0.0002);
  });

  test('does not depend on the moment of issue, so that a pod keeps its place in the fleet', () => {
    const first = renewalTime({ ...lifeOf(6_000), podUid: 'pod' });
    const later = renewalTime({ ...lifeOf(6_000), issuedAt: NOW + 5_000, expiresAt: NOW + 11_000, podUid: 'pod' });
    assert.equal(later - first, 5_000);
  });

  test('of a life of zero seconds is its start', () => {
    assert.equal(renewalTime({ issuedAt: NOW, expiresAt: NOW, lifetimeSeconds: 60, podUid: 'pod' }), NOW);
  });
});

describe('the longest delay between retries', () => {
  test('is a twentieth of the life, and five minutes at most', () => {
    assert.equal(maxRetryDelayMs(60), 3_000);
    assert.equal(maxRetryDelayMs(3_600), 180_000);
    assert.equal(maxRetryDelayMs(6_000), 300_000);
    assert.equal(maxRetryDelayMs(MAX), 300_000);
  });
});

function anyRenewal(): fc.Arbitrary<Renewal> {
  const seconds = fc.oneof(fc.constantFrom(MIN, 61, 100, 3_600, MAX), fc.integer({ min: MIN, max: MAX }));
  return fc
    .record({
      podUid: fc.uuid(),
      lifetimeSeconds: seconds,
      // 1: as configured. Less: the certificate ends first, though never in less than a minute.
      cut: fc.oneof(fc.constant(1), fc.double({ min: 0, max: 1, noNaN: true })),
      before: fc.oneof(fc.constant(undefined), fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true })),
      issuedAt: fc.integer({ min: NOW, max: NOW + 10_000_000 }),
    })
    .map(({ before, cut, issuedAt, lifetimeSeconds, podUid }) => ({
      podUid,
      issuedAt,
      lifetimeSeconds,
      expiresAt: issuedAt + Math.max(MIN, Math.round(lifetimeSeconds * cut)),
      renewBeforeSeconds: before === undefined ? undefined : 1 + Math.round(before * (lifetimeSeconds - 2)),
    }));
}
