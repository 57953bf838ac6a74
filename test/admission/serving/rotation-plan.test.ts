import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type ObservedRotation, planRotation, type SecretState } from '../../../src/admission/serving/rotation-plan.ts';
import type { ServingCertificate } from '../../../src/admission/serving/serving-certificate.ts';

const NOW = 1_000_000;
const DELAY = 30_000;

/** A certificate with its whole life before it; nothing here parses it. */
function certificate(id: string, issuedAt = NOW, lifetime = 900_000): ServingCertificate {
  return {
    authorityPem: `authority ${id}`,
    authorityId: id,
    certificatePem: `certificate ${id}`,
    keyPem: `key ${id}`,
    issuedAt,
    renewAt: issuedAt + (lifetime * 2) / 3,
    notAfter: issuedAt + lifetime,
  };
}

const usable = (one: ServingCertificate): SecretState => ({ kind: 'usable', certificate: one });
const [OLD, NEW] = [certificate('old'), certificate('new')];

function observed(parts: Partial<ObservedRotation> = {}): ObservedRotation {
  return {
    now: NOW,
    secret: usable(OLD),
    serving: OLD,
    trusted: new Map([['old', DELAY]]),
    trustDelayMs: DELAY,
    ...parts,
  };
}

test('nothing is done until renewal is due', () => {
  assert.deepEqual(planRotation(observed()), { wakeAt: OLD.renewAt });
});

describe('a certificate is issued', () => {
  for (const [what, parts, reason] of [
    ['when there is none', { secret: { kind: 'missing' } }, 'Missing'],
    ['when the existing one cannot be used', { secret: { kind: 'unusable', problem: 'x' } }, 'Unusable'],
    ['when a third of its life is left', { now: OLD.renewAt }, 'RenewalDue'],
  ] as const) {
    test(what, () => {
      const { issue, problem, serve } = planRotation(observed(parts));
      assert.equal(issue, reason);
      assert.deepEqual([problem, serve], [undefined, undefined], 'and the certificate in use stays');
    });
  }

  test("never over a Secret that is not the webhook's", () => {
    const { issue, problem } = planRotation(observed({ secret: { kind: 'foreign' }, serving: undefined }));
    assert.equal(issue, undefined);
    assert.match(
      problem ?? '',
      /with a type other than dcred\.dev\/webhook-certificate: delete it, or set another name/,
    );
  });
});

describe('a new certificate', () => {
  test('is first trusted, beside the one being served', () => {
    const { serve, trust, wakeAt } = planRotation(observed({ secret: usable(NEW) }));
    assert.deepEqual(trust, [NEW, OLD]);
    assert.deepEqual([serve, wakeAt], [undefined, NEW.renewAt]);
  });

  test('is not served before the API server has had time to load it', () => {
    const trusted = new Map([
      ['old', 1e9],
      ['new', DELAY - 1],
    ]);
    const { serve, trust, wakeAt } = planRotation(observed({ secret: usable(NEW), trusted }));
    assert.deepEqual([serve, trust, wakeAt], [undefined, undefined, NOW + 1]);
  });

  test('is served after that', () => {
    const trusted = new Map([
      ['old', 1e9],
      ['new', DELAY],
    ]);
    assert.equal(planRotation(observed({ secret: usable(NEW), trusted })).serve, NEW);
  });

  test('is served at once where no valid one is served, but the replica is not ready', () => {
    const expired = certificate('expired', 0, NOW);
    for (const serving of [undefined, expired]) {
      const { problem, serve, trust } = planRotation(observed({ secret: usable(NEW), serving }));
      assert.equal(serve, NEW);
      assert.deepEqual(trust, [NEW]);
      assert.match(problem ?? '', /does not contain the CA/);
    }
  });
});

describe('a replica is ready', () => {
  test('at once, when its CA is the only one: no other replica can answer', () => {
    const { problem } = planRotation(
      observed({ secret: usable(NEW), serving: undefined, trusted: new Map([['new', 0]]) }),
    );
    assert.equal(problem, undefined);
  });

  test('after the delay, when other CAs are trusted beside it', () => {
    const at = (seenMs: number) => {
      const trusted = new Map([
        ['old', 1e9],
        ['new', seenMs],
      ]);
      return planRotation(observed({ secret: usable(NEW), serving: NEW, trusted })).problem;
    };
    assert.match(at(0) ?? '', /waiting for the API server to load/);
    assert.equal(at(DELAY), undefined);
  });

  test('not while the configuration does not exist', () => {
    const { problem, trust } = planRotation(observed({ trusted: undefined }));
    assert.match(problem ?? '', /MutatingWebhookConfiguration does not exist: create it/);
    assert.equal(trust, undefined);
  });

  test('not while the bundle is cleared, which is fixed at once', () => {
    const { problem, trust } = planRotation(observed({ trusted: new Map() }));
    assert.match(problem ?? '', /does not contain the CA/);
    assert.deepEqual(trust, [OLD]);
  });
});

/**
 * Replicas whose watches lag differently, an API server that loads the bundle late but within the delay: in every order, no
 * handshake fails once the first one has succeeded.
 */
test('in every interleaving of replicas, what is served is trusted', () => {
  const step = fc.record({
    replica: fc.nat(2),
    ms: fc.nat(40_000),
    restart: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      let [now, serial] = [NOW, 0];
      let secret: ServingCertificate | undefined;
      /** When each authority was first trusted. The API server's lag stays below the delay: it sees a change after half of it. */
      const bundle = new Map<string, number>();
      const replicas = Array.from({ length: 3 }, () => ({
        serving: undefined as ServingCertificate | undefined,
        seen: new Map<string, number>(),
        ready: false,
      }));
      for (const { ms, replica: index, restart } of steps) {
        now += ms;
        const replica = replicas[index];
        if (replica === undefined) continue;
        if (restart) Object.assign(replica, { serving: undefined, seen: new Map(), ready: false });
        for (const id of bundle.keys()) if (!replica.seen.has(id)) replica.seen.set(id, now);
        const trusted = new Map([...replica.seen].map(([id, since]) => [id, now - since]));
        const state: SecretState = secret === undefined ? { kind: 'missing' } : usable(secret);
        const decision = planRotation({ now, secret: state, serving: replica.serving, trusted, trustDelayMs: DELAY });
        if (decision.serve !== undefined) replica.serving = decision.serve;
        if (decision.issue !== undefined) {
          serial += 1;
          secret = certificate(`c${serial}`, now, 600_000);
        }
        for (const { authorityId } of decision.trust ?? []) if (!bundle.has(authorityId)) bundle.set(authorityId, now);
        replica.ready = decision.problem === undefined;
        const served = replica.serving;
        if (!replica.ready || served === undefined) continue;
        assert.ok(served.notAfter > now, 'an expired certificate is served as ready');
        const since = bundle.get(served.authorityId);
        assert.ok(since !== undefined, 'an authority is served that is not trusted');
        const isAlone = bundle.size === 1;
        assert.ok(isAlone || now - since >= DELAY / 2, 'the API server cannot have loaded it yet');
      }
    }),
  );
});
