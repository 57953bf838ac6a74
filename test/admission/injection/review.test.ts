import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Admission, answerReview, answerUnread, readReview } from '../../../src/admission/injection/review.ts';
import { ReviewError } from '../../../src/admission/injection/review-error.ts';
import type { RandomBytes } from '../../../src/admission/injection/secret-name.ts';
import { fitWarnings, quoted } from '../../../src/admission/injection/warning.ts';
import { podWith, review, sameBytes } from '../pods.ts';

const admit = (text: string, random: RandomBytes): Admission => answerReview(readReview(text), random);

function answer(request: unknown): Record<string, unknown> {
  const { body } = admit(JSON.stringify(request), sameBytes);
  const { response, ...envelope } = JSON.parse(body);
  assert.deepEqual(envelope, { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' });
  return response;
}

test('a new pod is allowed, with a JSON patch', () => {
  const response = answer(review(podWith()));
  assert.equal(response['uid'], 'u-1');
  assert.equal(response['allowed'], true);
  assert.equal(response['patchType'], 'JSONPatch');
  const patch = JSON.parse(Buffer.from(String(response['patch']), 'base64').toString());
  assert.deepEqual(
    patch.map(({ op, path }: { op: string; path: string }) => `${op} ${path}`),
    ['add /metadata/annotations', 'add /spec/volumes', 'add /spec/containers/0/volumeMounts'],
  );
});

test('a dry run is answered like any other: there are no side effects', () => {
  assert.ok(answer(review(podWith(), { dryRun: true }))['patch']);
});

describe('allowed without a patch', () => {
  for (const [what, request] of Object.entries({
    'an update': { operation: 'UPDATE' },
    'a deletion': { operation: 'DELETE', object: null },
    'an ephemeral container': { operation: 'UPDATE', subResource: 'ephemeralcontainers' },
    'a binding': { subResource: 'binding' },
    'a resource other than pods': { resource: { group: 'apps', version: 'v1', resource: 'deployments' }, object: {} },
  })) {
    test(what, () => assert.deepEqual(answer(review(podWith(), request)), { uid: 'u-1', allowed: true }));
  }
});

test('warnings are returned', () => {
  assert.match(String(answer(review(podWith({ inject: 'a.b' })))['warnings']), /correct it and re-create the pod/);
});

describe('refused', () => {
  const onNodes = (nodeSelectorTerms: unknown) => ({
    affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } } },
  });
  for (const [what, question, message] of [
    [
      'an older version',
      { ...review({}), apiVersion: 'admission.k8s.io/v1beta1' },
      /set admissionReviewVersions to \[v1\]/,
    ],
    ['another kind', { ...review({}), kind: 'TokenReview' }, /found TokenReview/],
    ['a review without a request', { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' }, /^request/],
    ['a request without a uid', review({}, { uid: undefined }), /request\.uid/],
    ['an unknown operation', review({}, { operation: 'PATCH' }), /request\.operation/],
    ['a namespace in megabytes', review(podWith(), { namespace: 'x'.repeat(2 ** 20) }), /request\.namespace/],
    ['a namespace that cannot exist', review(podWith(), { namespace: 'edge/../vault' }), /request\.namespace/],
    ['a namespace that is no text', review(podWith(), { namespace: 7 }), /request\.namespace/],
    ['a pod without a spec', review({ metadata: {} }), /request\.object\.spec/],
    ...(
      [
        [{ securityContext: { windowsOptions: 'yes' } }, /spec\.securityContext\.windowsOptions: expected an object/],
        [
          { containers: [{ name: 'a', securityContext: { windowsOptions: 1 } }] },
          /\[0\]\.securityContext\.windowsOptions/,
        ],
        [{ affinity: [] }, /spec\.affinity: expected an object/],
        [{ affinity: { nodeAffinity: 1 } }, /spec\.affinity\.nodeAffinity: expected an object/],
        [onNodes({}), /\.nodeSelectorTerms: expected a list/],
        [onNodes([{ matchExpressions: {} }]), /\.nodeSelectorTerms\[0\]\.matchExpressions: expected a list/],
        [onNodes([{ matchExpressions: [{ key: 'a' }] }]), /\.matchExpressions\[0\]\.operator: expected a string/],
        [
          onNodes([{ matchExpressions: [{ key: 'a', operator: 'In', values: [1] }] }]),
          /\.matchExpressions\[0\]\.values: expected strings/,
        ],
      ] as const
    ).map(
      ([spec, message]) => [`a pod with ${JSON.stringify(spec)}`, review({ metadata: {}, spec }), message] as const,
    ),
    ['no pod at all', review(null), /request\.object/],
    ['a list', [], /review/],
  ] as const) {
    test(what, () => {
      assert.throws(
        () => admit(JSON.stringify(question), sameBytes),
        (error) => error instanceof ReviewError && message.test(error.message),
      );
    });
  }

  test('anything that is not a review is a ReviewError and no other error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        assert.throws(() => admit(text, sameBytes), ReviewError);
      }),
    );
  });

  test('any object in place of the pod is a ReviewError or is allowed', () => {
    fc.assert(
      fc.property(fc.object(), (object) => {
        try {
          assert.equal(answer(review(object))['allowed'], true);
        } catch (error) {
          assert.ok(error instanceof ReviewError);
        }
      }),
    );
  });
});

describe('a review that is too large to be read', () => {
  test('is allowed with a warning, by the uid at its beginning', () => {
    const other = JSON.stringify({ request: {}, ...review(podWith()) });
    const asSent = `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"${'a1-'.repeat(12)}","kind"`;
    const { response } = JSON.parse(answerUnread(asSent).body);
    assert.deepEqual([response.uid, response.allowed, response.patch], ['a1-'.repeat(12), true, undefined]);
    assert.match(response.warnings[0], /too large to be injected: make it smaller/);
    assert.throws(() => answerUnread(other), ReviewError);
  });
});

test('warnings fit into headers: few, short, without control characters', () => {
  const long = fitWarnings(Array.from({ length: 99 }, (_, index) => `${index} ${'x'.repeat(400)}`));
  assert.equal(long.length, 16);
  assert.ok(long.every((text) => text.length <= 256));
  assert.equal(quoted('a\r\n"b'), '"a\\x0d\\x0a\\"b"');
  assert.ok(quoted('x'.repeat(500)).length < 60);
  assert.deepEqual(fitWarnings(['same', 'same']), ['same']);
});
