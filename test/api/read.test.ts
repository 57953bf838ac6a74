import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isReadable, readDelegatedCredential, type UnreadableResource } from '../../src/api/read.ts';

const METADATA = { name: 'web', namespace: 'edge', uid: 'u1', resourceVersion: '5', generation: 2 };
const SPEC = { certificateRef: { name: 'web-tls' } };

function unreadable(spec: unknown): UnreadableResource {
  const read = readDelegatedCredential({ metadata: METADATA, spec });
  assert.ok(!isReadable(read), 'it was read');
  return read;
}

describe('an object that fits', () => {
  test('has its defaults filled in, even where the API server set none', () => {
    const read = readDelegatedCredential({ metadata: METADATA, spec: SPEC });
    assert.ok(isReadable(read));
    assert.deepEqual(read.spec, {
      certificateRef: { name: 'web-tls' },
      usage: 'Server',
      keyAlgorithm: 'ECDSAP256',
      lifetimeSeconds: 172_800,
      suspend: false,
    });
    assert.deepEqual(read.status, {});
  });

  test('may have fields of a newer version, which are left out', () => {
    const read = readDelegatedCredential({
      metadata: { ...METADATA, labels: {}, managedFields: [] },
      spec: { ...SPEC, novelty: true },
      status: { novelty: true, observedGeneration: 2 },
    });
    assert.ok(isReadable(read));
    assert.ok(!('novelty' in read.spec));
    assert.deepEqual(read.status, { observedGeneration: 2 });
  });

  test('without a generation, as a very old API server has it, is of generation 0', () => {
    const { generation: _, ...metadata } = METADATA;
    assert.equal(readDelegatedCredential({ metadata, spec: SPEC }).metadata.generation, 0);
  });

  test('with an invalid status has none', () => {
    for (const status of [null, 'text', 7, [], { conditions: 'none' }, { pods: { selected: 'many' } }]) {
      const read = readDelegatedCredential({ metadata: METADATA, spec: SPEC, status });
      assert.ok(isReadable(read));
      assert.deepEqual(read.status, {});
    }
  });
});

describe('an object that does not fit is unreadable, with the path of what is wrong', () => {
  for (const [what, spec, problem] of [
    ['no spec', undefined, /^spec: /],
    ['a spec that is null', null, /^spec: /],
    ['a spec that is text', 'text', /^spec: /],
    ['a list', [], /^spec: /],
    ['no certificate', {}, /^spec\.certificateRef: /],
    ['a certificate without a name', { certificateRef: {} }, /^spec\.certificateRef\.name: /],
    ['a name that is a number', { certificateRef: { name: 7 } }, /^spec\.certificateRef\.name: expected text, found 7/],
    ['an unknown usage', { ...SPEC, usage: 'Peer' }, /^spec\.usage: expected one of Server or Client, found "Peer"$/],
    ['an unknown algorithm', { ...SPEC, keyAlgorithm: 'RSA' }, /^spec\.keyAlgorithm: .*Ed25519, found "RSA"/],
    ['a lifetime that is text', { ...SPEC, lifetimeSeconds: '2d' }, /^spec\.lifetimeSeconds: /],
    [
      'a lifetime of a minute less a second',
      { ...SPEC, lifetimeSeconds: 59 },
      /^spec\.lifetimeSeconds: .*from 60 to 601200/,
    ],
    ['a lifetime of seven days', { ...SPEC, lifetimeSeconds: 604_800 }, /^spec\.lifetimeSeconds: .*from 60 to 601200/],
    ['a lifetime of half a second', { ...SPEC, lifetimeSeconds: 60.5 }, /^spec\.lifetimeSeconds: /],
    [
      'a renewal as early as the issue',
      { ...SPEC, lifetimeSeconds: 60, renewBeforeSeconds: 60 },
      /^spec: renewBeforeSeconds must be less than lifetimeSeconds/,
    ],
    [
      'an invalid operator',
      { ...SPEC, podSelector: { matchExpressions: [{ key: 'a', operator: 'Gt' }] } },
      /^spec\.podSelector\.matchExpressions\[0\]\.operator: /,
    ],
    ['two things wrong', { usage: 'Peer' }, /^spec\.certificateRef: .*; spec\.usage: /],
  ] as const) {
    test(what, () => {
      const read = unreadable(spec);
      assert.match(read.problem, problem);
      assert.ok(!read.problem.includes('\n'), 'in one line');
      assert.equal(read.metadata.name, 'web');
    });
  }

  test('and keeps its status, so that the condition can be set', () => {
    const read = readDelegatedCredential({ metadata: METADATA, spec: {}, status: { observedGeneration: 1 } });
    assert.deepEqual(read.status, { observedGeneration: 1 });
  });
});

test('any spec and status is either readable or unreadable', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (spec, status) => {
      const read = readDelegatedCredential({ metadata: METADATA, spec, status });
      assert.equal(read.metadata.uid, 'u1');
      assert.ok(isReadable(read) || read.problem.length > 0);
    }),
    { numRuns: 2_000 },
  );
});

test('an object without metadata throws', () => {
  for (const raw of [undefined, null, {}, { metadata: {} }, { metadata: { name: 'web' }, spec: SPEC }]) {
    assert.throws(() => readDelegatedCredential(raw));
  }
});

describe('a status', () => {
  const condition = {
    type: 'Ready',
    status: 'True',
    reason: 'Issued',
    message: '',
    lastTransitionTime: '2026-01-01T00:00:00Z',
  };
  const others = { ...condition, type: 'example.com/Scanned' };
  const status = {
    observedGeneration: 2,
    conditions: [condition],
    certificate: { sha256: 'ab', notAfter: '2026-03-01T00:00:00Z' },
    pods: { selected: 3, issued: 3, failed: 0 },
    earliestExpiryTime: '2026-01-03T00:00:00Z',
  };
  const read = (raw: unknown) => readDelegatedCredential({ metadata: METADATA, spec: SPEC, status: raw }).status;

  test('without one of its fields, where that cannot be read, has all others', () => {
    for (const field of Object.keys(status) as (keyof typeof status)[]) {
      const { [field]: _, ...rest } = status;
      for (const wrong of [null, 'wrong', true, [7]]) {
        if (field === 'conditions' && Array.isArray(wrong)) continue;
        assert.deepEqual(read({ ...status, [field]: wrong }), rest, `${field}: ${JSON.stringify(wrong)}`);
      }
    }
  });

  test('keeps its conditions beside one of another client that cannot be read, whatever is wrong with it', () => {
    for (const field of Object.keys(others)) {
      for (const wrong of [null, 7, 'wrong'.repeat(10_000), {}]) {
        const conditions = [{ ...others, [field]: wrong }, condition, 7, null];
        assert.deepEqual(read({ ...status, conditions }), status, `${field}: ${JSON.stringify(wrong)}`);
      }
    }
  });

  test('may have times of any offset, as the API server takes them', () => {
    for (const time of ['2026-01-01T00:00:00+00:00', '2026-01-01T01:00:00.123456-05:30']) {
      const conditions = [{ ...others, lastTransitionTime: time }, condition];
      assert.deepEqual(read({ ...status, conditions }), { ...status, conditions });
    }
  });

  test('is never thrown on', () => {
    fc.assert(fc.property(fc.jsonValue(), (raw) => void read(raw)));
    fc.assert(
      fc.property(fc.jsonValue(), (raw) => assert.deepEqual(read({ ...status, conditions: [raw, condition] }), status)),
    );
  });
});
