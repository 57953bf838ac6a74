import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inject } from '../../../src/admission/injection/inject.ts';
import type { AdmittedPod } from '../../../src/admission/injection/pod.ts';
import { applyPatch } from '../apply-patch.ts';
import { container, countingBytes, podWith } from '../pods.ts';

const many = (count: number) => Array.from({ length: count }, (_, index) => container(`c${index}`));
const SIXTEEN = Array.from({ length: 16 }, (_, index) => `r${index}`).join(',');

function assertRefused(pod: AdmittedPod, reason: RegExp, bytes?: number): void {
  const { injected, patch, warnings } = inject(pod, countingBytes(), {}, bytes === undefined ? {} : { bytes });
  assert.deepEqual(injected, []);
  assert.match(warnings.join(), reason);
  const after = applyPatch(pod, patch);
  assert.deepEqual(after.spec, pod.spec);
  assert.match(after.metadata.annotations?.['dcred.dev/not-injected'] ?? '', reason);
}

describe('a pod is admitted without its credential, and the operator can say why', () => {
  test('with more than 256 containers', () => {
    assertRefused(podWith({ spec: { containers: many(257) } }), /257 containers, and at most 256 are injected/);
    assert.equal(inject(podWith({ spec: { containers: many(256) } }), countingBytes()).injected.length, 1);
  });

  test('with 25,000 containers and 16 names', () => {
    const pod = podWith({ annotations: { 'dcred.dev/inject': SIXTEEN }, spec: { containers: many(25_000) } });
    assertRefused(pod, /25000 containers/);
  });

  test('when its patch would be too large', () => {
    const pod = podWith({ annotations: { 'dcred.dev/inject': SIXTEEN }, spec: { containers: many(256) } });
    assertRefused(pod, /too large to be injected: make it smaller/);
  });

  test('when the pod alone nearly fills what etcd takes', () => {
    assertRefused(podWith(), /too large to be injected/, 1_200_000);
  });
});

test("where the annotations have no room for dcred's, there is a warning and no patch", () => {
  const full = podWith({ annotations: { note: 'x'.repeat(262_144 - 4) } });
  const { patch, warnings } = inject(full, countingBytes());
  assert.deepEqual(patch, []);
  assert.match(warnings.join(), /too large to be injected/);
});

test('a note of an earlier refusal is removed when the pod is injected', () => {
  const pod = podWith({ annotations: { 'dcred.dev/not-injected': 'x', note: 'kept' } });
  const { annotations } = applyPatch(pod, inject(pod, countingBytes()).patch).metadata;
  assert.deepEqual(Object.keys(annotations ?? {}).sort(), ['note', 'secret.dcred.dev/web']);
});

test('"false" turns nothing on, and says how to turn injection off', () => {
  const { patch, warnings } = inject(podWith({ inject: 'false' }), countingBytes());
  assert.deepEqual(patch, []);
  assert.match(warnings.join(), /is "false", which requests nothing: remove the label/);
});
