import assert from 'node:assert/strict';
import { test } from 'node:test';
import { credentialHolders } from '../../src/audit/subject.ts';
import { facts, issuedSecret, SHA256 } from '../../testing/support/builders.ts';

const claims = { facts: facts({ credentialSha256: SHA256 }) };

test('a credential is held by the pod whose Secret says so', () => {
  const holders = credentialHolders([
    issuedSecret({ ...claims, namespace: 'edge', podName: 'web-0', resourceName: 'web' }),
  ]);
  assert.deepEqual([...holders], [[SHA256, { pod: 'edge/web-0', resource: 'web' }]]);
});

test('what another client has written on a Secret claims no credential', () => {
  const own = issuedSecret({ ...claims, namespace: 'edge', podName: 'web-0', resourceName: 'web' });
  const claimed = issuedSecret({ ...claims, namespace: 'evil', podName: 'p', intact: false });
  assert.deepEqual(credentialHolders([own, claimed]), credentialHolders([own]));
  assert.equal(credentialHolders([claimed]).size, 0);
});
