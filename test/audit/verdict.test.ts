import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  type AuditState,
  type ExpectedCredential,
  FINDINGS,
  isFinding,
  type Probed,
  type Served,
  verdictOf,
} from '../../src/audit/verdict.ts';
import { facts, LIFETIME, NOW, SHA256 } from '../../testing/support/builders.ts';

const secret = facts({ issuedAt: NOW - 3600 });
const GRACE = 180;

function expected(overrides: Partial<ExpectedCredential> = {}): ExpectedCredential {
  return { facts: secret, graceSeconds: GRACE, now: NOW, holderOf: () => undefined, ...overrides };
}

/** What the Secret holds, changed by what is passed. */
function served(overrides: Partial<Served> = {}): Probed {
  return {
    reached: true,
    served: {
      certificateSha256: SHA256,
      certificateNotAfter: NOW + 40 * LIFETIME,
      credential: { sha256: secret.credentialSha256 ?? '', expiresAt: secret.expiresAt },
      problems: [],
      ...overrides,
    },
  };
}

const earlier = { sha256: 'e'.repeat(64), expiresAt: secret.expiresAt - 1 };
const later = { sha256: 'f'.repeat(64), expiresAt: secret.expiresAt + 1 };
const justIssued = facts({ issuedAt: NOW - GRACE + 1, expiresAt: secret.expiresAt });
const unhashed = facts({ issuedAt: NOW - 3600, credentialSha256: undefined });
const refused = { problems: ['the credential expired at 2027-01-15T07:00:00Z'] };

const CASES: readonly (readonly [string, AuditState, Probed, Partial<ExpectedCredential>])[] = [
  ["the Secret's credential", 'current', served(), {}],
  ['an earlier credential', 'stale', served({ credential: earlier }), {}],
  [
    'an earlier credential, shortly after the re-issue',
    'updating',
    served({ credential: earlier }),
    { facts: justIssued },
  ],
  ['none, shortly after the first issue', 'updating', served({ credential: undefined }), { facts: justIssued }],
  [
    'another leaf, shortly after the re-issue',
    'updating',
    served({ certificateSha256: 'b2'.repeat(32) }),
    { facts: justIssued },
  ],
  ["one that expires later than the Secret's", 'other', served({ credential: later }), {}],
  ['the credential of another pod', 'other', served({ credential: earlier }), { holderOf: () => 'edge/web-1' }],
  [
    'the credential of another pod, within the grace',
    'other',
    served({ credential: earlier }),
    { facts: justIssued, holderOf: () => 'edge/web-1' },
  ],
  ['no credential', 'none', served({ credential: undefined }), {}],
  ['another leaf', 'wrong-leaf', served({ certificateSha256: 'b2'.repeat(32) }), {}],
  [
    'another leaf and no credential',
    'wrong-leaf',
    served({ certificateSha256: 'b2'.repeat(32), credential: undefined }),
    {},
  ],
  ["the Secret's, which has expired", 'invalid', served(refused), {}],
  [
    'an earlier one that has expired, within the grace',
    'invalid',
    served({ ...refused, credential: earlier }),
    { facts: justIssued },
  ],
  ['nothing', 'unreachable', { reached: false, code: 'ECONNREFUSED', message: 'cannot connect' }, {}],
  ['anything, without a Secret', 'no-secret', served(), { facts: undefined }],
  ['what a Secret of an older dcred holds, by its expiry', 'current', served(), { facts: unhashed }],
  ['what it does not hold, by its expiry', 'stale', served({ credential: earlier }), { facts: unhashed }],
];

describe('a server that serves', () => {
  for (const [what, state, probed, change] of CASES) {
    test(`${what} is ${state}`, () => {
      const verdict = verdictOf(probed, expected(change));
      assert.equal(verdict.state, state);
      assert.notEqual(verdict.message, '');
    });
  }

  test('every state that is a finding occurs above, but for a pod without a port', () => {
    const occurring = new Set<AuditState>(CASES.map(([, state]) => state));
    assert.deepEqual(
      FINDINGS.filter((state) => !occurring.has(state)),
      ['no-port'],
    );
  });
});

test('whatever is served, only what the Secret holds is current, and nothing that clients refuse passes', () => {
  const hash = fc.constantFrom(SHA256, secret.credentialSha256 ?? '', 'b2'.repeat(32), 'e'.repeat(64));
  const input = fc.record({
    certificateSha256: hash,
    credential: fc.option(
      fc.record({ sha256: hash, expiresAt: fc.integer({ min: NOW - LIFETIME, max: NOW + LIFETIME }) }),
      {
        nil: undefined,
      },
    ),
    problems: fc.array(fc.constant('refused'), { maxLength: 1 }),
    age: fc.nat({ max: 400 }),
  });
  fc.assert(
    fc.property(input, ({ age, ...shown }) => {
      const { state } = verdictOf(served(shown), expected({ facts: { ...secret, issuedAt: NOW - age } }));
      const isSecrets = shown.certificateSha256 === SHA256 && shown.credential?.sha256 === secret.credentialSha256;
      if (shown.credential !== undefined && shown.problems.length > 0) assert.equal(state, 'invalid');
      else if (isSecrets) assert.equal(state, 'current');
      else assert.equal(isFinding(state), age >= GRACE, state);
    }),
  );
});
