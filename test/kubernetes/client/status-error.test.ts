import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ApiError, isApiError } from '../../../src/kubernetes/api-error.ts';
import {
  boundedMessage,
  errorOfStatus,
  isExpired,
  networkError,
  parseRetryAfter,
} from '../../../src/kubernetes/client/status-error.ts';

const NOW = Date.UTC(2026, 0, 1);

describe('boundedMessage', () => {
  const quoted = (length: number) => `"${'k'.repeat(length)}"`;

  test('replaces long quotations by their length, and leaves the rest', () => {
    assert.equal(boundedMessage(`is ${quoted(99)} ok`), `is ${quoted(99)} ok`);
    assert.equal(boundedMessage(`is ${quoted(100)} ok`), 'is "(100 characters)" ok');
    assert.equal(boundedMessage(`cut "${'k'.repeat(200)}`), 'cut "(200 characters)');
    assert.equal(boundedMessage(`an "escaped \\" ${'k'.repeat(100)}" one`), 'an "(111 characters)" one');
  });

  test('leaves what the server says outside of quotes, however long', () => {
    const said = 'Secret "web" is invalid: data: Forbidden: field is immutable when `immutable` is set; '.repeat(4);
    assert.equal(boundedMessage(said), said);
    assert.equal(boundedMessage(`"a" is ${'k'.repeat(100)} now`), '"a" is (100 characters) now');
  });

  test('costs its length, whatever is in it', () => {
    for (const unit of ['"', '\\"', '\\', '"\\', 'a"', `"${'a'.repeat(99)}`]) {
      assert.ok(boundedMessage(unit.repeat(400_000 / unit.length)).length < 1100);
    }
  });

  test('takes no more memory than it keeps, however long a line of a watch is', () => {
    for (const unit of ['"', ' ', 'a ', '" ']) {
      const message = unit.repeat((8 * 1024 * 1024) / unit.length);
      // In KiB, the most that this process ever took: what is let go again counts too.
      const before = process.resourceUsage().maxRSS;
      const whole = boundedMessage(message);
      const more = process.resourceUsage().maxRSS - before;
      assert.equal(whole.length, 1024 + ' (cut)'.length);
      assert.ok(more < 64 * 1024, `${more} KiB more for ${JSON.stringify(unit)}`);
    }
  });

  test('is cut where the whole of it would be', () => {
    const word = (text: string) => (text.length > 99 ? `(${text.length} characters)` : text);
    const pieces = fc.constantFrom('"', ' ', 'word', 'k'.repeat(99), 'k'.repeat(100));
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 400 }), (parts) => {
        const whole = parts
          .join('')
          .split('"')
          .map((text, index) => (index % 2 === 1 ? word(text) : text.split(' ').map(word).join(' ')))
          .join('"');
        const message = boundedMessage(parts.join(''));
        assert.equal(message, whole.length <= 1024 ? whole : `${whole.slice(0, 1024)} (cut)`);
      }),
    );
  });

  test('never passes on a hundred characters of a quotation', () => {
    const part = fc.oneof(
      fc.constantFrom('"', '\\"', ' ', 'x'),
      fc.nat(300).map((length) => 'k'.repeat(length)),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 20 }), (parts) => {
        const shown = boundedMessage(`"${parts.join('')}`);
        assert.doesNotMatch(shown, /k{100}/);
      }),
    );
  });
});

describe('errorOfStatus', () => {
  test('keeps the reason, the message and the details of a Status', () => {
    const status = {
      kind: 'Status',
      message: 'secrets "a" already exists',
      reason: 'AlreadyExists',
      details: { name: 'a', kind: 'secrets', causes: [{ reason: 'R', message: 'M', field: 'f' }, 'nonsense'] },
      code: 409,
    };
    const error = errorOfStatus('create secrets web/a', status, 409);
    assert.equal(error.message, 'create secrets web/a: secrets "a" already exists');
    assert.equal(error.code, 'ApiError');
    assert.equal(error.status, 409);
    assert.ok(isApiError(error, 'AlreadyExists'));
    assert.equal(isApiError(error, 'NotFound'), false);
    assert.deepEqual(error.details, {
      name: 'a',
      kind: 'secrets',
      causes: [{ reason: 'R', message: 'M', field: 'f' }],
    });
  });

  test('takes the status from the object of an ERROR event, which has no HTTP status', () => {
    const error = errorOfStatus('watch pods', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' }, 0);
    assert.equal(error.status, 410);
    assert.ok(isExpired(error));
  });

  test('finds a reason for answers that are not a Status, and quotes nothing of them', () => {
    for (const body of [undefined, '<html>secret</html>', { kind: 'Pod', message: 'secret' }, null, 7, []]) {
      const error = errorOfStatus('get pods', body, 503, { retryAfterSeconds: 4 });
      assert.equal(error.reason, 'ServiceUnavailable');
      assert.equal(error.retryAfterSeconds, 4);
      assert.doesNotMatch(error.message, /secret/);
    }
    assert.equal(errorOfStatus('get pods', undefined, 418).reason, 'Unknown');
  });

  test('names a missing CustomResourceDefinition only where one could serve the path', () => {
    const message = (path: string) => errorOfStatus('do it', undefined, 404, { path }).message;
    for (const path of [
      '/apis/dcred.dev/v1alpha1/namespaces/web/delegatedcredentials',
      '/apis/cert-manager.io/v1/certificaterequests',
    ]) {
      assert.match(message(path), /its CustomResourceDefinition is not installed$/, path);
    }
    for (const path of [
      '/api/v1/namespaces/web/secrets/a',
      '/apis/apps/v1/deployments',
      '/apis/coordination.k8s.io/v1/namespaces/web/leases/a',
      '/version',
      '/v1/sign',
    ]) {
      assert.match(message(path), /: expected a Kubernetes Status with HTTP status 404, found none; is there/, path);
    }
  });

  test('whatever the body is, the answer is an ApiError of bounded length', () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), fc.integer({ min: 400, max: 599 }), (message, details, code) => {
        const error = errorOfStatus('get', { kind: 'Status', message, reason: message, details }, code);
        assert.ok(error instanceof ApiError);
        assert.ok(error.message.length < 1100);
      }),
    );
  });
});

test('a long quotation in a message, which may be an object with its data, is replaced by its length', () => {
  const quoted = JSON.stringify({ data: { 'tls.key': 'LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t'.repeat(4) } });
  const message = boundedMessage(
    `Secret "a" is invalid: patch: Invalid value: ${JSON.stringify(quoted)}: expected a map`,
  );
  assert.match(message, /^Secret "a" is invalid: patch: Invalid value: "\(\d+ characters\)": expected a map$/);
  assert.ok(boundedMessage('x'.repeat(5000)).length < 1100);
});

test('Retry-After is seconds or a date', () => {
  assert.equal(parseRetryAfter('3', NOW), 3);
  assert.equal(parseRetryAfter('Thu, 01 Jan 2026 00:00:10 GMT', NOW), 10);
  assert.equal(parseRetryAfter('Thu, 01 Jan 2020 00:00:10 GMT', NOW), 0);
  assert.equal(parseRetryAfter('soon', NOW), undefined);
  assert.equal(parseRetryAfter(undefined, NOW), undefined);
});

test('a network error names the system code and keeps its cause', () => {
  const cause = Object.assign(new Error('connect refused'), { code: 'ECONNREFUSED' });
  const error = networkError('list pods', cause);
  assert.equal(error.message, 'list pods: connect refused (ECONNREFUSED)');
  assert.equal(error.cause, cause);
  assert.equal(error.status, 0);
});
