import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { DelegatedCredentialSpec } from '../../../src/api/delegated-credential.ts';
import { MANAGED_BY_LABEL, RESOURCE_LABEL, SECRET_ANNOTATIONS } from '../../../src/api/keys.ts';
import { KEY_ALGORITHMS, USAGES } from '../../../src/credential/scheme.ts';
import { type IssuedSecret, LAST_APPLIED } from '../../../src/issued-secret/issued-secret.ts';
import {
  DELETE_REASONS,
  FAILURE_REASONS,
  ISSUE_REASONS,
  nextRenewal,
  type Observed,
  type Plan,
  plan,
  type Step,
  wantedMetadata,
} from '../../../src/operator/core/plan.ts';
import { CHAIN_SHA256, facts, issuedSecret, LIFETIME, NOW, SHA256, specOf } from '../../../testing/support/builders.ts';

const DAY = 86_400;
const POD = { uid: 'uid-of-web-0', terminating: false, selected: true, gated: false };
const GATED = { ...POD, gated: true };
const CERTIFICATE = { sha256: SHA256, chainSha256: CHAIN_SHA256, latestExpiry: NOW + 60 * DAY };

/** One pod with a good Secret, unless overridden. */
function observed(overrides: Partial<Observed> = {}): Observed {
  return {
    now: NOW,
    spec: specOf(),
    pod: POD,
    secretName: 'web-web-0',
    secrets: [issuedSecret()],
    nameHolder: undefined,
    certificate: CERTIFICATE,
    ...overrides,
  };
}

/** A plan in words: `issue Missing web-web-0`. */
function words({ cleanUp, failure, steps }: Plan): readonly string[] {
  const all = [...steps, ...cleanUp].map(word);
  return failure === undefined ? all : [...all, `fail ${failure}`];
}

function word(step: Step): string {
  switch (step.kind) {
    case 'issue':
      return `issue ${step.reason} ${step.name}${step.replaces === undefined ? '' : ' again'}`;
    case 'delete':
      return `delete ${step.reason} ${step.secret.name}`;
    case 'annotate':
      return `annotate ${step.secret.name}`;
    case 'verify':
      return `verify ${step.secret.name}`;
    case 'rechain':
      return `rechain ${step.secret.name}`;
    case 'ungate':
      return 'ungate';
  }
}

type Row = readonly [what: string, observed: Partial<Observed>, expected: readonly string[]];

const predecessor = issuedSecret({ podUid: 'uid-of-the-one-before' });
const elsewhere = issuedSecret({ name: 'old-name' });
const expired = facts({ issuedAt: NOW - LIFETIME - 10, expiresAt: NOW - 10 });

const TABLE: readonly Row[] = [
  ['a good Secret needs nothing', {}, []],
  ['a pod without a Secret gets one', { secrets: [] }, ['issue Missing web-web-0']],
  [
    'a Secret that another client changed is re-issued',
    { secrets: [issuedSecret({ intact: false })] },
    ['issue Modified web-web-0 again'],
  ],
  [
    'a Secret without all of its annotations was changed by another client',
    { secrets: [issuedSecret({ facts: undefined })] },
    ['issue Modified web-web-0 again'],
  ],
  [
    'another certificate voids the credential',
    { certificate: { ...CERTIFICATE, sha256: 'b2'.repeat(32) } },
    ['issue CertificateChanged web-web-0 again'],
  ],
  ['another usage', { spec: specOf({ usage: 'Client' }) }, ['issue SpecChanged web-web-0 again']],
  ['another key algorithm', { spec: specOf({ keyAlgorithm: 'Ed25519' }) }, ['issue SpecChanged web-web-0 again']],
  ['a shortened lifetime', { spec: specOf({ lifetimeSeconds: 3600 }) }, ['issue LifetimeExceeded web-web-0 again']],
  [
    'a lifetime shortened to more than is left changes only the time of renewal',
    {
      spec: specOf({ lifetimeSeconds: 90_000 }),
      secrets: [issuedSecret({ facts: facts({ issuedAt: NOW - 86_390, expiresAt: NOW + 86_410 }) })],
    },
    ['annotate web-web-0'],
  ],
  ['a lengthened lifetime leaves the time of renewal where it is', { spec: specOf({ lifetimeSeconds: 601_200 }) }, []],
  [
    'an earlier renewal is written to the Secret',
    { spec: specOf({ renewBeforeSeconds: 160_000 }) },
    ['annotate web-web-0'],
  ],
  ['a clock set back by a day makes lives too long', { now: NOW - DAY }, ['issue LifetimeExceeded web-web-0 again']],
  ['a clock set back by a minute does not', { now: NOW - 60 }, []],
  [
    'a credential older than a request to renew it',
    { now: NOW + 100, renewRequestedAt: NOW + 100 },
    ['issue RenewRequested web-web-0 again'],
  ],
  ['a credential newer than a request to renew it', { now: NOW + 100, renewRequestedAt: NOW }, []],
  [
    'a request of the very second of the issue counts from the next: not yet',
    { now: NOW, renewRequestedAt: NOW + 0.6 },
    [],
  ],
  [
    'a request of the very second of the issue counts from the next: now',
    { now: NOW + 1, renewRequestedAt: NOW + 0.6 },
    ['issue RenewRequested web-web-0 again'],
  ],
  ['a request from a clock that is ahead waits', { renewRequestedAt: NOW + 7200 }, []],
  ['a request that is not a time requests nothing', { renewRequestedAt: Number.NaN }, []],
  [
    'a request is fulfilled also where the certificate limits the credential: the key is new',
    { now: NOW + 10, renewRequestedAt: NOW + 5, certificate: { ...CERTIFICATE, latestExpiry: NOW + LIFETIME } },
    ['issue RenewRequested web-web-0 again'],
  ],
  ['a request cannot be fulfilled without a certificate', { renewRequestedAt: NOW - 1, certificate: undefined }, []],
  ['a credential that is due', { now: NOW + 120_000 }, ['issue RenewalDue web-web-0 again']],
  [
    'a credential that has expired',
    { secrets: [issuedSecret({ facts: expired })] },
    ['issue RenewalDue web-web-0 again'],
  ],
  [
    'a credential that its certificate limits is never renewed',
    { now: NOW + 150_000, certificate: { ...CERTIFICATE, latestExpiry: NOW + LIFETIME } },
    [],
  ],
  [
    'nor is one that outlives its certificate',
    { certificate: { ...CERTIFICATE, latestExpiry: NOW + LIFETIME - 1 } },
    [],
  ],

  ['without a certificate nothing is issued', { secrets: [], certificate: undefined }, []],
  ['without a certificate what exists stays', { certificate: undefined, now: NOW + 160_000 }, []],
  [
    'without a certificate a Secret that another client changed stays',
    { certificate: undefined, secrets: [issuedSecret({ intact: false })] },
    [],
  ],
  [
    'without a certificate the Secret under the old name stays too',
    { certificate: undefined, secrets: [elsewhere] },
    [],
  ],
  [
    "without a certificate a predecessor's Secret is still deleted",
    { certificate: undefined, secrets: [predecessor] },
    ['delete PodReplaced web-web-0'],
  ],

  ['the resource is gone', { spec: undefined }, ['delete ResourceGone web-web-0']],
  [
    'the resource is gone, and so are all of its Secrets',
    { spec: undefined, pod: undefined, secrets: [issuedSecret(), elsewhere] },
    ['delete ResourceGone web-web-0', 'delete ResourceGone old-name'],
  ],
  ['the pod is gone', { pod: undefined, secretName: undefined }, ['delete PodGone web-web-0']],
  ['the pod is no longer selected', { pod: { ...POD, selected: false } }, ['delete NotSelected web-web-0']],
  [
    'an invalid Secret name does not matter on a pod that is not selected',
    { pod: { ...POD, selected: false }, secretName: undefined, secrets: [] },
    [],
  ],
  [
    'a pod replaced under the same name: the new Secret is written over the old one',
    { secrets: [predecessor] },
    ['issue Missing web-web-0 again'],
  ],
  [
    'a replaced pod that has its own Secret under another name',
    { secretName: 'fresh', secrets: [predecessor, issuedSecret({ name: 'fresh' })] },
    ['delete PodReplaced web-web-0'],
  ],
  [
    'another Secret name: the new Secret is created before the old one is deleted',
    { secrets: [elsewhere] },
    ['issue Missing web-web-0', 'delete Renamed old-name'],
  ],
  ['a leftover under another name is deleted', { secrets: [issuedSecret(), elsewhere] }, ['delete Renamed old-name']],
  [
    'a leftover is deleted also when its successor is due',
    { now: NOW + 120_000, secrets: [elsewhere, issuedSecret()] },
    ['issue RenewalDue web-web-0 again', 'delete Renamed old-name'],
  ],

  ['a terminating pod keeps what it has', { pod: { ...POD, terminating: true } }, []],
  ['a terminating pod gets nothing new', { pod: { ...POD, terminating: true }, secrets: [] }, []],
  [
    'a terminating pod that still serves has its credential renewed',
    { pod: { ...POD, terminating: true }, now: NOW + 120_000 },
    ['issue RenewalDue web-web-0 again'],
  ],
  [
    'a terminating pod that replaced another under its name',
    { pod: { ...POD, terminating: true }, secrets: [predecessor] },
    ['delete PodReplaced web-web-0'],
  ],

  [
    'a gated pod gets its Secret, and only then is its gate removed',
    { pod: GATED, secrets: [] },
    ['issue Missing web-web-0', 'ungate'],
  ],
  ['a gated pod whose Secret exists: its writer stopped before the gate', { pod: GATED }, ['ungate']],
  [
    'a gated pod whose Secret is of another certificate',
    { pod: GATED, certificate: { ...CERTIFICATE, sha256: 'b2'.repeat(32) } },
    ['issue CertificateChanged web-web-0 again', 'ungate'],
  ],
  [
    'a gated pod that replaced another under its name',
    { pod: GATED, secrets: [predecessor] },
    ['issue Missing web-web-0 again', 'ungate'],
  ],
  [
    'a gated pod that has a Secret under another name',
    { pod: GATED, secrets: [elsewhere] },
    ['issue Missing web-web-0', 'ungate', 'delete Renamed old-name'],
  ],
  ['a gated pod waits while nothing can be issued', { pod: GATED, secrets: [], certificate: undefined }, []],
  [
    'a gated pod whose Secret exists does not wait for a certificate',
    { pod: GATED, certificate: undefined },
    ['ungate'],
  ],
  [
    'without a certificate a gated pod waits while its Secret has expired',
    { pod: GATED, certificate: undefined, secrets: [issuedSecret({ facts: expired })] },
    [],
  ],
  [
    'without a certificate a gated pod waits while its Secret is one that another client changed',
    { pod: GATED, certificate: undefined, secrets: [issuedSecret({ intact: false })] },
    [],
  ],
  [
    'a gated pod whose credential its certificate limits, and that has expired, waits',
    {
      pod: GATED,
      certificate: { ...CERTIFICATE, latestExpiry: NOW - 10 },
      secrets: [issuedSecret({ facts: expired })],
    },
    [],
  ],
  ['a gated pod that is not selected waits', { pod: { ...GATED, selected: false }, secrets: [] }, []],
  ['a terminating pod stays gated', { pod: { ...GATED, terminating: true } }, []],
  [
    'a gated pod whose Secret name is taken waits',
    { pod: GATED, secrets: [], nameHolder: issuedSecret({ podName: 'web-1' }) },
    ['fail SecretNameTaken'],
  ],
  [
    'a gated pod and a new template',
    { pod: GATED, spec: specOf({ secretTemplate: { labels: { team: 'edge' } } }) },
    ['ungate', 'annotate web-web-0'],
  ],

  [
    'a new chain under the same leaf is published, and key and credential stay',
    { certificate: { ...CERTIFICATE, chainSha256: 'd5'.repeat(32) } },
    ['rechain web-web-0'],
  ],
  [
    'a Secret without the hash of its chain gets it',
    { secrets: [issuedSecret({ facts: facts({ chainSha256: undefined }) })] },
    ['rechain web-web-0'],
  ],
  [
    'a new chain and a new template are one write',
    {
      certificate: { ...CERTIFICATE, chainSha256: 'd5'.repeat(32) },
      spec: specOf({ secretTemplate: { labels: { team: 'edge' } } }),
    },
    ['rechain web-web-0'],
  ],
  [
    'a new chain does not keep a gated pod waiting: the credential is good',
    { pod: GATED, certificate: { ...CERTIFICATE, chainSha256: 'd5'.repeat(32) } },
    ['ungate', 'rechain web-web-0'],
  ],
  [
    'a new chain with a new leaf is a new credential',
    { certificate: { ...CERTIFICATE, sha256: 'b2'.repeat(32), chainSha256: 'd5'.repeat(32) } },
    ['issue CertificateChanged web-web-0 again'],
  ],

  [
    "a Secret that another client may have written under dcred's name is verified",
    { suspect: issuedSecret().uid, pod: GATED },
    ['verify web-web-0', 'ungate'],
  ],
  [
    'a suspect that is due is simply re-issued',
    { suspect: issuedSecret().uid, now: NOW + 120_000 },
    ['issue RenewalDue web-web-0 again'],
  ],

  ['no valid Secret name', { secretName: undefined, secrets: [] }, ['fail SecretNameInvalid']],
  [
    'a Secret name that became invalid: what the pod mounts stays',
    { secretName: undefined },
    ['fail SecretNameInvalid'],
  ],
  [
    'no valid Secret name, and a predecessor',
    { secretName: undefined, secrets: [predecessor] },
    ['delete PodReplaced web-web-0', 'fail SecretNameInvalid'],
  ],
  [
    "another pod's Secret has the name",
    { secrets: [], nameHolder: issuedSecret({ podName: 'web-1' }) },
    ['fail SecretNameTaken'],
  ],
  [
    "another resource's Secret has the new name: the Secret under the old name stays",
    { secrets: [elsewhere], nameHolder: issuedSecret({ resourceName: 'api' }) },
    ['fail SecretNameTaken'],
  ],

  ['a new template', { spec: specOf({ secretTemplate: { labels: { team: 'edge' } } }) }, ['annotate web-web-0']],
  [
    'a template that is applied already',
    {
      spec: specOf({ secretTemplate: { labels: { team: 'edge' }, annotations: { note: 'x' } } }),
      secrets: [issuedSecret({ template: { labels: { team: 'edge' }, annotations: { note: 'x' } } })],
    },
    [],
  ],
  [
    'a template whose label another client set to the same value',
    {
      spec: specOf({ secretTemplate: { labels: { team: 'edge' } } }),
      secrets: [issuedSecret({ foreign: { labels: { team: 'edge' }, annotations: {} } })],
    },
    [],
  ],
  [
    'a template whose label another client changed',
    {
      spec: specOf({ secretTemplate: { labels: { team: 'edge' } } }),
      secrets: [issuedSecret({ foreign: { labels: { team: 'shop' }, annotations: {} } })],
    },
    ['annotate web-web-0'],
  ],
  [
    'a template that lost an annotation',
    { secrets: [issuedSecret({ template: { labels: {}, annotations: { note: 'x' } } })] },
    ['annotate web-web-0'],
  ],
  [
    "other clients' labels and annotations stay",
    { secrets: [issuedSecret({ foreign: { labels: { theirs: '1' }, annotations: { theirs: '1' } } })] },
    [],
  ],
  [
    'a grant that was withdrawn, where the Secret is to go with it',
    { withdrawn: true, certificate: undefined, secrets: [issuedSecret({ deleteOnWithdraw: true })] },
    ['delete GrantWithdrawn web-web-0'],
  ],
  [
    'a grant that was withdrawn, where the Secret is to stay',
    { withdrawn: true, certificate: undefined, secrets: [issuedSecret()] },
    [],
  ],
  [
    'a grant that was withdrawn while the certificate is still in memory',
    { withdrawn: true, secrets: [issuedSecret({ deleteOnWithdraw: true })] },
    ['delete GrantWithdrawn web-web-0'],
  ],
  [
    'a missing certificate is not a withdrawal',
    { withdrawn: false, certificate: undefined, secrets: [issuedSecret({ deleteOnWithdraw: true })] },
    [],
  ],
  ['a grant whose withdrawal deletes, from now on', { onWithdraw: 'Delete' }, ['annotate web-web-0']],
  [
    'a grant whose withdrawal no longer deletes',
    { onWithdraw: 'Keep', secrets: [issuedSecret({ deleteOnWithdraw: true })] },
    ['annotate web-web-0'],
  ],
  [
    'a renewal time other than the scheduled one',
    { secrets: [issuedSecret({ facts: facts({ renewAt: NOW + 1 }) })] },
    ['annotate web-web-0'],
  ],
];

describe('the plan', () => {
  for (const [what, given, expected] of TABLE) {
    test(what, () => assert.deepEqual(words(plan(observed(given))), expected));
  }

  test('every reason to issue, to delete and to fail is in the table', () => {
    const used = new Set(TABLE.flatMap(([, , expected]) => expected.map((step) => step.split(' ')[1])));
    const reasons: readonly string[] = [...ISSUE_REASONS, ...DELETE_REASONS, ...FAILURE_REASONS];
    assert.deepEqual(
      reasons.filter((reason) => !used.has(reason)),
      [],
    );
  });

  for (const [what, given] of TABLE) {
    test(`suspended, nothing is issued, changed or deleted: ${what}`, () => {
      const spec = given.spec ?? specOf();
      if (Object.hasOwn(given, 'spec') && given.spec === undefined) return;
      const decided = plan(observed({ ...given, spec: { ...spec, suspend: true } }));
      assert.deepEqual(words({ ...decided, steps: decided.steps.filter(({ kind }) => kind !== 'ungate') }), []);
    });
  }

  test('suspended, a gated pod waits for its Secret and for nothing else', () => {
    const spec = specOf({ suspend: true });
    assert.deepEqual(words(plan(observed({ spec, pod: GATED, secrets: [] }))), []);
    assert.deepEqual(words(plan(observed({ spec, pod: GATED, secrets: [predecessor, elsewhere] }))), []);
    assert.deepEqual(words(plan(observed({ spec, pod: GATED }))), ['ungate']);
  });

  test('the first policy that holds gives the reason', () => {
    const wrong = { ...facts(), certificateSha256: 'c3', usage: 'Client', expiresAt: NOW + 9 * DAY } as const;
    const reasonFor = (secret: Partial<IssuedSecret>) =>
      plan(observed({ now: NOW + 8.9 * DAY, secrets: [issuedSecret(secret)] })).steps.map((step) =>
        step.kind === 'issue' ? step.reason : step.kind,
      );
    assert.deepEqual(reasonFor({ intact: false, facts: wrong }), ['Modified']);
    assert.deepEqual(reasonFor({ facts: wrong }), ['CertificateChanged']);
    assert.deepEqual(reasonFor({ facts: { ...wrong, certificateSha256: SHA256 } }), ['SpecChanged']);
  });

  test('a credential issued in this very second is renewed later', () => {
    const decided = plan(observed());
    assert.deepEqual(decided.steps, []);
    assert.ok(decided.wakeAt !== undefined && decided.wakeAt > NOW && decided.wakeAt < NOW + LIFETIME);
  });

  test('wakes at the time on the Secret, when the renewal is due', () => {
    const { renewAt } = facts();
    assert.deepEqual(plan(observed({ now: renewAt - 1 })), { steps: [], cleanUp: [], wakeAt: renewAt });
    assert.deepEqual(words(plan(observed({ now: renewAt }))), ['issue RenewalDue web-web-0 again']);
  });

  test('does not wake for a request that is still to come: the resource enqueues its pods then', () => {
    assert.equal(plan(observed({ renewRequestedAt: NOW + 7200.5 })).wakeAt, facts().renewAt);
  });

  test('one request re-issues a credential once, whatever the clocks say', () => {
    const second = fc.integer({ min: -5, max: 5 });
    fc.assert(
      fc.property(second, fc.integer({ min: -5000, max: 5000 }), (age, milliseconds) => {
        const given = observed({
          now: NOW,
          renewRequestedAt: NOW + milliseconds / 1000,
          secrets: [issuedSecret({ facts: facts({ issuedAt: NOW + age, expiresAt: NOW + age + LIFETIME }) })],
        });
        let current = given;
        let issued = 0;
        for (let now = NOW; now <= NOW + 12; now += 1) {
          current = { ...current, now };
          const decided = plan(current);
          issued += decided.steps.filter(({ kind }) => kind === 'issue').length;
          current = carriedOut(current, decided.steps);
        }
        assert.equal(issued, age < Math.ceil(milliseconds / 1000) ? 1 : 0);
      }),
    );
  });

  test('writes the time at which it will wake to the Secret', () => {
    const decided = plan(observed({ spec: specOf({ renewBeforeSeconds: 160_000 }) }));
    const [step] = decided.cleanUp;
    assert.ok(step?.kind === 'annotate');
    assert.equal(step.renewAt, decided.wakeAt);
  });

  test('a new template does not move a renewal that never happens', () => {
    const spec = specOf({ secretTemplate: { labels: { team: 'edge' } } });
    const decided = plan(observed({ spec, certificate: { ...CERTIFICATE, latestExpiry: NOW + LIFETIME } }));
    const [step] = decided.cleanUp;
    assert.ok(step?.kind === 'annotate');
    assert.equal(step.renewAt, facts().renewAt);
    assert.equal(decided.wakeAt, undefined);
  });

  test("has no label or annotation of dcred's own in it that a template asks for, under whatever CRD it was written", () => {
    const entries = Object.values(SECRET_ANNOTATIONS).map((key) => [key, 'mine'] as const);
    const labels = { team: 'edge', [MANAGED_BY_LABEL]: 'mine', [RESOURCE_LABEL]: 'mine' };
    const annotations = { note: 'x', [LAST_APPLIED]: '{}', ...Object.fromEntries(entries) };
    const spec = specOf({ secretTemplate: { labels, annotations } });
    const template = { labels: { team: 'edge' }, annotations: { note: 'x' } };
    assert.deepEqual(wantedMetadata(spec), template);
    assert.deepEqual(words(plan(observed({ spec, secrets: [issuedSecret({ template })] }))), []);
  });

  test('replaces exactly the Secret that it saw', () => {
    const current = issuedSecret({ intact: false });
    const [step] = plan(observed({ secrets: [elsewhere, current] })).steps.slice(-1);
    assert.ok(step?.kind === 'issue');
    assert.equal(step.replaces, current);
  });
});

describe('any plan', () => {
  test('deletes only Secrets that it was given, each once', () => {
    fc.assert(
      fc.property(anything(), (given) => {
        const deleted = plan(given).cleanUp.flatMap((step) => (step.kind === 'delete' ? [step.secret] : []));
        assert.ok(deleted.every((secret) => given.secrets.includes(secret)));
        assert.equal(new Set(deleted).size, deleted.length);
      }),
    );
  });

  test('never deletes or issues for a suspended resource', () => {
    fc.assert(
      fc.property(anything(), (given) => {
        fc.pre(given.spec !== undefined);
        const spec = { ...(given.spec as DelegatedCredentialSpec), suspend: true };
        const { cleanUp, failure, steps } = plan({ ...given, spec });
        assert.equal(failure, undefined);
        assert.ok([...steps, ...cleanUp].every(({ kind }) => kind === 'ungate'));
      }),
    );
  });

  test('issues at most once, and never where the pod cannot be served', () => {
    fc.assert(
      fc.property(anything(), (given) => {
        const { failure, steps } = plan(given);
        const issues = steps.filter(({ kind }) => kind === 'issue').length;
        assert.ok(issues <= (failure === undefined ? 1 : 0));
      }),
    );
  });

  test('issues only to a selected pod, from a certificate, under the Secret name of the pod', () => {
    fc.assert(
      fc.property(anything(), (given) => {
        const step = plan(given).steps.find(({ kind }) => kind === 'issue');
        if (step?.kind !== 'issue') return;
        assert.ok(given.pod?.selected === true && given.certificate !== undefined && given.spec !== undefined);
        assert.equal(step.name, given.secretName);
        assert.ok(step.replaces === undefined || step.replaces.name === given.secretName);
      }),
    );
  });

  test('removes a gate once the Secret holds a credential that is good now, and no earlier', () => {
    fc.assert(
      fc.property(anything(), (given) => {
        const { steps } = plan(given);
        const serves = ({ certificate, now, secrets, secretName, pod }: Observed) =>
          secrets.some(
            ({ facts: issued, intact, name, podUid }) =>
              name === secretName &&
              podUid === pod?.uid &&
              intact &&
              (issued?.expiresAt ?? 0) > now &&
              (certificate === undefined || issued?.certificateSha256 === certificate.sha256),
          );
        const at = steps.findIndex(({ kind }) => kind === 'ungate');
        if (at >= 0) {
          assert.ok(given.pod?.gated === true && !given.pod.terminating);
          assert.ok(serves(carriedOut(given, steps.slice(0, at))));
          return;
        }
        const { pod, spec, nameHolder } = given;
        const isServed = pod?.selected === true && !pod.terminating && spec !== undefined && nameHolder === undefined;
        if (isServed && pod.gated) assert.ok(!serves(carriedOut(given, steps)));
      }),
      { numRuns: 2_000 },
    );
  });

  test('deletes and labels only after the pod is served: what fails there fails alone', () => {
    fc.assert(
      fc.property(anything(), (given) => {
        const { cleanUp, steps } = plan(given);
        assert.ok(
          steps.every(({ kind }) => kind === 'issue' || kind === 'rechain' || kind === 'verify' || kind === 'ungate'),
        );
        assert.ok(cleanUp.every(({ kind }) => kind === 'delete' || kind === 'annotate'));
      }),
    );
  });

  test('never deletes the Secret that serves the pod under its name', () => {
    fc.assert(
      fc.property(anything(), (given) => {
        fc.pre(given.spec !== undefined && given.pod?.selected === true);
        const serving = given.secrets.filter(
          ({ name, podUid }) => name === given.secretName && podUid === given.pod?.uid,
        );
        const deleted = plan(given).cleanUp.flatMap((step) => (step.kind === 'delete' ? [step.secret] : []));
        assert.ok(serving.every((secret) => !deleted.includes(secret)));
      }),
    );
  });

  test('leaves nothing to do once it is carried out, and wakes before the credential expires', () => {
    fc.assert(
      fc.property(anything(), (given) => {
        const decided = plan(given);
        const after = carriedOut(given, [...decided.steps, ...decided.cleanUp]);
        const second = plan(after);
        assert.deepEqual(words({ steps: second.steps, cleanUp: second.cleanUp }), []);
        const current = after.secrets.find(({ name }) => name === after.secretName);
        const { certificate, spec } = after;
        if (current?.facts === undefined || certificate === undefined || spec === undefined || spec.suspend) return;
        if (second.failure !== undefined || after.pod?.selected !== true) return;
        if (nextRenewal(current.facts, current.podUid, spec, certificate.latestExpiry) === undefined) return;
        assert.ok(second.wakeAt !== undefined && second.wakeAt > after.now && second.wakeAt < current.facts.expiresAt);
      }),
      { numRuns: 2_000 },
    );
  });
});

/** What the cluster holds after a plan: a model of the API server, in which the writer of a label owns it. */
function carriedOut(given: Observed, steps: readonly Step[]): Observed {
  const { certificate, now, spec } = given;
  let { pod } = given;
  let secrets = [...given.secrets];
  for (const step of steps) {
    if (step.kind === 'ungate' && pod !== undefined) pod = { ...pod, gated: false };
    if (step.kind === 'delete') secrets = secrets.filter((secret) => secret !== step.secret);
    if (step.kind === 'annotate' && spec !== undefined) {
      const { secret, renewAt } = step;
      const changed = { ...secret, ...ownership(secret, spec), facts: facts({ ...secret.facts, renewAt }) };
      secrets = secrets.map((one) => (one === secret ? changed : one));
    }
    if (step.kind === 'rechain' && spec !== undefined && certificate !== undefined && pod !== undefined) {
      const { secret } = step;
      const bare = facts({ ...secret.facts, chainSha256: certificate.chainSha256 });
      const renewAt = nextRenewal(bare, pod.uid, spec, Number.POSITIVE_INFINITY) ?? 0;
      const changed = { ...secret, ...ownership(secret, spec), facts: { ...bare, renewAt } };
      secrets = secrets.map((one) => (one === secret ? changed : one));
    }
    if (step.kind === 'issue' && spec !== undefined && certificate !== undefined && pod !== undefined) {
      const { usage, keyAlgorithm, lifetimeSeconds } = spec;
      const expiresAt = Math.min(now + lifetimeSeconds, certificate.latestExpiry);
      const { chainSha256, sha256: certificateSha256 } = certificate;
      const issued = { issuedAt: now, expiresAt, certificateSha256, chainSha256, usage, keyAlgorithm };
      const bare = facts(issued);
      const renewAt = nextRenewal(bare, pod.uid, spec, Number.POSITIVE_INFINITY) ?? 0;
      const base = { ...(step.replaces ?? issuedSecret({ name: step.name })), podUid: pod.uid };
      secrets = secrets.filter((secret) => secret !== step.replaces);
      secrets.push({ ...base, ...ownership(base, spec), intact: true, facts: { ...bare, renewAt } });
    }
  }
  return { ...given, pod, secrets };
}

/** A value that existed already keeps its owner. */
function ownership({ foreign, template }: IssuedSecret, spec: DelegatedCredentialSpec) {
  const wanted = wantedMetadata(spec);
  const kinds = ['labels', 'annotations'] as const;
  const outcome = { template: { labels: {}, annotations: {} }, foreign: { labels: {}, annotations: {} } };
  for (const kind of kinds) {
    const ours = Object.entries(wanted[kind]).filter(
      ([key, value]) => foreign[kind][key] !== value || template[kind][key] === value,
    );
    outcome.template[kind] = Object.fromEntries(ours);
    outcome.foreign[kind] = Object.fromEntries(
      Object.entries(foreign[kind]).filter(([key]) => !ours.some(([own]) => own === key)),
    );
  }
  return outcome;
}

function anything(): fc.Arbitrary<Observed> {
  const secret = (name: string) => fc.option(anySecret(name), { freq: 2, nil: undefined });
  return fc
    .record({
      now: fc.constantFrom(NOW - 5 * DAY, NOW - 10, NOW, NOW + 1, NOW + 90_000, NOW + 8 * DAY),
      spec: fc.option(anySpec(), { freq: 8, nil: undefined }),
      pod: fc.option(
        fc.record({
          uid: fc.constantFrom('u1', 'u2'),
          terminating: fc.boolean(),
          gated: fc.boolean(),
          selected: fc.integer({ min: 0, max: 4 }).map((n) => n > 0),
        }),
        { freq: 8, nil: undefined },
      ),
      secretName: fc.option(fc.constantFrom('a', 'b'), { freq: 8, nil: undefined }),
      found: fc.tuple(secret('a'), secret('b'), secret('c')),
      isTaken: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      certificate: fc.option(
        fc.record({
          sha256: fc.constantFrom('s1', 's2'),
          chainSha256: fc.constantFrom('c1', 'c2'),
          margin: fc.constantFrom(60, 100, 40_000, 60 * DAY),
        }),
        { freq: 6, nil: undefined },
      ),
    })
    .map(({ found, isTaken, certificate, ...rest }) => {
      const holds = isTaken && rest.secretName !== undefined;
      return {
        ...rest,
        secrets: found.filter((one) => one !== undefined && !(holds && one.name === rest.secretName)) as IssuedSecret[],
        nameHolder: holds ? issuedSecret({ name: rest.secretName ?? '', podName: 'another' }) : undefined,
        certificate: certificate && {
          sha256: certificate.sha256,
          chainSha256: certificate.chainSha256,
          latestExpiry: rest.now + certificate.margin,
        },
      };
    });
}

function anySpec(): fc.Arbitrary<DelegatedCredentialSpec> {
  return fc
    .record({
      lifetimeSeconds: fc.oneof(fc.constantFrom(60, LIFETIME, 601_200), fc.integer({ min: 60, max: 601_200 })),
      share: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
      usage: fc.constantFrom(...USAGES),
      keyAlgorithm: fc.constantFrom(...KEY_ALGORITHMS),
      suspend: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      labels: anyEntries(),
      annotations: anyEntries(),
    })
    .map(({ share, labels, annotations, ...rest }) =>
      specOf({
        ...rest,
        secretTemplate: { labels, annotations },
        ...(share === undefined
          ? {}
          : { renewBeforeSeconds: Math.max(1, Math.floor(share * (rest.lifetimeSeconds - 1))) }),
      }),
    );
}

function anyEntries(): fc.Arbitrary<Record<string, string>> {
  return fc.dictionary(fc.constantFrom('k1', 'k2'), fc.constantFrom('v1', 'v2'), { maxKeys: 2 });
}

function anySecret(name: string): fc.Arbitrary<IssuedSecret> {
  return fc
    .record({
      podUid: fc.constantFrom('u1', 'u1', 'u2'),
      intact: fc.integer({ min: 0, max: 4 }).map((n) => n > 0),
      known: fc.option(
        fc.record({
          issuedAt: fc.integer({ min: NOW - 9 * DAY, max: NOW + DAY }),
          life: fc.integer({ min: 60, max: 601_200 }),
          certificateSha256: fc.constantFrom('s1', 's2'),
          chainSha256: fc.constantFrom('c1', 'c2', undefined),
          usage: fc.constantFrom(...USAGES),
          keyAlgorithm: fc.constantFrom(...KEY_ALGORITHMS),
        }),
        { freq: 8, nil: undefined },
      ),
      template: fc.record({ labels: anyEntries(), annotations: anyEntries() }),
      foreign: fc.record({ labels: anyEntries(), annotations: anyEntries() }),
    })
    .map(({ known, template, foreign, ...rest }) => {
      const issued = known && facts({ ...known, expiresAt: known.issuedAt + known.life });
      return issuedSecret({ ...rest, name, facts: issued, template, foreign: without(foreign, template) });
    });
}

/** No key is both dcred's and another client's. */
function without(foreign: IssuedSecret['foreign'], template: IssuedSecret['template']): IssuedSecret['foreign'] {
  const rest = (kind: 'labels' | 'annotations') =>
    Object.fromEntries(Object.entries(foreign[kind]).filter(([key]) => !Object.hasOwn(template[kind], key)));
  return { labels: rest('labels'), annotations: rest('annotations') };
}
