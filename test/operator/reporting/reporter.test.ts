import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { EventInput } from '../../../src/kubernetes/events/event-recorder.ts';
import { DELETE_REASONS, ISSUE_REASONS } from '../../../src/operator/core/plan.ts';
import type { ReadyReason } from '../../../src/operator/core/status.ts';
import { PodFailure, type PodFailureReason } from '../../../src/operator/pod-failure.ts';
import { OperatorMetrics } from '../../../src/operator/reporting/metrics.ts';
import { Reporter } from '../../../src/operator/reporting/reporter.ts';
import { issuedSecret, podOf, resource } from '../../../testing/support/builders.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';

/** The recorder of Events is a fake; metrics and log are real. */
function reporting() {
  const events: EventInput[] = [];
  const metrics = new OperatorMetrics('test');
  const log = recordingLogger();
  const reporter = new Reporter({
    events: { record: (event) => events.push(event) },
    metrics,
    log,
    clock: new FakeClock(),
  });
  const counted = async (name: string, reason: string) => {
    const lines = (await metrics.registry.metrics()).split('\n');
    return Number(lines.find((line) => line.startsWith(`${name}{reason="${reason}"}`))?.split(' ')[1]);
  };
  return { events, log, reporter, counted };
}

describe('the Event, the metric and the log have the same word', () => {
  for (const reason of ISSUE_REASONS) {
    test(`when a credential is issued for ${reason}`, async () => {
      const { events, log, reporter, counted } = reporting();
      reporter.issued(resource(), podOf(), reason, 0.01);
      const said = events.map((event) => [event.type, event.reason, event.regarding.kind, event.regarding.name]);
      // A new leaf's wave has an Event at its beginning and one at its end.
      const expected = reason === 'CertificateChanged' ? [] : [['Normal', reason, 'DelegatedCredential', 'web']];
      assert.deepEqual(said, expected);
      assert.equal(log.lines[0]?.fields['reason'], reason);
      assert.equal(await counted('dcred_credentials_issued_total', reason), 1);
    });
  }

  for (const reason of DELETE_REASONS) {
    test(`when a Secret is deleted for ${reason}`, async () => {
      const { events, log, reporter, counted } = reporting();
      reporter.deleted(issuedSecret(), reason);
      assert.deepEqual(events, [], 'what is wanted is no Event');
      assert.equal(log.lines[0]?.fields['reason'], reason);
      assert.equal(await counted('dcred_secrets_deleted_total', reason), 1);
    });
  }

  for (const reason of [
    'SecretNameInvalid',
    'SecretNameTaken',
    'SecretRefused',
  ] as const satisfies PodFailureReason[]) {
    test(`when a pod cannot be served for ${reason}`, async () => {
      const { events, log, reporter, counted } = reporting();
      reporter.podFailed(podOf(), resource(), new PodFailure(reason, 'do this'), true);
      const [event] = events;
      assert.deepEqual(
        [event?.type, event?.reason, event?.note],
        ['Warning', reason, 'DelegatedCredential "web": do this'],
      );
      assert.deepEqual([event?.regarding.kind, event?.regarding.name], ['Pod', 'web-0']);
      assert.deepEqual([event?.related?.kind, event?.related?.name], ['DelegatedCredential', 'web']);
      assert.deepEqual([log.lines[0]?.level, log.lines[0]?.fields['reason']], ['warn', reason]);
      assert.equal(await counted('dcred_pod_failures_total', reason), 1);
    });
  }
});

test('a fleet is one Event with a count: the note names no pod', () => {
  const { events, reporter } = reporting();
  for (const name of ['a', 'b']) reporter.issued(resource(), podOf({ name }), 'RenewalDue', 0);
  assert.deepEqual(events[0], events[1]);
});

describe('another reason of the Ready condition', () => {
  const all: Readonly<Record<ReadyReason, boolean>> = {
    Issued: false,
    Issuing: false,
    NoPods: false,
    Suspended: false,
    PodsFailed: true,
    SpecInvalid: true,
    SignerUnavailable: true,
    CertificateNotFound: true,
    CertificateNotPermitted: true,
    CertificateInvalid: true,
    CertificateCannotDelegate: true,
    CertificateKeyUnsupported: true,
  };
  for (const [reason, isEvent] of Object.entries(all) as [ReadyReason, boolean][]) {
    test(`${reason} is logged, and ${isEvent ? 'a warning' : 'no Event: there is nothing to do'}`, () => {
      const { events, log, reporter } = reporting();
      const ok = reason === 'Issued' || reason === 'NoPods';
      reporter.readyChanged(resource().metadata, { reason, ok, message: 'what to do' });
      assert.deepEqual([log.lines[0]?.fields['reason'], log.lines[0]?.fields['detail']], [reason, 'what to do']);
      const expected = isEvent ? [['Warning', reason, 'what to do', 'DelegatedCredential']] : [];
      assert.deepEqual(
        events.map((event) => [event.type, event.reason, event.note, event.regarding.kind]),
        expected,
      );
    });
  }
});

test('a warning about a pod names the resource that the pod requests, if it requests one', () => {
  const { events, reporter } = reporting();
  reporter.podWarned(podOf(), 'web', { reason: 'NotInjected', note: 'do this' });
  reporter.podWarned(podOf(), '', { reason: 'MetadataIgnored', note: 'do that' });
  assert.deepEqual(
    events.map(({ reason, related }) => [reason, related?.kind, related?.namespace, related?.name]),
    [
      ['NotInjected', 'DelegatedCredential', 'edge', 'web'],
      ['MetadataIgnored', undefined, undefined, undefined],
    ],
  );
});

test('an Event says exactly which object it regards', () => {
  const { events, reporter } = reporting();
  reporter.podFailed(podOf({ uid: 'u5' }), resource({ uid: 'r5' }), new PodFailure('SecretRefused', 'x'), true);
  assert.deepEqual(events[0]?.regarding, {
    apiVersion: 'v1',
    kind: 'Pod',
    namespace: 'edge',
    name: 'web-0',
    uid: 'u5',
  });
  assert.deepEqual(events[0].related, {
    apiVersion: 'dcred.dev/v1alpha1',
    kind: 'DelegatedCredential',
    namespace: 'edge',
    name: 'web',
    uid: 'r5',
  });
});
