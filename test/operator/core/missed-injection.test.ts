import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { DelegatedCredentialStatus } from '../../../src/api/delegated-credential.ts';
import type { EventInput } from '../../../src/kubernetes/events/event-recorder.ts';
import { PENDING } from '../../../src/operator/core/certificate-state.ts';
import { Membership } from '../../../src/operator/core/membership.ts';
import {
  missedInjection,
  notInjected,
  pendingWarning,
  unservedResources,
  type Waiting,
} from '../../../src/operator/core/missed-injection.ts';
import { readPod } from '../../../src/operator/core/pod.ts';
import { resourceStatus } from '../../../src/operator/core/status.ts';
import { PodFailures } from '../../../src/operator/pod-failure.ts';
import { OperatorMetrics } from '../../../src/operator/reporting/metrics.ts';
import { Reporter } from '../../../src/operator/reporting/reporter.ts';
import { Tally } from '../../../src/operator/resources/tally.ts';
import { issuedSecret, NOW, podOf, resource, specOf } from '../../../testing/support/builders.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';
import { PodTable } from '../../../testing/support/pod-table.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';

describe('a pod has missed injection', () => {
  test('when it requests a resource and no annotation names its Secret', () => {
    assert.ok(missedInjection(podOf(), 'web'));
  });

  test('not when the annotation is there', () => {
    assert.ok(!missedInjection(podOf({ secretNames: { web: 'web-x' } }), 'web'));
  });

  test('not when it never requested one: a selector found it', () => {
    assert.ok(!missedInjection(podOf({ labels: { app: 'web' } }), 'web'));
  });

  test('for one of its resources and not for the other', () => {
    const pod = podOf({ injected: ['web', 'api'], secretNames: { web: 'web-x' } });
    assert.deepEqual([missedInjection(pod, 'web'), missedInjection(pod, 'api')], [false, true]);
  });
});

describe('unserved resources of a pod', () => {
  const unknown = (injected: readonly string[]) => unservedResources({ injected }, (name) => name === 'web');

  test('are those that it names and that do not serve it', () => {
    assert.deepEqual(unknown(['web', 'api', 'Wrong.Name']), ['api', 'Wrong.Name']);
  });
});

describe('a pod that gets no credential gets a warning with the reason and the remedy', () => {
  const warningOf = (parts: Partial<Waiting>) =>
    pendingWarning({
      name: 'web',
      pod: podOf(),
      resource: { selectsPod: true, suspended: false },
      secrets: [],
      refusal: undefined,
      ...parts,
    });
  const refusal = 'Secret "web-tls" does not exist: create it';

  test('there is no such resource', () => {
    const { note, reason } = warningOf({ resource: undefined }) ?? {};
    assert.equal(reason, 'ResourceNotFound');
    assert.match(note ?? '', /no DelegatedCredential "web" in this namespace: create it, or correct the name/);
  });

  test('the resource selects other pods', () => {
    const { note, reason } = warningOf({ resource: { selectsPod: false, suspended: false } }) ?? {};
    assert.equal(reason, 'NotSelected');
    assert.match(note ?? '', /the podSelector of DelegatedCredential "web" does not match .* remove spec\.podSelector/);
  });

  test('the certificate cannot be used', () => {
    const { note, reason } = warningOf({ refusal }) ?? {};
    assert.equal(reason, 'NotIssued');
    assert.match(note ?? '', /DelegatedCredential "web" issues none: Secret "web-tls" does not exist: create it/);
  });

  test('the resource is suspended', () => {
    assert.match(warningOf({ resource: { selectsPod: true, suspended: true } })?.note ?? '', /spec\.suspend is true/);
  });

  for (const [what, parts] of Object.entries<Partial<Waiting>>({
    'all is well': {},
    'it has its Secret': { refusal, secrets: [issuedSecret()] },
    'it is terminating': { refusal, pod: podOf({ terminating: true }) },
    'it never requested it by the label': { refusal, pod: podOf({ labels: { app: 'web' } }) },
  })) {
    test(`not when ${what}`, () => assert.equal(warningOf(parts), undefined));
  }

  test("a predecessor's Secret is not its own", () => {
    assert.ok(warningOf({ refusal, secrets: [issuedSecret({ podUid: 'earlier' })] }));
  });

  test('a long reason is cut', () => {
    assert.ok((warningOf({ refusal: 'x'.repeat(10_000) })?.note.length ?? 0) < 1024);
  });
});

test('each warning is an Event on the pod, a metric and a log line with the same reason', async () => {
  const events: EventInput[] = [];
  const metrics = new OperatorMetrics('1.2.3');
  const log = recordingLogger();
  const reporter = new Reporter({
    events: { record: (event) => void events.push(event) },
    metrics,
    log,
    clock: new FakeClock(),
  });
  reporter.podWarned(podOf(), 'web', notInjected(podOf(), 'web', 'dcred-system'));
  const absent = { name: 'web', pod: podOf(), resource: undefined, secrets: [], refusal: undefined };
  reporter.podWarned(podOf(), 'web', pendingWarning(absent) ?? assert.fail('no warning'));
  assert.deepEqual(
    events.map(({ reason, regarding, type }) => `${type} ${reason} ${regarding.kind}/${regarding.name}`),
    ['Warning NotInjected Pod/web-0', 'Warning ResourceNotFound Pod/web-0'],
  );
  assert.match(
    events[0]?.note ?? '',
    /its credential is in Secret "web-web-0"\. Re-create the pod once the webhook runs/,
  );
  const text = await metrics.registry.metrics();
  for (const reason of ['NotInjected', 'ResourceNotFound']) {
    assert.ok(text.includes(`dcred_pod_warnings_total{reason="${reason}"} 1`));
  }
  assert.deepEqual(
    log.lines.map(({ fields }) => fields['reason']),
    ['NotInjected', 'ResourceNotFound'],
  );
});

test('the tally counts pods that were not injected, except terminating ones', () => {
  const pods = [
    podOf({ name: 'a' }),
    podOf({ name: 'b', secretNames: { web: 'web-x' } }),
    podOf({ name: 'c', terminating: true }),
  ];
  const table = new PodTable(pods);
  const membership = new Membership(table);
  membership.setResource('edge', 'web', undefined);
  const caches = { pods: table, secrets: { byIndex: () => [] } };
  const counter = new Tally({ caches, membership, failures: new PodFailures() });
  const tally = counter.count({ resource: resource(), certificate: PENDING, now: NOW });
  assert.deepEqual([tally.selected, tally.notInjected], [2, 1]);
});

describe('the condition Injected', () => {
  function conditionOf(
    missed: number,
    parts: { selected?: number; spec?: object; previous?: DelegatedCredentialStatus } = {},
  ) {
    const { previous = {}, selected = 3, spec = {} } = parts;
    const times = { earliestExpiry: undefined, renewalDeadline: undefined, nextRenewal: undefined };
    const status = resourceStatus({
      spec: specOf(spec),
      generation: 1,
      previous,
      certificate: PENDING,
      pods: { selected, issued: selected, failed: 0, failures: [], notInjected: missed, ...times },
      now: NOW,
    });
    return { status, injected: status.conditions?.find(({ type }) => type === 'Injected') };
  }

  test('is False, with a count and what to do, while pods have missed it', () => {
    const { injected } = conditionOf(2);
    assert.deepEqual([injected?.status, injected?.reason], ['False', 'PodsNotInjected']);
    assert.match(
      injected?.message ?? '',
      /^2 of 3 pods were not injected .* re-create them once the webhook runs \(kubectl rollout restart\)$/,
    );
  });

  test('is True when none has', () => {
    const { injected } = conditionOf(0);
    assert.deepEqual(
      [injected?.status, injected?.reason, injected?.message],
      ['True', 'Injected', '3 pods were injected'],
    );
  });

  test('becomes True once the pods are re-created', () => {
    const { status } = conditionOf(1);
    assert.equal(conditionOf(0, { previous: status }).injected?.status, 'True');
  });

  test('is absent where pods are selected by their labels, or there are none', () => {
    const { status } = conditionOf(1);
    const spec = { podSelector: { matchLabels: { app: 'web' } } };
    assert.equal(conditionOf(2, { previous: status, spec }).injected, undefined);
    assert.equal(conditionOf(0, { previous: status, selected: 0 }).injected, undefined);
  });

  test('leaves Ready alone', () => {
    const ready = (missed: number) => conditionOf(missed).status.conditions?.find(({ type }) => type === 'Ready');
    assert.deepEqual(ready(2), ready(0));
  });
});

test('a pod in a namespace that is never injected gets no advice to re-create it', () => {
  for (const namespace of ['kube-system', 'dcred-system']) {
    const { note } = notInjected(podOf({ namespace, name: 'web-0' }), 'web', 'dcred-system');
    assert.match(note, /are never injected: run it in another namespace, or mount Secret "web-web-0" yourself$/);
  }
});

test("a pod that the webhook admitted unchanged has the webhook's reason, whatever it is", () => {
  const { note } = notInjected(podOf({ notInjected: 'the pod has 300 containers' }), 'web', 'dcred-system');
  assert.match(note, /did not inject it: the pod has 300 containers\. Its credential is in Secret "web-web-0"$/);
  const hostile = readPod({
    metadata: { name: 'a', annotations: { 'dcred.dev/not-injected': `\u202e${'x'.repeat(9_000)}` } },
  });
  assert.ok(notInjected(hostile, 'web', 'dcred-system').note.length < 1_024);
  assert.match(hostile.notInjected ?? '', /^\\u202ex+\.\.\.$/);
});
