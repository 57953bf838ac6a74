/** Labels and annotations that the cache has not kept are read from the API server when they are needed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import { StaleCacheError } from '../../../src/operator/pod-failure.ts';
import { wholeSecrets } from '../../../src/operator/pods/whole-secrets.ts';
import { issuedSecret } from '../../../testing/support/builders.ts';
import { missing, notServed } from '../../../testing/support/not-found.ts';

const SIGNAL = new AbortController().signal;
const PARTIAL = issuedSecret({ extrasOmitted: true });

/** A fake client: answers every GET the same way. The whole way with a real API server: hostile-metadata.test.ts. */
function clientThat(get: () => Promise<unknown>): Pick<ApiClient, 'get'> {
  return { get: get as unknown as ApiClient['get'] };
}

test('Secrets that are kept whole cost no request', async () => {
  const never = clientThat(() => Promise.reject(new Error('not expected')));
  const secrets = [issuedSecret(), issuedSecret({ name: 'other' })];
  assert.equal(await wholeSecrets(secrets, never, SIGNAL), secrets);
});

for (const [what, get] of [
  ['is gone', () => Promise.reject(missing())],
  ['is at another version', () => Promise.resolve({ metadata: { uid: PARTIAL.uid, resourceVersion: '999' } })],
  ['is not owned any more', () => Promise.resolve({ metadata: { labels: {} } })],
] as const) {
  test(`a Secret that ${what} means that the cache is behind`, async () => {
    await assert.rejects(wholeSecrets([PARTIAL], clientThat(get), SIGNAL), StaleCacheError);
  });
}

test('another error of the API server is passed on', async () => {
  for (const error of [new ApiError('no', { status: 500, reason: 'InternalError' }), notServed()]) {
    const failing = clientThat(() => Promise.reject(error));
    await assert.rejects(wholeSecrets([PARTIAL], failing, SIGNAL), ApiError);
  }
});
