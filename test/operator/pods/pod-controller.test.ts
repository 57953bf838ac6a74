import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { DelegatedCredentialResource } from '../../../src/api/delegated-credential.ts';
import type { UnreadableResource } from '../../../src/api/read.ts';
import type { DelegationCertificate } from '../../../src/credential/delegation-certificate.ts';
import type { Signer } from '../../../src/credential/signer.ts';
import { type IssuedSecret, podKeyOf } from '../../../src/issued-secret/issued-secret.ts';
import { ApiError } from '../../../src/kubernetes/api-error.ts';
import type { Caches } from '../../../src/operator/caches.ts';
import { type Access, OWN } from '../../../src/operator/core/access.ts';
import { type CertificateState, refused } from '../../../src/operator/core/certificate-state.ts';
import type { Step } from '../../../src/operator/core/plan.ts';
import type { Pod } from '../../../src/operator/core/pod.ts';
import { PodFailure, PodFailures, StaleCacheError } from '../../../src/operator/pod-failure.ts';
import type { Applied } from '../../../src/operator/pods/apply.ts';
import { PodController } from '../../../src/operator/pods/pod-controller.ts';
import {
  CHAIN_SHA256,
  facts,
  issuedSecret,
  NOW,
  podOf,
  resource,
  SHA256,
  specOf,
} from '../../../testing/support/builders.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';

const KEY = 'edge/web/web-0';
const signal = new AbortController().signal;
const YEAR = 365 * 86_400;

const USABLE: CertificateState = {
  kind: 'usable',
  certificate: {
    sha256: SHA256,
    chainSha256: CHAIN_SHA256,
    notBefore: NOW - YEAR,
    notAfter: NOW + YEAR,
  } as DelegationCertificate,
  signer: {} as Signer,
};

/** A cluster as the controller sees it: caches, certificates and applier are fakes; plan, guard and failures are real. */
class World {
  readonly clock = new FakeClock(NOW * 1000);
  readonly failures = new PodFailures();
  readonly steps: Step[] = [];
  readonly reports: string[] = [];
  readonly nudges: string[] = [];
  /** Names of Secrets that are watched until they are free. */
  readonly awaited = new Set<string>();
  /** For each step: whether the API server is to confirm the pod first. */
  readonly recreated: boolean[] = [];
  readonly outcomes: string[] = [];
  found: DelegatedCredentialResource | UnreadableResource | undefined = resource();
  pod: Pod | undefined = podOf();
  secrets: IssuedSecret[] = [];
  certificate: CertificateState = USABLE;
  access: Access = OWN;
  readonly enqueued: string[] = [];
  readonly paced: string[] = [];
  /** The newest version that the caches show. */
  seen = 100;
  /** Whether all caches of the namespace have been filled. */
  complete = true;
  /** What the API server does with a step; by default it accepts it, as version 100. */
  answer: (step: Step) => Applied = (step) => this.taken(step, '100');

  readonly controller = new PodController({
    caches: {
      isComplete: () => this.complete,
      resources: { get: () => this.found && { value: this.found } },
      pods: { get: () => this.pod, isAtLeast: (_: string, version: string) => this.seen >= Number(version) },
      secrets: {
        get: (_: string, name: string) => ({ issued: this.secrets.find((secret) => secret.name === name) }),
        byIndex: (_: string, _index: string, key: string) =>
          this.secrets.filter((secret) => podKeyOf(secret) === key).map((issued) => ({ issued })),
        isAtLeast: (_: string, version: string) => this.seen >= Number(version),
      },
    } as unknown as Caches,
    ownNamespace: 'dcred-system',
    certificates: { access: () => this.access, resolve: () => this.certificate },
    pacer: { issued: (reason) => void this.paced.push(reason) },
    enqueue: (key) => void this.enqueued.push(key),
    applier: {
      apply: async (step, { recreates = false }) => {
        this.steps.push(step);
        this.recreated.push(recreates);
        return this.answer(step);
      },
      wholeSecrets: async (secrets) => secrets,
    },
    failures: this.failures,
    names: {
      wait: (_, secretKey) => void this.awaited.add(secretKey),
      release: () => this.awaited.clear(),
    },
    nudge: { send: async ({ name }) => void this.nudges.push(name) },
    reporter: {
      issued: (_resource, pod, reason) => void this.reports.push(`issued ${reason} ${pod.name}`),
      deleted: (secret, reason) => void this.reports.push(`deleted ${reason} ${secret.name}`),
      podFailed: (pod, _resource, failure, isNews) => {
        if (isNews) this.reports.push(`failed ${failure.code} ${pod.name}`);
      },
      chainPublished: (_resource, pod) => void this.reports.push(`rechained ${pod.name}`),
      cleanUpFailed: (_resource, { pod }, failure) =>
        void this.reports.push(`not cleaned up ${pod}: ${failure.message}`),
      podWarned: (pod, _name, { reason }) => void this.reports.push(`warned ${reason} ${pod.name}`),
    },
    clock: this.clock,
    onOutcome: ({ namespace, resourceName }) => void this.outcomes.push(`${namespace}/${resourceName}`),
  });

  taken(step: Step, version: string): Applied {
    switch (step.kind) {
      case 'issue':
        return { kind: 'issued', reason: step.reason, seconds: 0.01, resourceVersion: version };
      case 'verify':
        return { kind: 'verified', secret: step.secret };
      case 'rechain':
        return { kind: 'rechained', resourceVersion: version };
      case 'delete':
        return { kind: 'deleted', reason: step.reason, secret: step.secret };
      case 'annotate':
        return { kind: 'annotated', resourceVersion: version };
      case 'ungate':
        return { kind: 'ungated', podResourceVersion: version };
    }
  }

  reconcile() {
    return this.controller.reconcile(KEY, signal);
  }

  /** The steps since the last call, as `issue Missing` or `ungate`. */
  did(): readonly string[] {
    return this.steps.splice(0).map((step) => ('reason' in step ? `${step.kind} ${step.reason}` : step.kind));
  }
}

describe('a pod that needs a credential', () => {
  test('gets one, and is reconciled again when it is due', async () => {
    const world = new World();
    assert.deepEqual(await world.reconcile(), { kind: 'done' });
    assert.deepEqual(world.did(), ['issue Missing']);
    assert.deepEqual(world.reports, ['issued Missing web-0', 'warned NotInjected web-0']);
    assert.deepEqual(world.outcomes, ['edge/web'], 'the status of its resource may change');
    world.secrets = [issuedSecret()];
    assert.deepEqual(await world.reconcile(), { kind: 'at', timeMs: facts().renewAt * 1000 });
    assert.deepEqual(world.did(), []);
  });

  test('that was injected gets no warning', async () => {
    const world = new World();
    world.pod = podOf({ secretNames: { web: 'web-x' } });
    await world.reconcile();
    assert.deepEqual(world.reports, ['issued Missing web-0']);
  });

  test('has its kubelet nudged for a re-issue, not for its first credential', async () => {
    const world = new World();
    await world.reconcile();
    assert.deepEqual(world.nudges, []);
    world.secrets = [issuedSecret()];
    world.found = resource({ spec: specOf({ usage: 'Client' }) });
    await world.reconcile();
    assert.deepEqual(world.nudges, ['web-0']);
  });

  test('waits for the certificate, and gets a warning that says why', async () => {
    const world = new World();
    world.certificate = refused('CertificateNotFound', 'create it');
    assert.deepEqual(await world.reconcile(), { kind: 'done' });
    assert.deepEqual(world.did(), []);
    assert.deepEqual(world.reports, ['warned NotIssued web-0']);
  });
});

describe('a resource that cannot be read', () => {
  test('has nothing done or undone for its pods, and its status is not recounted', async () => {
    const world = new World();
    const { metadata, status } = resource();
    world.found = { metadata, status, problem: 'spec.usage: wrong' };
    world.pod = undefined;
    world.secrets = [issuedSecret()];
    assert.deepEqual(await world.reconcile(), { kind: 'done' });
    assert.deepEqual(world.did(), []);
    assert.deepEqual(world.outcomes, []);
  });

  test('has nothing left to report of a pod that went, with its Secrets, before the resource could be read again', async () => {
    for (const refusal of ['delete', 'issue'] as const) {
      for (const goes of [['pod'], ['secrets'], ['pod', 'secrets']]) {
        const world = new World();
        world.secrets = [issuedSecret({ name: 'web-old', podUid: 'uid-of-the-one-before' })];
        world.answer = (step) => {
          if (step.kind === refusal) throw new PodFailure('SecretRefused', 'the API server refuses it');
          return world.taken(step, '100');
        };
        await world.reconcile();
        const refused = () => [world.failures.failureOf(KEY), world.failures.cleanUpOf(KEY)].filter((one) => one);
        assert.equal(refused().length, 1);
        const readable = world.found;
        const { metadata, status } = resource();
        world.found = { metadata, status, problem: 'spec.usage: wrong' };
        if (goes.includes('pod')) world.pod = undefined;
        if (goes.includes('secrets')) world.secrets = [];
        await world.reconcile();
        world.found = readable;
        // As the fan-out does.
        if (world.pod !== undefined || world.secrets.length > 0) {
          world.answer = (step) => world.taken(step, '100');
          await world.reconcile();
        }
        assert.deepEqual(refused(), [], `${refusal}, ${goes.join(' and ')}`);
      }
    }
  });
});

describe('a write that the caches do not show yet', () => {
  test('is not repeated: the pod waits for the caches', async () => {
    const world = new World();
    world.answer = (step) => world.taken(step, '101');
    await world.reconcile();
    world.did();
    assert.deepEqual(await world.reconcile(), { kind: 'at', timeMs: world.clock.now() + 5_000 });
    assert.deepEqual(world.did(), []);
    world.seen = 101;
    world.secrets = [issuedSecret()];
    await world.reconcile();
    assert.deepEqual(world.did(), []);
  });

  test('of the pod counts too', async () => {
    const world = new World();
    world.pod = podOf({ gated: ['web'] });
    world.secrets = [issuedSecret()];
    world.answer = (step) => world.taken(step, '102');
    await world.reconcile();
    assert.deepEqual(world.did(), ['ungate']);
    world.seen = 101;
    await world.reconcile();
    assert.deepEqual(world.did(), []);
    world.seen = 102;
    world.pod = podOf();
    await world.reconcile();
    assert.deepEqual(world.did(), []);
  });

  test('stays remembered with a later write of the same pod', async () => {
    const world = new World();
    world.pod = podOf({ gated: ['web'] });
    world.answer = (step) => world.taken(step, step.kind === 'issue' ? '105' : '104');
    await world.reconcile();
    assert.deepEqual(world.did(), ['issue Missing', 'ungate']);
    world.seen = 104;
    await world.reconcile();
    assert.deepEqual(world.did(), [], 'the Secret is not shown yet');
  });

  test('of another pod does not matter', async () => {
    const world = new World();
    world.answer = (step) => world.taken(step, '101');
    await world.reconcile();
    world.did();
    world.pod = podOf({ name: 'web-1' });
    await world.controller.reconcile('edge/web/web-1', signal);
    assert.deepEqual(world.did(), ['issue Missing']);
  });
});

describe('a plan on a stale cache', () => {
  test('is made again once the caches show the version that the API server named', async () => {
    const world = new World();
    world.answer = () => {
      throw new StaleCacheError('issued already', '107');
    };
    assert.deepEqual(await world.reconcile(), { kind: 'at', timeMs: world.clock.now() + 5_000 });
    world.did();
    await world.reconcile();
    assert.deepEqual(world.did(), [], 'the caches are still behind');
    world.seen = 107;
    await world.reconcile();
    assert.deepEqual(world.did(), ['issue Missing']);
  });

  test('is made again later where no version is known: the event that brings the cache up to date comes first', async () => {
    const world = new World();
    world.answer = () => {
      throw new StaleCacheError('it changed');
    };
    const outcome = await world.reconcile();
    assert.ok(outcome.kind === 'retry' && outcome.reported === true);
    assert.deepEqual(world.reports, [], 'nothing that anybody has to fix');
    assert.equal(world.failures.failureOf(KEY), undefined);
  });

  test('stops the steps after it', async () => {
    const world = new World();
    world.secrets = [issuedSecret({ podUid: 'uid-of-the-one-before' }), issuedSecret({ name: 'web-old' })];
    world.answer = () => {
      throw new StaleCacheError('it changed');
    };
    await world.reconcile();
    assert.deepEqual(world.did(), ['issue Missing'], 'and no clean-up');
  });
});

describe('a Secret that another client keeps changing', () => {
  test('is restored at once three times, then after ever longer waits', async () => {
    const world = new World();
    world.secrets = [issuedSecret({ intact: false })];
    const waits: number[] = [];
    for (let n = 0; n < 6; n += 1) {
      const outcome = await world.reconcile();
      const wait = outcome.kind === 'at' && world.steps.length === 0 ? outcome.timeMs - world.clock.now() : 0;
      waits.push(wait);
      if (wait > 0) {
        world.clock.advance(wait);
        await world.reconcile();
      }
      assert.deepEqual(world.did(), ['issue Modified']);
    }
    assert.deepEqual(waits, [0, 0, 0, 1_000, 2_000, 4_000]);
  });

  test('waits no longer than a short-lived credential allows', async () => {
    const world = new World();
    world.found = resource({ spec: specOf({ lifetimeSeconds: 60 }) });
    world.secrets = [issuedSecret({ intact: false })];
    let longest = 0;
    for (let n = 0; n < 20; n += 1) {
      const outcome = await world.reconcile();
      if (world.did().length > 0 || outcome.kind !== 'at') continue;
      longest = Math.max(longest, outcome.timeMs - world.clock.now());
      world.clock.advance(outcome.timeMs - world.clock.now());
    }
    assert.equal(longest, 3_000);
  });
});

describe('a pod that cannot be served', () => {
  test('is a failure until its name is free, reported once', async () => {
    const world = new World();
    world.secrets = [issuedSecret({ podName: 'web-1' })];
    for (let n = 0; n < 3; n += 1) assert.equal((await world.reconcile()).kind, 'retry');
    assert.equal(world.failures.failureOf(KEY)?.code, 'SecretNameTaken');
    assert.deepEqual([...world.awaited], ['edge/web-web-0']);
    assert.deepEqual(world.reports, ['failed SecretNameTaken web-0']);
    world.secrets = [];
    await world.reconcile();
    assert.equal(world.failures.failureOf(KEY), undefined);
    assert.equal(world.awaited.size, 0);
    assert.deepEqual(world.did(), ['issue Missing']);
  });

  test('is reported again when the reason changes, and when it comes back', async () => {
    const world = new World();
    const failing = (code: 'SecretRefused' | 'IssueFailed', message: string) => () => {
      throw new PodFailure(code, message);
    };
    for (const answer of [
      failing('SecretRefused', 'quota'),
      failing('SecretRefused', 'quota'),
      failing('SecretRefused', 'policy'),
      failing('IssueFailed', 'signer'),
    ]) {
      world.answer = answer;
      await world.reconcile();
    }
    assert.deepEqual(world.reports, [
      'failed SecretRefused web-0',
      'failed SecretRefused web-0',
      'failed IssueFailed web-0',
    ]);
  });

  test('is retried at most a twentieth of the lifetime apart', async () => {
    const world = new World();
    world.found = resource({ spec: specOf({ lifetimeSeconds: 3_600 }) });
    const failure = new PodFailure('SecretRefused', 'quota');
    world.answer = () => {
      throw failure;
    };
    const outcome = await world.reconcile();
    assert.ok(outcome.kind === 'retry');
    assert.deepEqual([outcome.error, outcome.maxDelayMs], [failure, 180_000]);
  });

  test('by an API server that does not answer is retried, and is not a failure of the pod', async () => {
    const world = new World();
    world.answer = () => {
      throw new ApiError('no answer', { status: 0, reason: 'Network' });
    };
    assert.equal((await world.reconcile()).kind, 'retry');
    assert.equal(world.failures.failureOf(KEY), undefined);
    assert.deepEqual(world.reports, []);
    assert.deepEqual(world.outcomes, ['edge/web']);
  });

  test('and is deleted is forgotten', async () => {
    const world = new World();
    world.pod = podOf({ secretNames: { web: '../etc' } });
    await world.reconcile();
    assert.equal(world.failures.failureOf(KEY)?.code, 'SecretNameInvalid');
    world.pod = undefined;
    assert.deepEqual(await world.reconcile(), { kind: 'done' });
    assert.equal(world.failures.failureOf(KEY), undefined);
  });
});

describe('Secrets that are no longer needed', () => {
  test('are deleted, each reported with its reason', async () => {
    const world = new World();
    world.pod = undefined;
    world.secrets = [issuedSecret(), issuedSecret({ name: 'web-old' })];
    assert.deepEqual(await world.reconcile(), { kind: 'done' });
    assert.deepEqual(world.reports, ['deleted PodGone web-web-0', 'deleted PodGone web-old']);
  });
});

describe('a Secret that vanished', () => {
  /** Deletes the pod's Secret, and notifies the controller as the cache does. */
  function vanish(world: World): void {
    const [secret] = world.secrets;
    world.secrets = [];
    if (secret !== undefined) world.controller.secretGone(secret);
  }

  test('is re-created at once, once the API server has confirmed the pod, and the kubelet is nudged', async () => {
    const world = new World();
    world.secrets = [issuedSecret()];
    vanish(world);
    await world.reconcile();
    assert.deepEqual(world.did(), ['issue Missing']);
    assert.deepEqual(world.recreated, [true]);
    assert.deepEqual(world.nudges, ['web-0']);
  });

  test('is not confirmed for a pod that never had one', async () => {
    const world = new World();
    await world.reconcile();
    assert.deepEqual(world.recreated, [false]);
  });

  test('before any cache showed it is treated the same', async () => {
    const world = new World();
    world.answer = (step) => world.taken(step, '101');
    await world.reconcile();
    world.seen = 101;
    await world.reconcile();
    assert.deepEqual(world.recreated, [false, true]);
  });

  test('repeatedly is re-created after ever longer waits', async () => {
    const world = new World();
    let created = 0;
    const end = world.clock.now() + 60_000;
    while (world.clock.now() < end) {
      world.secrets = [issuedSecret()];
      vanish(world);
      const outcome = await world.reconcile();
      created += world.did().length;
      world.clock.advance(outcome.kind === 'at' ? outcome.timeMs - world.clock.now() : 10);
    }
    assert.ok(created <= 9, `${created} Secrets in a minute`);
  });

  test('of a pod that is gone, while the pod watch is silent, costs ever fewer requests and no Secret', async () => {
    const world = new World();
    world.secrets = [issuedSecret()];
    vanish(world);
    world.answer = () => {
      throw new StaleCacheError('pod "web-0" is gone');
    };
    const outcome = await world.reconcile();
    assert.ok(outcome.kind === 'retry' && outcome.reported === true, 'a delay that doubles, and nothing in the log');
    assert.deepEqual(world.nudges, []);
  });

  test('of another pod of that name does not count', async () => {
    const world = new World();
    world.secrets = [issuedSecret({ podUid: 'uid-of-the-one-before' })];
    vanish(world);
    await world.reconcile();
    assert.deepEqual(world.recreated, [false]);
  });
});

describe('a new chain', () => {
  test('is published, and the kubelet is nudged', async () => {
    const world = new World();
    world.secrets = [issuedSecret({ facts: facts({ chainSha256: 'another' }) })];
    await world.reconcile();
    assert.deepEqual(world.did(), ['rechain']);
    assert.deepEqual(world.reports, ['rechained web-0']);
    assert.deepEqual(world.nudges, ['web-0']);
  });
});

describe('a Secret whose pod is no longer selected', () => {
  const elsewhere = resource({ spec: specOf({ podSelector: { matchLabels: { app: 'another' } } }) });

  test('is deleted after ten seconds', async () => {
    const world = new World();
    world.found = elsewhere;
    world.secrets = [issuedSecret()];
    assert.deepEqual(await world.reconcile(), { kind: 'at', timeMs: world.clock.now() + 10_000 });
    assert.deepEqual(world.did(), []);
    world.clock.advance(10_000);
    await world.reconcile();
    assert.deepEqual(world.did(), ['delete NotSelected']);
  });

  test('stays when the pod is selected again by then', async () => {
    const world = new World();
    world.found = elsewhere;
    world.secrets = [issuedSecret()];
    await world.reconcile();
    world.clock.advance(5_000);
    world.found = resource();
    await world.reconcile();
    world.clock.advance(60_000);
    await world.reconcile();
    assert.deepEqual(world.did(), []);
  });
});

describe('clean-up that is refused', () => {
  const refused = (step: Step, world: World): Applied => {
    if (step.kind === 'delete') throw new PodFailure('SecretRefused', 'the API server refuses to delete it');
    return world.taken(step, '100');
  };

  test('does not keep a pod from its credential, and is reported once', async () => {
    const world = new World();
    world.secrets = [issuedSecret({ name: 'web-old', podUid: 'uid-of-the-one-before' })];
    world.answer = (step) => refused(step, world);
    for (let n = 0; n < 3; n += 1) assert.equal((await world.reconcile()).kind, 'retry');
    assert.equal(world.did().filter((step) => step === 'issue Missing').length, 3);
    assert.equal(world.reports.filter((report) => report.startsWith('not cleaned up web-0')).length, 1);
    assert.equal(world.failures.failureOf(KEY), undefined, 'the pod is served');
    assert.equal(world.failures.cleanUpOf(KEY)?.code, 'SecretRefused');
  });

  test('does not delay a renewal: it is retried no later than that is due', async () => {
    const world = new World();
    const { renewAt } = facts();
    world.clock.advance((renewAt - 60) * 1000 - world.clock.now());
    world.secrets = [issuedSecret(), issuedSecret({ name: 'web-old', podUid: 'uid-of-the-one-before' })];
    world.answer = (step) => refused(step, world);
    const outcome = await world.reconcile();
    assert.ok(outcome.kind === 'retry');
    assert.equal(outcome.maxDelayMs, 60_000);
  });

  test('is forgotten once it succeeds', async () => {
    const world = new World();
    world.secrets = [issuedSecret(), issuedSecret({ name: 'web-old', podUid: 'uid-of-the-one-before' })];
    world.answer = (step) => refused(step, world);
    await world.reconcile();
    world.answer = (step) => world.taken(step, '100');
    await world.reconcile();
    assert.equal(world.failures.cleanUpOf(KEY), undefined);
  });

  test('of one Secret does not stop that of another', async () => {
    const world = new World();
    world.pod = undefined;
    world.secrets = [issuedSecret(), issuedSecret({ name: 'web-old' })];
    world.answer = (step) => {
      if (step.kind === 'delete' && step.secret.name === 'web-web-0') throw new PodFailure('SecretRefused', 'no');
      return world.taken(step, '100');
    };
    await world.reconcile();
    assert.deepEqual(world.reports.includes('deleted PodGone web-old'), true);
  });
});

describe('a refusal that may pass by itself', () => {
  const busy = new PodFailure('SecretRefused', 'failed calling webhook', { transient: true });

  test('is a failure of the pod once it was met three times in a row', async () => {
    const world = new World();
    world.answer = () => {
      throw busy;
    };
    const failed = [];
    for (let n = 0; n < 4; n += 1) {
      await world.reconcile();
      failed.push(world.failures.failureOf(KEY) !== undefined);
    }
    assert.deepEqual(failed, [false, false, true, true]);
    assert.deepEqual(world.reports, ['failed SecretRefused web-0']);
  });

  test('is not a failure when it passes', async () => {
    const world = new World();
    for (let n = 0; n < 5; n += 1) {
      world.answer = () => {
        throw busy;
      };
      await world.reconcile();
      await world.reconcile();
      world.answer = (step) => world.taken(step, '100');
      await world.reconcile();
    }
    assert.equal(world.failures.failureOf(KEY), undefined);
  });
});

describe('clean-up that is refused for a reason that may pass by itself', () => {
  test('is reported once it was refused three times in a row, and not when it passes', async () => {
    const world = new World();
    world.secrets = [issuedSecret(), issuedSecret({ name: 'web-old', podUid: 'uid-of-the-one-before' })];
    const busy = new PodFailure('SecretRefused', 'no role yet', { transient: true });
    const refused = (step: Step): Applied => {
      if (step.kind === 'delete') throw busy;
      return world.taken(step, '100');
    };
    const passed = (step: Step): Applied => world.taken(step, '100');
    for (const answer of [refused, refused, passed, refused, refused]) {
      world.answer = answer;
      await world.reconcile();
      assert.equal(world.failures.cleanUpOf(KEY), undefined);
    }
    await world.reconcile();
    assert.equal(world.failures.cleanUpOf(KEY)?.code, 'SecretRefused');
    assert.deepEqual(
      world.reports.filter((report) => report.startsWith('not cleaned up')),
      ['not cleaned up web-0: no role yet'],
    );
  });
});

describe('a template that another client keeps reverting', () => {
  test('is applied three times at once, then after ever longer waits; the credential stays', async () => {
    const world = new World();
    world.found = resource({ spec: specOf({ secretTemplate: { labels: { team: 'edge' } } }) });
    world.secrets = [issuedSecret({ foreign: { labels: { team: 'theirs' }, annotations: {} } })];
    let written = 0;
    const end = world.clock.now() + 60_000;
    while (world.clock.now() < end) {
      const outcome = await world.reconcile();
      const did = world.did();
      written += did.length;
      assert.ok(did.every((step) => step === 'annotate'));
      const wait = did.length === 0 && outcome.kind === 'at' ? outcome.timeMs - world.clock.now() : 10;
      world.clock.advance(Math.max(10, Math.min(wait, 60_000)));
    }
    assert.ok(written >= 3 && written <= 9, `${written} writes in a minute`);
  });
});

describe('a Secret name', () => {
  test('that is invalid waits for a change of the pod: nothing else helps', async () => {
    const world = new World();
    world.pod = podOf({ secretNames: { web: '../etc' } });
    assert.deepEqual(await world.reconcile(), { kind: 'stalled' });
    assert.deepEqual(world.reports, ['failed SecretNameInvalid web-0']);
    world.pod = podOf({ secretNames: { web: 'web-x' } });
    await world.reconcile();
    assert.deepEqual(world.did(), ['issue Missing']);
  });
});

describe('a namespace that has not been listed whole', () => {
  test('has nothing decided in it: what is not listed yet looks as if it were gone', async () => {
    const world = new World();
    world.complete = false;
    world.pod = undefined;
    world.secrets = [issuedSecret()];
    assert.deepEqual(await world.reconcile(), { kind: 'stalled' });
    assert.deepEqual(world.did(), []);
    world.complete = true;
    await world.reconcile();
    assert.deepEqual(world.did(), ['delete PodGone']);
  });
});

describe('with a grant for one pod', () => {
  const NETWORK = new ApiError('no answer', { status: 0, reason: 'Network' });

  /** What the pod web-1 gets after an attempt at web-0, whose steps end as `answer` says. */
  async function second(answer: (world: World, step: Step) => Applied): Promise<readonly string[]> {
    const world = new World();
    const terms = { lifetimeSeconds: 172_800, maxPods: 1, onWithdraw: 'Keep' as const };
    world.access = { kind: 'granted', terms };
    world.pod = podOf({ gated: ['web'] });
    world.answer = (step) => answer(world, step);
    await world.reconcile();
    world.did();
    world.answer = (step) => world.taken(step, '100');
    world.pod = podOf({ name: 'web-1' });
    await world.controller.reconcile('edge/web/web-1', signal);
    return world.did();
  }

  for (const [what, error] of [
    ['that got no answer', NETWORK],
    ['that the API server refuses without etcd', new ApiError('etcd', { status: 500, reason: 'InternalError' })],
    ['that was made earlier', new StaleCacheError('issued already', '99')],
  ] as const) {
    test(`a write ${what} may have been carried out: no other pod gets one`, async () => {
      assert.deepEqual(
        await second(() => {
          throw error;
        }),
        [],
      );
    });
  }

  test('a published credential counts, even where the gate of its pod cannot be removed', async () => {
    const did = await second((world, step) => {
      if (step.kind === 'ungate') throw new PodFailure('GateNotLifted', 'no permission');
      return world.taken(step, '100');
    });
    assert.deepEqual(did, []);
  });

  test('one that was refused frees its slot', async () => {
    const did = await second(() => {
      throw new PodFailure('IssueFailed', 'refused');
    });
    assert.deepEqual(did, ['issue Missing']);
  });
});
