import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ApiError } from '../../../src/kubernetes/api-error.ts';
import { type Repeatability, retryDelay } from '../../../src/kubernetes/client/retry-policy.ts';
import { networkError, timeoutError } from '../../../src/kubernetes/client/status-error.ts';

function answer(status: number, retryAfterSeconds?: number): ApiError {
  return new ApiError('x', { status, reason: 'X', retryAfterSeconds });
}

function network(code: string): ApiError {
  return networkError('x', Object.assign(new Error('x'), { code }));
}

const cases: readonly [string, ApiError, { readonly repeatable: boolean; readonly once: boolean }][] = [
  ['429, which is answered before anything is done', answer(429), { repeatable: true, once: true }],
  ['503 with Retry-After, from a server that starts or stops', answer(503, 1), { repeatable: true, once: true }],
  ['503 without, which may be a proxy that passed it on', answer(503), { repeatable: true, once: false }],
  ['500', answer(500), { repeatable: true, once: false }],
  ['502', answer(502), { repeatable: true, once: false }],
  ['504, when the write may be done', answer(504, 1), { repeatable: true, once: false }],
  ['a refused connection', network('ECONNREFUSED'), { repeatable: true, once: true }],
  ['a connection that was cut', network('UND_ERR_SOCKET'), { repeatable: true, once: false }],
  ['no answer in time', timeoutError('x', 1), { repeatable: true, once: false }],
  ['409', answer(409), { repeatable: false, once: false }],
  ['404', answer(404), { repeatable: false, once: false }],
  ['422', answer(422), { repeatable: false, once: false }],
  ['403', answer(403), { repeatable: false, once: false }],
  ['Retry-After of an hour', answer(429, 3600), { repeatable: false, once: false }],
];

describe('retryDelay', () => {
  for (const [name, error, expected] of cases) {
    for (const repeatability of ['repeatable', 'once'] satisfies Repeatability[]) {
      const retried = expected[repeatability];
      test(`${name}: a ${repeatability} call is ${retried ? '' : 'not '}tried again`, () => {
        assert.equal(retryDelay(error, repeatability, 1, 0.5) !== undefined, retried);
      });
    }
  }

  test('doubles up to five seconds, spread by half', () => {
    assert.equal(retryDelay(answer(500), 'repeatable', 1, 0), 100);
    assert.equal(retryDelay(answer(500), 'repeatable', 2, 0), 200);
    assert.equal(retryDelay(answer(500), 'repeatable', 50, 0), 5_000);
    assert.ok((retryDelay(answer(500), 'repeatable', 50, 0.999) ?? 0) > 2_500);
  });

  test('is never shorter than the Retry-After of the server', () => {
    assert.equal(retryDelay(answer(429, 2), 'once', 1, 0), 2_100);
    for (const random of [0.1, 0.5, 0.999]) assert.ok((retryDelay(answer(429, 2), 'once', 1, random) ?? 0) > 2_000);
  });
});
