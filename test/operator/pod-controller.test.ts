import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { DelegatedCredentialResource } from '../../src/api/delegated-credential.ts';
import type { UnreadableResource } from '../../src/api/read.ts';
import type { DelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import type { Signer } from '../../src/credential/signer.ts';
import { type IssuedSecret, podKeyOf } from '../../src/issued-secret/issued-secret.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { Applied } from '../../src/operator/apply.ts';
import type { Caches } from '../../src/operator/caches.ts';
import { type CertificateState, refused } from '../../src/operator/core/certificate-state.ts';
import type { Step } from '../../src/operator/core/plan.ts';
import type { Pod } from '../../src/operator/core/pod.ts';
import { PodController } from '../../src/operator/pod-controller.ts';
import { PodFailure, PodFailures, StaleCacheError } from '../../src/operator/pod-failure.ts';
import { facts, issuedSecret, NOW, podOf, resource, SHA256, specOf } from '../../testing/support/builders.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';

const KEY = 'edge/web/web-0';
const signal = new AbortController().signal;
const YEAR = 365 * 86_400;

const USABLE: CertificateState = {
  kind: 'usable',
  certificate: { sha256: SHA256, notBefore: NOW - YEAR, notAfter: NOW + YEAR } as DelegationCertificate,
  signer: {} as Signer,
};

/** A cluster as the controller sees it: caches, certificates and applier are fakes; plan, guard and failures are real. */
class World {
  readonly clock = new FakeClock(NOW * 1000);
  readonly failures = new PodFailures();
  readonly steps: Step[] = [];
  readonly reports: string[] = [];
  readonly nudges: string[] = [];
  readonly outcomes: string[] = [];
  found: DelegatedCredentialResource | UnreadableResource | undefined = resource();
  pod: Pod | undefined = podOf();
  secrets: IssuedSecret[] = [];
  certificate: CertificateState = USABLE;
  /** The newest version that the caches show. */
  seen = 100;
  /** What the API server does with a step; by default it takes it, as version 100. */
  answer: (step: Step) => Applied = (step) => this.taken(step, '100');

  readonly controller = new PodController({
    caches: {
      resources: { get: () => this.found && { value: this.found } },
      pods: { get: () => this.pod, isAtLeast: (_: string, version: string) => this.seen >= Number(version) },
      secrets: {
        get: (_: string, name: string) => ({ issued: this.secrets.find((secret) => secret.name === name) }),
        byIndex: (_: string, _index: string, key: string) =>
          this.secrets.filter((secret) => podKeyOf(secret) === key).map((issued) => ({ issued })),
        isAtLeast: (_: string, version: string) => this.seen >= Number(version),
      },
    } as unknown as Caches,
    certificates: { resolve: () => this.certificate },
    applier: {
      apply: async (step) => {
        this.steps.push(step);
        return this.answer(step);
      },
      wholeSecrets: async (secrets) => secrets,
    },
    failures: this.failures,
    nudge: { send: async ({ name }) => void this.nudges.push(name) },
    reporter: {
      issued: (_resource, pod, reason) => void this.reports.push(`issued ${reason} ${pod.name}`),
      deleted: (secret, reason) => void this.reports.push(`deleted ${reason} ${secret.name}`),
      podFailed: (pod, _resource, failure) => void this.reports.push(`failed ${failure.code} ${pod.name}`),
      podWarned: (pod, _name, { reason }) => void this.reports.push(`warned ${reason} ${pod.name}`),
    },
    clock: this.clock,
    onOutcome: (namespace, name) => void this.outcomes.push(`${namespace}/${name}`),
  });

  taken(step: Step, version: string): Applied {
    switch (step.kind) {
      case 'issue':
        return { kind: 'issued', reason: step.reason, seconds: 0.01, resourceVersion: version };
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

  test('is made again in a second where no version is known', async () => {
    const world = new World();
    world.answer = () => {
      throw new StaleCacheError('it changed');
    };
    assert.deepEqual(await world.reconcile(), { kind: 'at', timeMs: world.clock.now() + 1_000 });
    assert.deepEqual(world.reports, [], 'nothing that anybody has to fix');
    assert.equal(world.failures.failureOf(KEY), undefined);
  });

  test('stops the steps after it', async () => {
    const world = new World();
    world.secrets = [issuedSecret({ podUid: 'uid-of-the-one-before' })];
    world.answer = () => {
      throw new StaleCacheError('it changed');
    };
    await world.reconcile();
    assert.deepEqual(world.did(), ['delete PodReplaced']);
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
    assert.deepEqual(world.reports, ['failed SecretNameTaken web-0']);
    world.secrets = [];
    await world.reconcile();
    assert.equal(world.failures.failureOf(KEY), undefined);
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

  test('by an API server that does not answer is retried, and is no failure of the pod', async () => {
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
