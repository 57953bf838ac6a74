import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readPod, sameEntries, samePod } from '../../../src/operator/core/pod.ts';
import { podOf } from '../../../testing/support/builders.ts';

const METADATA = { namespace: 'edge', name: 'web-0', uid: 'u1' };

describe('a pod', () => {
  test('is read from its metadata alone', () => {
    const pod = readPod({
      metadata: {
        ...METADATA,
        labels: { app: 'web', 'dcred.dev/inject': 'web' },
        annotations: { 'secret.dcred.dev/web': 'web-x', 'secret.dcred.dev/api': 'api-x', other: 'note' },
      },
    });
    assert.deepEqual(pod, {
      ...METADATA,
      labels: { app: 'web', 'dcred.dev/inject': 'web' },
      injected: ['web'],
      terminating: false,
      secretNames: { web: 'web-x', api: 'api-x' },
      gated: [],
    });
  });

  test('has the resources whose gates it waits for', () => {
    const annotations = { 'gate.dcred.dev/web': '', 'gate.dcred.dev/api': '', 'gate.example/x': '' };
    assert.deepEqual(readPod({ metadata: { ...METADATA, annotations } }).gated, ['api', 'web']);
  });

  test('without labels and annotations is one too', () => {
    const pod = readPod({ metadata: METADATA });
    assert.deepEqual(pod, { ...METADATA, labels: {}, injected: [], terminating: false, secretNames: {}, gated: [] });
  });

  test('with a deletion timestamp is terminating', () => {
    assert.ok(readPod({ metadata: { ...METADATA, deletionTimestamp: '2027-01-15T08:00:00Z' } }).terminating);
  });

  test('may request several resources, in an annotation beside the label', () => {
    const both = readPod({
      metadata: {
        ...METADATA,
        labels: { 'dcred.dev/inject': 'web' },
        annotations: { 'dcred.dev/inject': 'api, web,,db ' },
      },
    });
    assert.deepEqual(both.injected, ['web', 'api', 'db']);
  });

  test('that has only the annotation requests nothing: the label is the switch', () => {
    const pod = readPod({ metadata: { ...METADATA, annotations: { 'dcred.dev/inject': 'web' } } });
    assert.deepEqual(pod.injected, []);
  });

  test('shares one empty object with all pods that name no Secret', () => {
    const [one, other] = [readPod({ metadata: METADATA }), readPod({ metadata: { ...METADATA, name: 'web-1' } })];
    assert.equal(one.secretNames, other.secretNames);
  });
});

describe('two readings of a pod', () => {
  const pod = podOf({ secretNames: { web: 'x' } });

  test('are the same where nothing changed that matters', () => {
    assert.ok(samePod(pod, { ...pod, labels: { ...pod.labels }, secretNames: { web: 'x' } }));
  });

  for (const [what, changes] of Object.entries({
    'another pod under the same name': { uid: 'u2' },
    'its end': { terminating: true },
    'a label': { labels: { ...pod.labels, app: 'web' } },
    'a label gone': { labels: {} },
    'the Secret name': { secretNames: { web: 'y' } },
    'a second Secret name': { secretNames: { web: 'x', api: 'y' } },
    'what it asks for': { injected: ['web', 'api'] },
    'what it waits for': { gated: ['web'] },
  })) {
    test(`differ by ${what}`, () => assert.ok(!samePod(pod, { ...pod, ...changes })));
  }
});

test('entries are compared by their own keys', () => {
  assert.ok(sameEntries({}, {}));
  assert.ok(sameEntries({ a: '1', b: '2' }, { b: '2', a: '1' }));
  assert.ok(!sameEntries({ a: '1' }, { b: '1' }));
  assert.ok(!sameEntries({ a: '1' }, { a: '2' }));
  assert.ok(!sameEntries({ constructor: '1' }, { a: '1' }));
});
