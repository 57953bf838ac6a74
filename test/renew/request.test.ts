import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { requestRenewal } from '../../src/renew/request.ts';
import { missing, notServed } from '../../testing/support/not-found.ts';

const targets = [{ namespace: 'edge', name: 'web', suspended: false }];

async function requested(error: ApiError) {
  const mergePatch = async () => {
    throw error;
  };
  const client = { mergePatch } as unknown as ApiClient;
  return await requestRenewal(client, targets, 0, new AbortController().signal);
}

test('a resource that was deleted meanwhile needs no renewal', async () => {
  assert.deepEqual((await requested(missing())).failures, []);
});

test('a resource whose kind the API server does not serve at the moment is reported: nothing was requested for it', async () => {
  const { failures, requested: done } = await requested(notServed());
  assert.deepEqual([done, failures.map(({ target }) => target)], [[], targets]);
});
