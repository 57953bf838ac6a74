import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isReadableGrant, readDelegationGrant } from '../../src/api/read-grant.ts';

const metadata = { name: 'edge', namespace: 'vault', uid: 'u1', resourceVersion: '5', generation: 2 };
const SPEC = { certificateRef: { name: 'web-tls' }, from: [{ namespace: 'edge' }] };

function problem(spec: unknown): string {
  const read = readDelegationGrant({ metadata, spec });
  assert.ok(!isReadableGrant(read), 'it was read');
  return read.problem;
}

test('a grant that fits has its defaults filled in', () => {
  const read = readDelegationGrant({ metadata, spec: SPEC, status: { pods: 'many' } });
  assert.ok(isReadableGrant(read));
  assert.deepEqual(read.spec, { ...SPEC, usages: ['Server'], onWithdraw: 'Keep' });
  assert.deepEqual(read.status, {});
});

describe('a grant permits nothing', () => {
  const wrong: Readonly<Record<string, readonly [unknown, RegExp]>> = {
    'without a spec': [undefined, /^spec: /],
    'with an entry that names two': [
      { ...SPEC, from: [{ namespace: 'a', cluster: 'b' }] },
      /^spec\.from\[0\]: .*exactly one/,
    ],
    'with an entry that names none': [{ ...SPEC, from: [{}] }, /^spec\.from\[0\]: .*exactly one/],
    'with a uid and no namespace': [{ ...SPEC, from: [{ cluster: 'a', uid: 'u' }] }, /uid needs namespace beside it/],
    'with no entry': [{ ...SPEC, from: [] }, /^spec\.from: /],
    'to no pod': [{ ...SPEC, maxPods: 0 }, /maxPods must be at least 1/],
    'for a week': [{ ...SPEC, maxLifetimeSeconds: 604_800 }, /maxLifetimeSeconds must be from/],
    // A newer version may narrow a grant by a field that this one does not know.
    'with a field that this version does not know': [{ ...SPEC, pods: {} }, /^spec\.pods: .*does not know/],
    'with such a field in an entry': [{ ...SPEC, from: [{ namespace: 'a', ip: '::' }] }, /^spec\.from\[0\]\.ip: /],
    'with such a field in a selector': [
      { ...SPEC, from: [{ namespaceSelector: { matchNames: ['a'] } }] },
      /^spec\.from\[0\]\.namespaceSelector\.matchNames: /,
    ],
  };
  for (const [what, [spec, says]] of Object.entries(wrong)) {
    test(what, () => assert.match(problem(spec), says));
  }
});

test('no spec is thrown on', () => {
  fc.assert(fc.property(fc.jsonValue(), (spec) => void readDelegationGrant({ metadata, spec, status: spec })));
});
