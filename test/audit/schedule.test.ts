import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AuditMetrics } from '../../src/audit/metrics.ts';
import { Publisher } from '../../src/audit/publisher.ts';
import { runSchedule } from '../../src/audit/schedule.ts';
import type { AuditState } from '../../src/audit/verdict.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { EventInput } from '../../src/kubernetes/events/event-recorder.ts';
import { resource, specOf } from '../../testing/support/builders.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';
import { imaginaryFleet } from '../../testing/support/imaginary-fleet.ts';
import { missing, notServed } from '../../testing/support/not-found.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';

const signal = new AbortController().signal;
const NOTHING = { resources: [], pods: [], secrets: [] };

/** A publisher whose API server records what is applied, or refuses it. */
function publisher(refusal?: ApiError) {
  const applied: { name?: string; conditions: readonly { type: string; reason: string }[] }[] = [];
  const events: EventInput[] = [];
  const log = recordingLogger();
  const apply = async <T>(_type: unknown, object: object): Promise<T> => {
    if (refusal !== undefined) throw refusal;
    const { metadata, status } = object as { metadata: { name: string }; status: { conditions: [] } };
    applied.push({ name: metadata.name, conditions: status.conditions });
    return {} as T;
  };
  const made = new Publisher({
    client: { apply },
    events: { record: (event) => void events.push(event) },
    log,
    now: () => 0,
  });
  return { applied, events, log, publisher: made };
}

function fleet(stateOf: (index: number) => AuditState) {
  const result = imaginaryFleet({ pods: 3, stateOf });
  return { result, resources: result.resources.map((one) => one.resource) };
}

describe('what an audit publishes', () => {
  test('is the condition Serving of each resource, and an Event on each pod with a finding', async () => {
    const { applied, events, publisher: made } = publisher();
    const { resources, result } = fleet((index) => (index === 1 ? 'stale' : 'current'));
    await made.publish(result, resources, signal);
    assert.deepEqual(
      applied.map(({ conditions, name }) => [name, conditions.map(({ reason, type }) => `${type}=${reason}`)]),
      [
        ['web', ['Serving=ServedCredentialStale']],
        ['gateway', ['Serving=NoServers']],
        ['mail', ['Serving=Current']],
      ],
    );
    assert.deepEqual(
      events.map(({ reason, regarding, related }) => [reason, regarding.kind, related?.kind, related?.name]),
      [['ServedCredentialStale', 'Pod', 'DelegatedCredential', 'web']],
    );
    await made.publish(result, resources, signal);
    assert.equal(events.length, 1, 'once');
  });

  test('is not written where it is unchanged', async () => {
    const first = publisher();
    const { resources, result } = fleet(() => 'current');
    await first.publisher.publish(result, resources, signal);
    const written = new Map(first.applied.map(({ conditions, name }) => [name, conditions]));
    const again = {
      ...result,
      resources: result.resources.map((one) => ({
        ...one,
        resource: { ...one.resource, status: { conditions: written.get(one.name) as never } },
      })),
      entries: result.entries,
    };
    const second = publisher();
    const byName = new Map(again.resources.map((one) => [one.name, one.resource]));
    const entries = again.entries.map((entry) => {
      const found = byName.get(entry.subject.resource.metadata.name) ?? entry.subject.resource;
      return { ...entry, subject: { ...entry.subject, resource: found } };
    });
    await second.publisher.publish({ ...again, entries }, [...byName.values()], signal);
    assert.deepEqual(second.applied, []);
  });

  test('is removed from a resource that is no longer audited', async () => {
    const { applied, publisher: made } = publisher();
    const serving = {
      type: 'Serving',
      status: 'True',
      reason: 'Current',
      message: '',
      lastTransitionTime: '2027-01-15T08:00:00Z',
    } as const;
    const client = resource({ name: 'client', spec: specOf({ usage: 'Client' }), status: { conditions: [serving] } });
    const untouched = resource({ name: 'other', spec: specOf({ usage: 'Client' }) });
    const result = imaginaryFleet({ pods: 0 });
    await made.publish({ ...result, resources: [] }, [client, untouched], signal);
    assert.deepEqual(applied, [{ name: 'client', conditions: [] }]);
  });

  test('may be refused: the others are written, and a resource that is gone is not an error', async () => {
    const { resources, result } = fleet(() => 'current');
    for (const [error, warnings] of [
      [missing(), 0],
      [notServed(), 3],
      [new ApiError('no', { status: 403, reason: 'Forbidden' }), 3],
    ] as const) {
      const { log, publisher: made } = publisher(error);
      await made.publish(result, resources, signal);
      assert.equal(log.lines.filter(({ level }) => level === 'warn').length, warnings, error.message);
    }
  });
});

describe('a schedule', () => {
  test('audits at each interval, counts what fails, and goes on', async () => {
    const clock = new FakeClock();
    const stop = new AbortController();
    const metrics = new AuditMetrics('0.0.0');
    let begun = 0;
    const result = imaginaryFleet({ pods: 40 });
    const running = runSchedule(
      {
        collect: async () => {
          begun += 1;
          if (begun === 2) throw new ApiError('no answer', { status: 0, reason: 'Network' });
          return NOTHING;
        },
        audit: async () => result,
        publisher: { publish: async () => {} },
        metrics,
        intervalMs: 60_000,
        clock,
        log: recordingLogger(),
      },
      stop.signal,
    );
    for (const expected of [1, 2, 3]) {
      assert.equal(begun, expected);
      await clock.advanceAsync(59_000);
      assert.equal(begun, expected);
      await clock.advanceAsync(1_000);
    }
    stop.abort();
    await running;
    const text = await metrics.registry.metrics();
    assert.match(text, /^dcred_audit_runs_total\{outcome="failure"\} 1$/m);
    assert.match(text, /^dcred_audit_runs_total\{outcome="success"\} 3$/m);
  });
});

describe('the metrics', () => {
  test('count servers by what they serve, and forget a resource that is gone', async () => {
    const metrics = new AuditMetrics('0.0.0');
    metrics.succeeded(
      imaginaryFleet({
        pods: 9,
        stateOf: (index) => (index === 1 ? 'stale' : index === 2 ? 'unreachable' : 'current'),
      }),
    );
    const before = await metrics.registry.metrics();
    assert.match(before, /^dcred_served_credential_stale\{namespace="edge",name="web"\} 1$/m);
    assert.match(before, /^dcred_audited_servers\{namespace="edge",name="web",state="unreachable"\} 1$/m);
    assert.match(before, /^dcred_served_leaves\{namespace="edge",name="web"\} 1$/m);
    assert.match(before, /^dcred_audit_last_success_timestamp_seconds [1-9]/m);
    metrics.succeeded({ ...imaginaryFleet({ pods: 0 }), resources: [] });
    assert.doesNotMatch(await metrics.registry.metrics(), /name="web"/);
  });
});
