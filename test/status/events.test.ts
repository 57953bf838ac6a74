import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collectEvents } from '../../src/status/events.ts';

const signal = new AbortController().signal;

async function collected(items: readonly object[], names?: readonly string[]) {
  const client = { list: () => Promise.resolve({ metadata: {}, items: items as never[] }) };
  return await collectEvents(client, { namespace: undefined, names, type: undefined }, signal);
}

const event = {
  metadata: { namespace: 'edge', name: 'web.1', creationTimestamp: '2027-01-15T08:00:00Z' },
  reportingController: 'dcred.dev/operator',
  regarding: { apiVersion: 'dcred.dev/v1alpha1', kind: 'DelegatedCredential', namespace: 'edge', name: 'web' },
  type: 'Normal',
  reason: 'Issued',
  note: 'issued',
};

test('an Event says what it is about, and on whose account', async () => {
  const pod = { kind: 'Pod', namespace: 'edge', name: 'web-0' };
  const [shown] = await collected([{ ...event, regarding: pod, related: event.regarding }], ['web']);
  assert.deepEqual([shown?.object, shown?.related], ['pod/web-0', 'delegatedcredential/web']);
});

test('whoever may create Events writes what they like into them: dcred shows it, and all the others', async () => {
  const { regarding: _, ...bare } = event;
  const odd = [
    { ...event, regarding: {} },
    { ...event, regarding: { namespace: 'edge' }, related: {} },
    { ...event, regarding: { kind: 'Pod' }, related: null },
    bare,
    { metadata: {}, reportingController: 'dcred.dev/', series: null, eventTime: 'yesterday' },
  ];
  const shown = await collected([...odd, event]);
  assert.deepEqual(shown.map(({ object }) => object).sort(), ['', '', '', '', 'delegatedcredential/web', 'pod/']);
  assert.equal((await collected([...odd, event], ['web'])).length, 1);
});
