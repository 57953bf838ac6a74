/** Whatever a stranger puts into a pod's metadata, what is kept of it is bounded, and what is dropped is reported. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isResourceName, MAX_INJECTED_RESOURCES } from '../../../src/api/injection.ts';
import { MAX_KEPT, readPod, samePod } from '../../../src/operator/core/pod.ts';

const IDENTITY = { namespace: 'edge', name: 'web-0', uid: 'f3b0c442-98fc-4c14-9afb-f4c8996fb924' };
/** Sixteen names of forty characters in three lists, and the bounds of the rest: see MAX_KEPT. JSON's own characters come on top. */
const BOUND =
  3 * MAX_INJECTED_RESOURCES * 43 +
  MAX_KEPT.labelCharacters +
  MAX_KEPT.labels * 6 +
  MAX_KEPT.secretNameCharacters +
  MAX_KEPT.ignoredCharacters * 2 +
  MAX_KEPT.notInjectedCharacters * 2 +
  500;

const size = (value: unknown) => JSON.stringify(value).length;

const resourceName = fc.stringMatching(/^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$/);
const hostileText = fc.oneof(
  fc.string({ maxLength: 400, unit: 'grapheme' }),
  fc.constantFrom('a', ',', 'a,', '\u202e', 'x'.repeat(300)).map((text) => text.repeat(1000)),
  fc.array(resourceName, { maxLength: 300 }).map((names) => names.join(',')),
);
const key = fc.oneof(
  fc.constantFrom(
    'dcred.dev/inject',
    'dcred.dev/not-injected',
    'dcred.dev/containers',
    'secret.dcred.dev/web',
    'gate.dcred.dev/web',
  ),
  resourceName.map((name) => `secret.dcred.dev/${name}`),
  resourceName.map((name) => `gate.dcred.dev/${name}`),
  fc.string({ maxLength: 317, minLength: 1 }),
);
const entries = fc.dictionary(key, hostileText, { maxKeys: 200 });

describe('of a pod, whatever its labels and annotations', () => {
  test('what is kept is bounded', () => {
    fc.assert(
      fc.property(entries, entries, fc.boolean(), (labels, annotations, asks) => {
        const metadata = {
          ...IDENTITY,
          labels: { ...labels, ...(asks && { 'dcred.dev/inject': 'web' }) },
          annotations,
        };
        const pod = readPod({ metadata });
        assert.ok(pod.injected.length <= MAX_INJECTED_RESOURCES);
        assert.ok(pod.injected.every(isResourceName));
        assert.ok(pod.gated.length <= MAX_INJECTED_RESOURCES);
        assert.ok(Object.keys(pod.secretNames).length <= MAX_INJECTED_RESOURCES);
        assert.ok(size({ ...pod, labels: {} }) <= BOUND, `${size(pod)} characters`);
        assert.ok(Object.entries(pod.labels).flat().join('').length <= MAX_KEPT.labelCharacters + 100);
        assert.ok(samePod(pod, readPod({ metadata })));
      }),
      { numRuns: 300 },
    );
  });

  test('what is dropped is reported', () => {
    fc.assert(
      fc.property(fc.uniqueArray(resourceName, { minLength: 17, maxLength: 60 }), (names) => {
        const annotations = { 'dcred.dev/inject': names.join(',') };
        const { ignored, injected } = readPod({
          metadata: { ...IDENTITY, labels: { 'dcred.dev/inject': 'web' }, annotations },
        });
        assert.equal(injected.length, MAX_INJECTED_RESOURCES);
        assert.match(ignored ?? '', /only the first/);
      }),
    );
  });
});

describe('a pod is notified', () => {
  const ignoredOf = (labels: Record<string, string>, annotations: Record<string, string> = {}) =>
    readPod({ metadata: { ...IDENTITY, labels, annotations } }).ignored;
  const many = (count: number, make: (index: number) => string) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [make(index), 'x']));

  test('of nothing in the usual case', () => {
    assert.equal(ignoredOf({ app: 'web', 'dcred.dev/inject': 'web' }, { 'dcred.dev/inject': 'web,api' }), undefined);
    assert.equal(ignoredOf(many(30, (index) => `app.kubernetes.io/label-${index}`)), undefined);
  });

  test('of "false", which opts out', () => {
    assert.match(ignoredOf({ 'dcred.dev/inject': 'false' }) ?? '', /requests nothing: remove the label$/);
    const labels = { 'dcred.dev/inject': 'false' };
    assert.deepEqual(
      readPod({ metadata: { ...IDENTITY, labels, annotations: { 'dcred.dev/inject': 'web' } } }).injected,
      [],
    );
  });

  test('of a name that no resource can have', () => {
    const ignored = ignoredOf({ 'dcred.dev/inject': 'Web' }) ?? '';
    assert.match(
      ignored,
      /^dcred\.dev\/inject names "Web", which cannot be the name of a DelegatedCredential \(at most 40/,
    );
  });

  test('of an annotation that is too long, once', () => {
    const ignored = ignoredOf({ 'dcred.dev/inject': 'web' }, { 'dcred.dev/inject': 'a,'.repeat(120_000) }) ?? '';
    assert.match(
      ignored,
      /^annotation dcred\.dev\/inject has 240000 characters and only the first 2048 are read: name at most 16/,
    );
  });

  test('of control and bidirectional characters only in escaped form', () => {
    const ignored = ignoredOf({ 'dcred.dev/inject': 'web' }, { 'dcred.dev/inject': 'a\u202eb\u0085,\u001b[31m' }) ?? '';
    assert.match(ignored, /a\\u202eb\\x85/);
    assert.ok(!/\p{Cc}|\p{Cf}/u.test(ignored));
  });

  test('of too many labels, Secret names and gates', () => {
    assert.match(ignoredOf(many(65, (index) => `l${index}`)) ?? '', /more than 64 labels/);
    assert.match(
      ignoredOf(
        {},
        many(17, (index) => `secret.dcred.dev/r${index}`),
      ) ?? '',
      /more than 16 annotations secret\.dcred/,
    );
    assert.match(
      ignoredOf(
        {},
        many(17, (index) => `gate.dcred.dev/r${index}`),
      ) ?? '',
      /more than 16 scheduling gates/,
    );
  });
});

test('the label that requests injection is kept, however many labels come before it', () => {
  const labels = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`a${index}`, 'x']));
  const pod = readPod({ metadata: { ...IDENTITY, labels: { ...labels, 'dcred.dev/inject': 'web' } } });
  assert.deepEqual(pod.injected, ['web']);
  assert.equal(pod.labels['dcred.dev/inject'], 'web');
});
