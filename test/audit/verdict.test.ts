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
  const subject = { pod: 'edge/web-0', resource: 'web' };
  return { subject, facts: secret, graceSeconds: GRACE, now: NOW, holderOf: () => undefined, ...overrides };
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
const otherPods = () => ({ pod: 'edge/web-1', resource: 'web' });
const otherResources = () => ({ pod: 'edge/web-0', resource: 'mail' });
/** The Secret held it when the audit began. */
const formerOwn = () => ({ pod: 'edge/web-0', resource: 'web' });
const refused = { problems: ['the credential expired at 2027-01-15T07:00:00Z'] };

const CASES: readonly (readonly [string, AuditState, Probed, Partial<ExpectedCredential>])[] = [
  ["the Secret's credential", 'current', served(), {}],
  [
    "the Secret's credential, which a Secret of another resource claims",
    'current',
    served(),
    { holderOf: otherResources },
  ],
  ["the Secret's credential, which another pod's Secret claims", 'current', served(), { holderOf: otherPods }],
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
  ['the credential of another pod', 'other', served({ credential: earlier }), { holderOf: otherPods }],
  [
    'the credential of another pod, within the grace',
    'other',
    served({ credential: earlier }),
    { facts: justIssued, holderOf: otherPods },
  ],
  ["the pod's credential of another resource", 'other', served({ credential: later }), { holderOf: otherResources }],
  [
    "the pod's credential of another resource, within the grace",
    'other',
    served({ credential: later }),
    { facts: justIssued, holderOf: otherResources },
  ],
  [
    "the pod's credential of another resource, of another leaf",
    'other',
    served({ credential: later, certificateSha256: 'b2'.repeat(32) }),
    { holderOf: otherResources },
  ],
  [
    'what the Secret held when the audit began, within the grace',
    'updating',
    served({ credential: earlier }),
    { facts: justIssued, holderOf: formerOwn },
  ],
  ['what the Secret held when the audit began', 'stale', served({ credential: earlier }), { holderOf: formerOwn }],
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

test('no pod is said to serve the key of another one, but for one that does', () => {
  const messageOf = (holderOf: ExpectedCredential['holderOf']) =>
    verdictOf(served({ credential: later }), expected({ holderOf })).message;
  assert.match(messageOf(otherPods), /^serves the credential of pod edge\/web-1 \(DelegatedCredential web\): two pods/);
  assert.doesNotMatch(messageOf(formerOwn), /edge\/web-0|two pods/);
  assert.doesNotMatch(messageOf(otherResources), /two pods/);
  assert.match(
    messageOf(otherResources),
    /DelegatedCredential mail .* the annotation port\.dcred\.dev\/web of the pod/,
  );
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
