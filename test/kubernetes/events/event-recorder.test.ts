/** Events on a real API server, which validates them, and a flood of them on a fake one. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import { systemClock } from '../../../src/kubernetes/clock.ts';
import { cutToBytes, type EventInput, type EventObject, newEvent } from '../../../src/kubernetes/events/event.ts';
import { EventRecorder, type EventRecorderOptions } from '../../../src/kubernetes/events/event-recorder.ts';
import { EVENTS } from '../../../src/kubernetes/resource-type.ts';
import { type ControlPlane, startControlPlane } from '../../../testing/controlplane/control-plane.ts';
import { FakeClock, settle } from '../../../testing/support/fake-clock.ts';
import { eventually } from '../../../testing/support/processes.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';
import { clientFor, FakeApiServer, json, refusal, silence } from '../clients.ts';

const signal = new AbortController().signal;

function input(name: string, fields: Partial<EventInput> = {}): EventInput {
  return {
    regarding: { apiVersion: 'v1', kind: 'Pod', namespace: 'default', name, uid: '1-2-3' },
    type: 'Normal',
    reason: 'Issued',
    action: 'Issue',
    note: 'Something was issued.',
    ...fields,
  };
}

function recorderFor(client: ApiClient, options: Partial<EventRecorderOptions> = {}) {
  const log = recordingLogger();
  const fixed = {
    client,
    controller: 'example.dev/operator',
    instance: 'host-1',
    namespace: 'default',
    clock: systemClock,
    log,
  };
  return { recorder: new EventRecorder({ ...fixed, ...options }), log };
}

describe('with a real API server', () => {
  let plane: ControlPlane;
  let client: ApiClient;

  before(async () => {
    plane = await startControlPlane();
    client = await clientFor(plane.kubeconfig);
  });
  after(async () => {
    await client?.close();
    await plane?.stop();
  });

  async function eventsAbout(name: string): Promise<readonly EventObject[]> {
    const { items } = await client.list<EventObject>(EVENTS, {}, { signal });
    return items.filter(({ regarding }) => regarding.name === name);
  }

  test('an event says what happened, to which object, and who reports it; kubectl shows it', async () => {
    const { recorder } = recorderFor(client);
    const related = { apiVersion: 'v1', kind: 'Secret', namespace: 'default', name: 'web-tls' };
    recorder.record(input('written', { related, type: 'Warning' }));
    await recorder.flush(signal);
    const [event, ...others] = await eventsAbout('written');
    assert.equal(others.length, 0);
    assert.ok(event !== undefined);
    const { type, reason, action, note, reportingController, reportingInstance } = event;
    assert.deepEqual([type, reason, action, note], ['Warning', 'Issued', 'Issue', 'Something was issued.']);
    assert.deepEqual([reportingController, reportingInstance], ['example.dev/operator', 'host-1']);
    assert.equal(event.related?.name, 'web-tls');
    const { stdout } = await plane.kubectl(['events', '--for=pod/written']);
    assert.match(stdout, /Warning\s+Issued\s+Pod\/written\s+Something was issued\./);
  });

  test('what happens again is counted, not written again', async () => {
    const { recorder } = recorderFor(client);
    recorder.record(input('again'));
    await eventually('the first is written', async () => (await eventsAbout('again'))[0]);
    recorder.record(input('again'));
    await eventually('the second is counted', async () => (await eventsAbout('again'))[0]?.series);
    for (let i = 0; i < 40; i++) recorder.record(input('again'));
    await recorder.flush(signal);
    const events = await eventsAbout('again');
    assert.equal(events.length, 1);
    assert.equal(events[0]?.series?.count, 42);
  });

  test('what happens many times before it is first written is one event with its count', async () => {
    const { recorder } = recorderFor(client);
    for (let i = 0; i < 5; i++) recorder.record(input('burst'));
    await recorder.flush(signal);
    const events = await eventsAbout('burst');
    assert.deepEqual(
      events.map(({ series }) => series?.count),
      [5],
    );
  });

  test('another reason, another note, another object are other events', async () => {
    const { recorder } = recorderFor(client);
    recorder.record(input('various'));
    recorder.record(input('various', { reason: 'Other' }));
    recorder.record(input('various', { note: 'Other.' }));
    await recorder.flush(signal);
    assert.equal((await eventsAbout('various')).length, 3);
  });

  test('an event that has expired is written again', async () => {
    const { recorder } = recorderFor(client);
    recorder.record(input('expired'));
    const first = await eventually('it is written', async () => (await eventsAbout('expired'))[0]);
    await client.delete(EVENTS, { namespace: 'default', name: first.metadata.name ?? '' }, { signal });
    recorder.record(input('expired'));
    await recorder.flush(signal);
    assert.equal((await eventsAbout('expired')).length, 1);
  });

  test('whatever is too long is cut so that the API server takes it, and a cluster-wide object has its events in default', async () => {
    const { recorder, log } = recorderFor(client, { instance: 'i'.repeat(300) });
    recorder.record(
      input(`n${'n'.repeat(252)}`, {
        note: 'é\u{1F511}'.repeat(1000),
        reason: 'R'.repeat(300),
        action: 'A'.repeat(300),
      }),
    );
    recorder.record(input('cluster-wide', { regarding: { apiVersion: 'v1', kind: 'Node', name: 'cluster-wide' } }));
    await recorder.flush(signal);
    assert.deepEqual(log.lines, []);
    assert.equal((await eventsAbout(`n${'n'.repeat(252)}`)).length, 1);
    assert.equal((await eventsAbout('cluster-wide'))[0]?.metadata.namespace, 'default');
  });

  test('an event that is refused is dropped, counted and logged, and the next is written', async () => {
    const dropped: string[] = [];
    const { recorder, log } = recorderFor(client, { onDropped: (reason) => dropped.push(reason) });
    recorder.record(
      input('nowhere', { regarding: { apiVersion: 'v1', kind: 'Pod', namespace: 'absent', name: 'nowhere' } }),
    );
    recorder.record(input('after'));
    await recorder.flush(signal);
    assert.deepEqual(
      log.lines.map(({ message }) => message),
      ['failed to write an Event, dropping it'],
    );
    assert.deepEqual(dropped, ['failed']);
    assert.equal((await eventsAbout('after')).length, 1);
  });
});

describe('with a fake API server', () => {
  test('a flood is rate-limited and bounded, and the rest is dropped and counted', async () => {
    await using fake = await FakeApiServer.start(json(201, { metadata: { name: 'x' } }));
    const clock = new FakeClock();
    let dropped = 0;
    const onDropped = () => (dropped += 1);
    const { recorder } = recorderFor(fake.client(), { clock, burst: 20, perSecond: 10, onDropped });
    for (let i = 0; i < 50_000; i++) recorder.record(input(`pod-${i}`));
    assert.ok(dropped >= 48_000);
    await eventually('the burst is written', async () => fake.requests.length >= 20 || undefined, { intervalMs: 5 });
    for (let i = 0; i < 20; i++) await settle();
    assert.equal(fake.requests.length, 20);
    clock.advance(1_000);
    await eventually('a second’s worth is written', async () => fake.requests.length >= 21 || undefined, {
      intervalMs: 5,
    });
    assert.ok(fake.requests.length <= 31);
    await recorder.flush(AbortSignal.abort());
  });

  test('a server that does not answer blocks no caller, and flush ends with its signal', async () => {
    await using fake = await FakeApiServer.start(silence);
    const { recorder } = recorderFor(fake.client());
    recorder.record(input('a'));
    recorder.record(input('b'));
    await eventually('the request has arrived', async () => fake.requests[0], { intervalMs: 5 });
    const giveUp = new AbortController();
    const flushed = recorder.flush(giveUp.signal);
    giveUp.abort();
    await flushed;
    recorder.record(input('after the end'));
    assert.equal(fake.requests.length, 1);
  });

  test('counts are written in the background every ten seconds', async () => {
    await using fake = await FakeApiServer.start(json(201, { metadata: { name: 'x' } }));
    const clock = new FakeClock();
    const { recorder } = recorderFor(fake.client(), { clock });
    const requests = (count: number) =>
      eventually(`${count} requests`, async () => fake.requests.length >= count || undefined, { intervalMs: 5 });
    recorder.record(input('a'));
    await requests(1);
    await settle();
    recorder.record(input('a'));
    await requests(2);
    await settle();
    for (let i = 0; i < 5; i++) recorder.record(input('a'));
    for (let i = 0; i < 10; i++) await settle();
    assert.equal(fake.requests.length, 2);
    clock.advance(10_000);
    await requests(3);
    assert.deepEqual(
      fake.requests.map(({ method }) => method),
      ['POST', 'PATCH', 'PATCH'],
    );
    assert.equal(JSON.parse(fake.requests[2]?.body ?? '').series.count, 7);
    await recorder.flush(signal);
    assert.equal(clock.timers, 0);
  });

  test('after six quiet minutes the same occurrence is a new event', async () => {
    await using fake = await FakeApiServer.start(json(201, { metadata: { name: 'x' } }));
    const clock = new FakeClock();
    const { recorder } = recorderFor(fake.client(), { clock });
    recorder.record(input('a'));
    await eventually('one request', async () => fake.requests[0], { intervalMs: 5 });
    clock.advance(360_000);
    recorder.record(input('a'));
    await recorder.flush(signal);
    assert.deepEqual(
      fake.requests.map(({ method }) => method),
      ['POST', 'POST'],
    );
  });

  test('a note of any size and content is bounded and printable before it is remembered', async () => {
    await using fake = await FakeApiServer.start(json(201, { metadata: { name: 'x' } }));
    const { recorder } = recorderFor(fake.client());
    recorder.record(input('a', { note: `\u001b[31m\u202e${'x'.repeat(10_000_000)}` }));
    recorder.record(input('a', { note: `\u001b[31m\u202e${'x'.repeat(10_000_001)}` }));
    await recorder.flush(signal);
    const created = fake.requests.filter(({ method }) => method === 'POST');
    assert.equal(created.length, 1, 'the same within its bounds');
    const { note } = JSON.parse(fake.requests[0]?.body ?? '') as { note: string };
    assert.ok(Buffer.byteLength(note) <= 1024);
    assert.doesNotMatch(note, /[\p{Cc}\p{Cf}]/u);
  });

  test('no input makes record throw', async () => {
    await using fake = await FakeApiServer.start(refusal(422, 'Invalid'));
    const { recorder } = recorderFor(fake.client(), { burst: 1_000 });
    fc.assert(
      fc.property(fc.string(), fc.string({ unit: 'binary' }), (name, note) => {
        recorder.record(input(name, { note }));
      }),
    );
    await recorder.flush(signal);
  });
});

test('a note is cut to its bytes, never in the middle of a character', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 100 }), fc.integer({ min: 3, max: 120 }), (text, max) => {
      const cut = cutToBytes(text, max);
      assert.ok(Buffer.byteLength(cut) <= max);
      assert.ok(!cut.includes('�') || text.includes('�'));
      if (Buffer.byteLength(text) <= max) assert.equal(cut, text);
    }),
  );
});

test('the name of an event is one that the API server takes, however long its subject’s is', () => {
  const source = { controller: 'c', instance: 'i', namespace: 'default' };
  for (const length of [1, 240, 253]) {
    const { metadata } = newEvent(input('a.'.repeat(length).slice(0, length)), source, 'abc123', 0);
    assert.match(metadata.name ?? '', /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
    assert.ok((metadata.name ?? '').length <= 253);
  }
});
