import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { type DelegatedCredentialStatus, statusSchema } from '../../../src/api/delegated-credential.ts';
import { type CertificateState, PENDING, refused } from '../../../src/operator/core/certificate-state.ts';
import {
  type PodTally,
  type ReadyReason,
  resourceStatus,
  type StatusInput,
  unreadableStatus,
} from '../../../src/operator/core/status.ts';
import { delegation, specOf } from '../../../testing/support/builders.ts';

let usable: Extract<CertificateState, { kind: 'usable' }>;
let now: number;

before(() => {
  const { certificate, signer } = delegation();
  usable = { kind: 'usable', certificate, signer };
  now = certificate.notBefore + 86_400;
});

function tally(overrides: Partial<PodTally> = {}): PodTally {
  return {
    selected: 3,
    issued: 3,
    failed: 0,
    failures: [],
    notInjected: 0,
    earliestExpiry: now + 90_000,
    renewalDeadline: now + 65_000,
    nextRenewal: now + 40_000,
    ...overrides,
  };
}

function statusOf(overrides: Partial<StatusInput> = {}): DelegatedCredentialStatus {
  return resourceStatus({
    spec: specOf(),
    generation: 3,
    previous: {},
    certificate: usable,
    pods: tally(),
    now,
    ...overrides,
  });
}

function ready({ conditions }: DelegatedCredentialStatus) {
  const found = conditions?.filter(({ type }) => type === 'Ready') ?? [];
  assert.equal(found.length, 1);
  const [condition] = found;
  assert.ok(condition !== undefined);
  return condition;
}

type Row = readonly [
  what: string,
  input: () => Partial<StatusInput>,
  status: 'True' | 'False',
  reason: ReadyReason,
  message: RegExp,
];

const failures = ['a', 'b', 'c'].map((pod) => ({ pod, message: 'the name is taken' }));

const TABLE: readonly Row[] = [
  ['all pods served', () => ({}), 'True', 'Issued', /^3 pods hold a credential of the current certificate$/],
  [
    'one pod served',
    () => ({ pods: tally({ selected: 1, issued: 1 }) }),
    'True',
    'Issued',
    /^1 pod holds a credential/,
  ],
  ['some pods not yet served', () => ({ pods: tally({ issued: 1 }) }), 'False', 'Issuing', /^1 of 3 pods hold/],
  [
    'the certificate not yet read',
    () => ({ certificate: PENDING }),
    'False',
    'Issuing',
    /^reading the certificate Secret$/,
  ],
  [
    'no pods, by injection',
    () => ({ pods: tally({ selected: 0, issued: 0 }) }),
    'True',
    'NoPods',
    /^no pods selected: no running pod in this namespace has the label dcred\.dev\/inject=<name of this resource>$/,
  ],
  [
    'no pods, by a selector',
    () => ({ spec: specOf({ podSelector: { matchLabels: { app: 'x' } } }), pods: tally({ selected: 0, issued: 0 }) }),
    'True',
    'NoPods',
    /spec\.podSelector matches no running pod/,
  ],
  [
    'suspended',
    () => ({ spec: specOf({ suspend: true }) }),
    'False',
    'Suspended',
    /^spec\.suspend is true: nothing is/,
  ],
  [
    'suspended, whatever else',
    () => ({ spec: specOf({ suspend: true }), certificate: refused('CertificateNotFound', 'create it') }),
    'False',
    'Suspended',
    /spec\.suspend/,
  ],
  [
    'pods that cannot be served',
    () => ({ pods: tally({ issued: 1, failed: 2, failures: failures.slice(0, 2) }) }),
    'False',
    'PodsFailed',
    /^2 of 3 pods cannot be served: a: the name is taken; b: the name is taken$/,
  ],
  [
    'more pods that cannot be served than the message lists',
    () => ({ pods: tally({ selected: 90, issued: 0, failed: 80, failures }) }),
    'False',
    'PodsFailed',
    /^80 of 90 pods .*; c: the name is taken; and 77 more$/,
  ],
  ...(
    [
      'CertificateNotFound',
      'CertificateNotPermitted',
      'CertificateInvalid',
      'CertificateCannotDelegate',
      'CertificateKeyUnsupported',
    ] as const
  ).map(
    (reason): Row => [
      `a certificate refused as ${reason}`,
      () => ({ certificate: refused(reason, `do something about ${reason}`) }),
      'False',
      reason,
      new RegExp(`^do something about ${reason}$`),
    ],
  ),
];

describe('the Ready condition', () => {
  for (const [what, input, status, reason, message] of TABLE) {
    test(`with ${what} is ${status}, ${reason}`, () => {
      const condition = ready(statusOf(input()));
      assert.deepEqual([condition.status, condition.reason], [status, reason]);
      assert.match(condition.message, message);
      assert.equal(condition.observedGeneration, 3);
    });
  }

  test('of a spec that cannot be read says what to correct, and leaves the rest as it was', () => {
    const previous = statusOf();
    const status = unreadableStatus('spec.usage: expected one of Server, Client', 4, previous, now + 5);
    const condition = ready(status);
    assert.deepEqual([condition.status, condition.reason], ['False', 'SpecInvalid']);
    assert.match(
      condition.message,
      /\(spec\.usage: expected one of Server, Client\): correct it; nothing is issued or deleted/,
    );
    assert.equal(status.observedGeneration, 4);
    assert.deepEqual(status.pods, previous.pods);
    assert.deepEqual(status.certificate, previous.certificate);
  });

  test('moves its lastTransitionTime only when its status does', () => {
    const first = statusOf();
    const issuing = statusOf({ previous: first, pods: tally({ issued: 1 }), now: now + 10 });
    assert.notEqual(ready(issuing).lastTransitionTime, ready(first).lastTransitionTime);
    const failed = statusOf({ previous: issuing, pods: tally({ issued: 1, failed: 2, failures }), now: now + 20 });
    assert.equal(ready(failed).reason, 'PodsFailed');
    assert.equal(ready(failed).lastTransitionTime, ready(issuing).lastTransitionTime);
    const good = statusOf({ previous: failed, now: now + 30 });
    assert.equal(Date.parse(ready(good).lastTransitionTime) / 1000, now + 30);
  });

  test("leaves other clients' conditions alone", () => {
    const theirs = {
      type: 'Approved',
      status: 'True' as const,
      reason: 'Yes',
      message: '',
      lastTransitionTime: '2027-01-01T00:00:00Z',
    };
    const { conditions } = statusOf({ previous: { conditions: [theirs] } });
    assert.deepEqual(
      conditions?.map(({ type }) => type),
      ['Approved', 'Ready', 'Injected'],
    );
    assert.deepEqual(conditions[0], theirs);
  });
});

describe('the status', () => {
  test('is equal for equal observations, so that it is written once', () => {
    const first = statusOf();
    assert.deepEqual(statusOf({ previous: first, now: now + 1_000 }), first);
  });

  test('describes the certificate', () => {
    const { certificate } = usable;
    assert.deepEqual(statusOf().certificate, {
      sha256: certificate.sha256,
      name: 'CN=web.example',
      subject: 'CN=web.example',
      dnsNames: ['web.example', '*.web.example'],
      notAfter: new Date(certificate.notAfter * 1000).toISOString().replace('.000Z', 'Z'),
      keyAlgorithm: 'ECDSAP256',
    });
  });

  test('names a leaf without a subject by its first DNS name', () => {
    const unnamed = { ...usable, certificate: { ...usable.certificate, subject: '' } };
    assert.equal(statusOf({ certificate: unnamed }).certificate?.name, 'web.example');
    const nameless = { ...usable, certificate: { ...usable.certificate, subject: '', dnsNames: [] } };
    assert.equal(statusOf({ certificate: nameless }).certificate?.name, '');
  });

  test('keeps the facts of a certificate that is gone: the pods still hold its credentials', () => {
    const previous = statusOf();
    const status = statusOf({ previous, certificate: refused('CertificateNotFound', 'create it') });
    assert.deepEqual(status.certificate, previous.certificate);
  });

  test('counts pods, and has the next expiry and renewal where there are any', () => {
    const { earliestExpiryTime, nextRenewalTime, pods } = statusOf();
    assert.deepEqual(pods, { selected: 3, issued: 3, failed: 0 });
    assert.equal(Date.parse(earliestExpiryTime ?? '') / 1000, now + 90_000);
    assert.equal(Date.parse(nextRenewalTime ?? '') / 1000, now + 40_000);
    const none = statusOf({ pods: tally({ earliestExpiry: undefined, nextRenewal: undefined }) });
    assert.ok(!('earliestExpiryTime' in none) && !('nextRenewalTime' in none));
  });

  for (const [what, input] of TABLE) {
    test(`fits the schema with ${what}`, () => {
      const status = statusOf(input());
      assert.deepEqual(statusSchema.parse(JSON.parse(JSON.stringify(status))), JSON.parse(JSON.stringify(status)));
    });
  }
});

describe('a certificate that expires before a whole lifetime', () => {
  const late = () => usable.certificate.notAfter - 100_000;

  for (const [what, pods] of [
    ['with pods', {}],
    ['without', { selected: 0, issued: 0 }],
    ['with pods that failed', { failed: 1, failures: failures.slice(0, 1) }],
    ['with pods that wait', { issued: 2 }],
  ] as const) {
    test(`is mentioned in the condition, ${what}`, () => {
      const { message } = ready(statusOf({ now: late(), pods: tally(pods) }));
      assert.match(
        message,
        /; the certificate expires at .*Z and no credential can outlive it: renew the certificate$/,
      );
    });
  }

  test('is mentioned in the same words every second, so that the status is not rewritten', () => {
    const first = statusOf({ now: late() });
    assert.deepEqual(statusOf({ previous: first, now: late() + 60 }).conditions, first.conditions);
  });
});

describe('the wave of a new leaf', () => {
  const old = { sha256: '0'.repeat(64) };

  test('is shown from the first status that knows the leaf to the last pod', () => {
    const first = statusOf({ previous: { certificate: old }, pods: tally({ issued: 0 }) });
    assert.deepEqual([first.reissue?.updated, first.reissue?.total], [0, 3]);
    const second = statusOf({ previous: first, pods: tally({ issued: 2 }), now: now + 5 });
    assert.deepEqual(second.reissue, { updated: 2, total: 3, startTime: first.reissue?.startTime });
    assert.equal(statusOf({ previous: second }).reissue, undefined);
  });

  test('does not wait for pods that cannot be served, and goes on while the certificate cannot be read', () => {
    const first = statusOf({ previous: { certificate: old }, pods: tally({ issued: 0 }) });
    assert.equal(statusOf({ previous: first, pods: tally({ issued: 2, failed: 1 }) }).reissue, undefined);
    assert.deepEqual(statusOf({ previous: first, certificate: PENDING }).reissue, first.reissue);
  });

  test('starts again with every further leaf, even back and forth', () => {
    const first = statusOf({ previous: { certificate: old }, pods: tally({ issued: 1 }) });
    const { certificate: other, signer } = delegation();
    const back = statusOf({
      previous: first,
      certificate: { kind: 'usable', certificate: other, signer },
      pods: tally({ issued: 0 }),
      now: now + 60,
    });
    assert.equal(back.reissue?.updated, 0);
    assert.notEqual(back.reissue?.startTime, first.reissue?.startTime);
  });

  test('is absent where the first pods get their first credentials', () => {
    assert.equal(statusOf({ pods: tally({ issued: 0 }) }).reissue, undefined);
  });
});
