import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { secretNameAnnotation } from '../../src/api/keys.ts';
import {
  defaultSecretName,
  formatObjectKey,
  formatPodKey,
  isSecretName,
  parseObjectKey,
  parsePodKey,
} from '../../src/issued-secret/names.ts';

const dnsLabel = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$/);
/** As Kubernetes names pods: DNS subdomains of at most 253 characters. */
const podName = fc
  .array(fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/), { minLength: 1, maxLength: 8 })
  .map((parts) =>
    parts
      .join('.')
      .slice(0, 253)
      .replace(/[-.]+$/, 'x'),
  )
  .filter(isSecretName);

describe('the default name of a Secret', () => {
  test('is the resource and the pod', () => {
    assert.equal(defaultSecretName('web', 'web-6d4c9-x2v8p'), 'web-web-6d4c9-x2v8p');
  });

  test('of 253 characters is used as it is', () => {
    const name = defaultSecretName('web', 'p'.repeat(249));
    assert.equal(name, `web-${'p'.repeat(249)}`);
    assert.equal(name.length, 253);
  });

  test('of 254 characters ends in a hash', () => {
    const name = defaultSecretName('web', 'p'.repeat(250));
    assert.equal(name.length, 253);
    assert.match(name, /^web-p{238}-[0-9a-f]{10}$/);
  });

  test('keeps two long names two that differ in their last character alone', () => {
    const stem = 'p'.repeat(252);
    assert.notEqual(defaultSecretName('web', `${stem}a`), defaultSecretName('web', `${stem}b`));
  });

  test('never has a dot or a dash before the hash', () => {
    const name = defaultSecretName('web', `${'p'.repeat(237)}.-.${'q'.repeat(10)}`);
    assert.match(name, /^web-p{237}-[0-9a-f]{10}$/);
    assert.ok(isSecretName(name));
  });

  test('is always a valid name, the same every time', () => {
    fc.assert(
      fc.property(dnsLabel, podName, (resource, pod) => {
        const name = defaultSecretName(resource, pod);
        assert.ok(isSecretName(name), name);
        assert.equal(name, defaultSecretName(resource, pod));
      }),
    );
  });

  test('of two pods of one resource is never the same', () => {
    fc.assert(
      fc.property(dnsLabel, podName, podName, (resource, one, other) => {
        fc.pre(one !== other);
        assert.notEqual(defaultSecretName(resource, one), defaultSecretName(resource, other));
      }),
    );
  });
});

describe('a Secret name', () => {
  for (const name of ['a', '0', 'web-tls', 'web.example', 'a--b', 'a'.repeat(253)]) {
    test(`may be ${name.slice(0, 20)}`, () => assert.ok(isSecretName(name)));
  }

  for (const name of [
    '',
    '-a',
    'a-',
    '.a',
    'a.',
    'a..b',
    'a.-b',
    'A',
    'a_b',
    'a/b',
    '../a',
    'a b',
    'a\n',
    'ä',
    'a'.repeat(254),
  ]) {
    test(`may not be ${JSON.stringify(name.slice(0, 20))}`, () => assert.ok(!isSecretName(name)));
  }
});

test('the annotation with a Secret name is named after the resource', () => {
  assert.equal(secretNameAnnotation('web'), 'secret.dcred.dev/web');
});

test('keys are parsed back to what they were formatted from', () => {
  fc.assert(
    fc.property(dnsLabel, dnsLabel, podName, (namespace, resourceName, pod) => {
      assert.deepEqual(parsePodKey(formatPodKey({ namespace, resourceName, pod })), { namespace, resourceName, pod });
      assert.deepEqual(parseObjectKey(formatObjectKey({ namespace, name: pod })), { namespace, name: pod });
    }),
  );
});
