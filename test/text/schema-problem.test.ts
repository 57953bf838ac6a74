/** What is wrong with a resource that an older or patched CRD let pass, in dcred's own words. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isReadable, readDelegatedCredential } from '../../src/api/read.ts';
import { isReadableGrant, readDelegationGrant } from '../../src/api/read-grant.ts';
import { IssuerError, readIssuer } from '../../src/issuer/issuers.ts';
import { ProtocolError, parseFollowCall, parseSignCall, parseWithdrawalsCall } from '../../src/signer/protocol.ts';
import { mutationsOf } from '../../testing/support/mutations.ts';
import { assertOwnWords } from './own-words.ts';

const metadata = { name: 'web', namespace: 'edge', uid: 'u', resourceVersion: '1' };

function issuerProblem(kind: 'DelegationIssuer' | 'ClusterDelegationIssuer', spec: unknown): string | undefined {
  try {
    readIssuer({ metadata, spec } as object as Parameters<typeof readIssuer>[0], kind, 'dcred-system');
    return undefined;
  } catch (error) {
    assert.ok(error instanceof IssuerError, String(error));
    return error.message;
  }
}

const SPECS = {
  DelegatedCredential: {
    valid: {
      certificateRef: { name: 'web-tls', namespace: 'vault' },
      podSelector: { matchLabels: { app: 'web' }, matchExpressions: [{ key: 'a', operator: 'In', values: ['b'] }] },
      usage: 'Server',
      keyAlgorithm: 'ECDSAP256',
      lifetimeSeconds: 3_600,
      renewBeforeSeconds: 60,
      secretTemplate: { labels: { a: 'b' }, annotations: { c: 'd' } },
      suspend: false,
    },
    problem: (spec: unknown) => {
      const read = readDelegatedCredential({ metadata, spec });
      return isReadable(read) ? undefined : read.problem;
    },
  },
  DelegationGrant: {
    valid: {
      certificateRef: { name: 'web-tls' },
      from: [{ namespace: 'edge' }, { namespaceSelector: { matchLabels: { tier: 'edge' } } }, { cluster: 'eu' }],
      usages: ['Server'],
      maxLifetimeSeconds: 3_600,
      maxPods: 5,
      onWithdraw: 'Keep',
    },
    problem: (spec: unknown) => {
      const read = readDelegationGrant({ metadata, spec });
      return isReadableGrant(read) ? undefined : read.problem;
    },
  },
  DelegationIssuer: {
    valid: { ca: { secretName: 'web-ca' }, dnsNames: ['web.example'], maxDurationSeconds: 3_600 },
    problem: (spec: unknown) => issuerProblem('DelegationIssuer', spec),
  },
  ClusterDelegationIssuer: {
    valid: { ca: { secretName: 'web-ca', keyName: 'edge' } },
    problem: (spec: unknown) => issuerProblem('ClusterDelegationIssuer', spec),
  },
} as const;

describe('what is wrong with the spec', () => {
  for (const [kind, { problem, valid }] of Object.entries(SPECS)) {
    test(`of a ${kind} with any change is in dcred's words, with the field`, () => {
      assert.equal(problem(valid), undefined);
      fc.assert(
        fc.property(mutationsOf(valid), ({ value }) => {
          const message = problem(value);
          if (message === undefined) return;
          assertOwnWords(message);
          assert.match(message, /^spec[.:[]/);
        }),
        { numRuns: 150 },
      );
    });
  }

  const { valid, problem } = SPECS.DelegatedCredential;
  for (const [what, change, expected] of [
    ['a rule over one field', { lifetimeSeconds: 1 }, /^spec\.lifetimeSeconds: lifetimeSeconds must be /],
    ['a rule over two fields', { renewBeforeSeconds: 3_600 }, /^spec: renewBeforeSeconds must be /],
    [
      'a misspelt word',
      { usage: 'Sever' },
      'spec.usage: expected one of Server or Client, found "Sever"; did you mean Server?',
    ],
    ['text in place of a boolean', { suspend: 'yes' }, 'spec.suspend: expected true or false, found text'],
    [
      'an empty name',
      { certificateRef: { name: '' } },
      'spec.certificateRef.name: expected at least 1 character, found empty text',
    ],
    [
      'a long name',
      { certificateRef: { name: 'a'.repeat(300) } },
      'spec.certificateRef.name: expected at most 253 characters, found 300',
    ],
    [
      'a long key',
      { podSelector: { matchLabels: { ['k'.repeat(9_000)]: 'v' } } },
      /^spec\.podSelector\.matchLabels\.k+\.\.\.: expected /,
    ],
  ] as const) {
    test(`${what} is named`, () => {
      const message = problem({ ...valid, ...change });
      if (typeof expected === 'string') assert.equal(message, expected);
      else assert.match(message ?? '', expected);
    });
  }

  test('with many problems lists three, and how many more there are', () => {
    const message = SPECS.DelegationIssuer.problem({ ca: {}, dnsNames: [1, 2, 3, 4] });
    assert.match(message ?? '', /^spec\.ca\.secretName: .*found nothing: add it; .*; and 2 more: correct it$/);
  });
});

describe('what is wrong with a call to the signer', () => {
  const call = { certificate: 'shop/web', namespace: 'edge', usage: 'Server' };
  const CALLS = [
    [
      parseSignCall,
      {
        requests: [
          {
            ...call,
            dcCertVerifyAlgorithm: 1027,
            subjectPublicKeyInfo: 'AAAA',
            expiresAt: 1,
            resource: 'web',
            podUid: 'u',
          },
        ],
      },
    ],
    [parseFollowCall, { known: [{ certificate: 'shop/web', namespace: 'edge', version: 'v' }], waitSeconds: 5 }],
    [parseWithdrawalsCall, { uses: [{ ...call, leafSha256: 'a1'.repeat(32) }] }],
  ] as const;
  for (const [parse, valid] of CALLS) {
    test(`that ${parse.name} reads is in dcred's words, and quotes nothing`, () => {
      parse(JSON.stringify(valid));
      fc.assert(
        fc.property(mutationsOf(valid), ({ value }) => {
          try {
            parse(JSON.stringify(value) ?? '');
          } catch (error) {
            assert.ok(error instanceof ProtocolError, String(error));
            assertOwnWords(error.message);
            assert.ok(error.message.length < 400, error.message);
            assert.doesNotMatch(error.message, /found/);
          }
        }),
        { numRuns: 150 },
      );
    });
  }
});
