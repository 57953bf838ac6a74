/** The client against a fake server that does what a real one cannot be made to do. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isApiError } from '../../../src/kubernetes/api-error.ts';
import type { ApiCall } from '../../../src/kubernetes/client/api-types.ts';
import { clockSkewMs } from '../../../src/kubernetes/client/clock-skew.ts';
import type { Clock } from '../../../src/kubernetes/clock.ts';
import type { Connection } from '../../../src/kubernetes/connection/connection.ts';
import { LEASES, PODS, SECRETS } from '../../../src/kubernetes/resource-type.ts';
import { FakeClock, settle } from '../../../testing/support/fake-clock.ts';
import { startPatientServer } from '../../../testing/support/patient-server.ts';
import { eventually } from '../../../testing/support/processes.ts';
import { clientOver, cut, FakeApiServer, type FakeHandler, json, refusal, silence, stream } from '../clients.ts';

const POD = { apiVersion: 'v1', kind: 'Pod', metadata: { namespace: 'web', name: 'a', resourceVersion: '5' } };
const ref = { namespace: 'web', name: 'a' };
const signal = new AbortController().signal;
const ok = json(200, POD);

const html: FakeHandler = (_request, response) => {
  response.writeHead(502, { 'content-type': 'text/html' });
  response.end(`<html><body>upstream ${'secret '.repeat(100_000)}</body></html>`);
};

describe('what is tried again', () => {
  test('429 with Retry-After, as late as the server asked', async () => {
    await using fake = await FakeApiServer.start(refusal(429, 'TooManyRequests', { 'retry-after': '1' }), ok);
    const calls: ApiCall[] = [];
    const clock = new FakeClock();
    const created = fake.client({ clock, observe: (call) => calls.push(call) }).create(PODS, POD, { signal });
    await eventually('the refusal', async () => calls[0], { intervalMs: 5 });
    await clock.advanceAsync(999);
    assert.equal(fake.requests.length, 1);
    await clock.advanceAsync(200);
    await created;
    assert.deepEqual(
      calls.map(({ verb, plural, status }) => [verb, plural, status]),
      [
        ['create', 'pods', 429],
        ['create', 'pods', 200],
      ],
    );
  });

  for (const [name, failure] of [
    ['a cut connection', cut],
    ['a 500', refusal(500, 'InternalError')],
    ['the page of a proxy', html],
  ] as const) {
    test(`a get after ${name}`, async () => {
      await using fake = await FakeApiServer.start(failure, ok);
      assert.deepEqual(await fake.client().get(PODS, ref, { signal }), POD);
      assert.equal(fake.requests.length, 2);
    });

    test(`not a create after ${name}, which may have happened`, async () => {
      await using fake = await FakeApiServer.start(failure, ok);
      await assert.rejects(fake.client().create(PODS, POD, { signal }));
      assert.equal(fake.requests.length, 1);
    });
  }

  test('an apply and a merge patch, but not one that names a version', async () => {
    await using fake = await FakeApiServer.start(cut, ok, cut, ok, cut, ok);
    const client = fake.client();
    await client.apply(PODS, { metadata: ref }, { signal });
    await client.mergePatch(PODS, ref, { metadata: { labels: { a: 'b' } } }, { signal });
    await assert.rejects(client.mergePatch(PODS, ref, { metadata: { resourceVersion: '5' } }, { signal }));
    assert.equal(fake.requests.length, 5);
  });

  test('a delete bound to a UID, but not one that could delete a successor', async () => {
    await using fake = await FakeApiServer.start(cut, json(200, { kind: 'Status' }), cut, ok);
    const client = fake.client();
    await client.delete(PODS, ref, { signal, preconditions: { uid: 'u' } });
    await assert.rejects(client.delete(PODS, ref, { signal }));
    assert.equal(fake.requests.length, 3);
  });

  test('a limited number of times', async () => {
    await using fake = await FakeApiServer.start(refusal(500, 'InternalError'));
    await assert.rejects(fake.client({ maxAttempts: 3, random: () => 0 }).get(PODS, ref, { signal }), {
      reason: 'InternalError',
    });
    assert.equal(fake.requests.length, 3);
  });

  test('not when the server asks for a longer wait than a call has', async () => {
    await using fake = await FakeApiServer.start(refusal(429, 'TooManyRequests', { 'retry-after': '3600' }));
    await assert.rejects(fake.client().get(PODS, ref, { signal }), { status: 429, retryAfterSeconds: 300 });
    assert.equal(fake.requests.length, 1);
  });
});

describe('unusable answers', () => {
  test('a page of a proxy becomes an error that quotes nothing of it', async () => {
    await using fake = await FakeApiServer.start(html);
    const error = await fake
      .client({ maxAttempts: 1 })
      .get(PODS, ref, { signal })
      .catch((caught: unknown) => caught);
    assert.ok(isApiError(error));
    assert.equal(error.status, 502);
    assert.match(error.message, /^get pods web\/a: expected a Kubernetes Status/);
    assert.doesNotMatch(error.message, /secret|html/);
  });

  for (const body of ['{"data":{"tls.key":"U0VDUkVU"', '"U0VDUkVU"', 'U0VDUkVU', '']) {
    test(`a success that is ${body === '' ? 'empty' : `no object: ${body}`} is an error without the text in it`, async () => {
      await using fake = await FakeApiServer.start(stream([body], 'end'));
      const error = await fake
        .client()
        .get(SECRETS, ref, { signal })
        .catch((caught: unknown) => caught);
      assert.ok(isApiError(error, 'InvalidResponse'));
      assert.doesNotMatch(`${error.stack} ${String(error.cause)}`, /U0VDUkVU/);
    });
  }

  test('an answer that is cut in the middle is a Network error', async () => {
    await using fake = await FakeApiServer.start(stream(['{"kind":'], 'cut'));
    await assert.rejects(fake.client({ maxAttempts: 1 }).get(PODS, ref, { signal }), { reason: 'Network', status: 0 });
  });

  test('an endless answer is dropped', async () => {
    await using fake = await FakeApiServer.start(async (_request, response) => {
      const chunk = 'x'.repeat(1024 * 1024);
      while (!response.destroyed) await new Promise((resolve) => response.write(chunk, resolve));
    });
    await assert.rejects(fake.client().get(PODS, ref, { signal }), {
      reason: 'ResponseTooLarge',
    });
    assert.equal(fake.requests.length, 1);
  });

  test('a list that is larger than its caller reads is dropped, and the next call is answered', async () => {
    const list = { metadata: {}, items: [{ metadata: { name: 'a', annotations: { note: 'x'.repeat(4_096) } } }] };
    await using fake = await FakeApiServer.start(json(200, list));
    const client = fake.client();
    await assert.rejects(client.list(PODS, {}, { signal, maxBytes: 4_096 }), {
      reason: 'ResponseTooLarge',
      message: 'list pods: the answer exceeds the 4 KiB that are read',
    });
    assert.equal((await client.list(PODS, {}, { signal, maxBytes: 8_192 })).items.length, 1);
    assert.equal(fake.requests.length, 2);
  });

  test('a refusal is read, whatever its caller reads of a success', async () => {
    await using fake = await FakeApiServer.start(refusal(403, 'Forbidden'));
    await assert.rejects(fake.client().list(PODS, {}, { signal, maxBytes: 1 }), { reason: 'Forbidden' });
  });

  for (const [what, body] of [
    ['items that are not a list', { metadata: {}, items: 'all of them' }],
    ['no metadata', { items: [] }],
  ] as const) {
    test(`a list with ${what} is an error`, async () => {
      await using fake = await FakeApiServer.start(json(200, body));
      await assert.rejects(fake.client().list(PODS, {}, { signal }), { reason: 'InvalidResponse' });
    });
  }

  const nameless = [
    null,
    7,
    'x',
    [],
    {},
    { metadata: null },
    { metadata: [] },
    { metadata: {} },
    { metadata: { name: 7 } },
  ];

  for (const odd of nameless) {
    test(`${JSON.stringify(odd)} is no object of Kubernetes: neither the answer to a get, nor an item of a list`, async () => {
      const list = { metadata: { resourceVersion: '7' }, items: [POD, odd] };
      await using fake = await FakeApiServer.start(json(200, odd), json(200, list), json(200, list));
      const client = fake.client();
      const refused = { reason: 'InvalidResponse' };
      await assert.rejects(client.get(PODS, ref, { signal }), refused);
      await assert.rejects(client.list(PODS, {}, { signal }), {
        ...refused,
        message: /without a name in its metadata/,
      });
      // A reflector skips it.
      assert.deepEqual((await client.list(PODS, {}, { signal, anyItems: true })).items, [POD, odd]);
    });
  }

  test('an answer nested a million deep is read, or refused, and nothing overflows', async () => {
    const depth = 1_000_000;
    const body = `{"metadata":{"name":"a","x":${'['.repeat(depth)}${']'.repeat(depth)}}}`;
    await using fake = await FakeApiServer.start(stream([body], 'end'));
    const found = await fake
      .client()
      .get(PODS, ref, { signal })
      .catch((error: unknown) => error);
    assert.ok(isApiError(found, 'InvalidResponse') || (found as { metadata: { name: string } }).metadata.name === 'a');
  });

  test('a list whose items are null, as Go writes an empty one, is empty', async () => {
    await using fake = await FakeApiServer.start(json(200, { metadata: { resourceVersion: '7' }, items: null }));
    assert.deepEqual(await fake.client().list(PODS, {}, { signal }), { metadata: { resourceVersion: '7' }, items: [] });
  });
});

describe('time', () => {
  for (const [name, handler] of [
    ['no answer', silence],
    ['half an answer', stream(['{"kind":'], 'silence')],
    ['half a refusal', (_request, response) => void response.writeHead(500).write('{')],
  ] as const satisfies readonly (readonly [string, FakeHandler])[]) {
    test(`${name} in time is a Timeout`, async () => {
      await using fake = await FakeApiServer.start(handler);
      const clock = new FakeClock();
      const call = fake.client({ clock, timeoutMs: 100, maxAttempts: 1 }).get(PODS, ref, { signal });
      const rejected = assert.rejects(call, {
        reason: 'Timeout',
        status: 0,
        message: 'get pods web/a: no answer within 100 ms',
      });
      await fake.received(1);
      clock.advance(100);
      await rejected;
    });
  }

  test('an aborted call ends with the reason of the abort, at once and without another try', async () => {
    await using fake = await FakeApiServer.start(silence);
    const stop = new AbortController();
    const call = fake.client().get(PODS, ref, { signal: stop.signal });
    await fake.received(1);
    stop.abort(new Error('enough'));
    await assert.rejects(call, { message: 'enough' });
    assert.equal(fake.requests.length, 1);
  });

  test('a call that waits for a connection ends with its signal, and the next one is made', async () => {
    let answer: (() => void) | undefined;
    const late: FakeHandler = (request, response) =>
      new Promise((resolve) => {
        answer = () => resolve(ok(request, response));
      });
    await using fake = await FakeApiServer.start(late, ok);
    const client = fake.client({ connections: 1 });
    const first = client.get(PODS, ref, { signal });
    await fake.received(1);
    const stop = new AbortController();
    const second = client.get(PODS, ref, { signal: stop.signal });
    stop.abort(new Error('enough'));
    await assert.rejects(second, { message: 'enough' });
    answer?.();
    assert.deepEqual(await first, POD);
    assert.deepEqual(await client.get(PODS, ref, { signal }), POD);
    assert.equal(fake.requests.length, 2);
  });

  test('an abort ends the wait before the next try', async () => {
    await using fake = await FakeApiServer.start(refusal(429, 'TooManyRequests', { 'retry-after': '20' }));
    const stop = new AbortController();
    const refused = Promise.withResolvers<void>();
    const call = fake.client({ observe: () => refused.resolve() }).get(PODS, ref, { signal: stop.signal });
    await refused.promise;
    stop.abort(new Error('enough'));
    await assert.rejects(call, { message: 'enough' });
    assert.equal(fake.requests.length, 1);
  });

  test('a call with a signal that has aborted is not made', async () => {
    await using fake = await FakeApiServer.start(ok);
    await assert.rejects(fake.client().get(PODS, ref, { signal: AbortSignal.abort(new Error('enough')) }), {
      message: 'enough',
    });
    assert.equal(fake.requests.length, 0);
  });

  test('a hundred calls at once on one signal leave no listener and no warning behind', async () => {
    await using fake = await FakeApiServer.start(ok);
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on('warning', onWarning);
    const client = fake.client({ connections: 4 });
    await Promise.all(Array.from({ length: 100 }, () => client.get(PODS, ref, { signal })));
    process.off('warning', onWarning);
    assert.deepEqual(warnings, []);
  });

  test('closing the client ends calls in progress', async () => {
    await using fake = await FakeApiServer.start(silence);
    const client = fake.client({ maxAttempts: 1 });
    const call = client.get(PODS, ref, { signal });
    await fake.received(1);
    await client.close();
    await assert.rejects(call, { reason: 'Network' });
  });
});

describe('credentials', () => {
  const onlyNew: FakeHandler = (request, response) => {
    const good = request.headers.authorization === 'Bearer new';
    return (good ? ok : refusal(401, 'Unauthorized'))(request, response);
  };

  test('after a 401 they are loaded again, once, and the call is made again, even a create', async () => {
    await using fake = await FakeApiServer.start(onlyNew);
    const client = clientOver(fake.connection(['old', 'new']), { userAgent: 'x' });
    await client.create(PODS, POD, { signal });
    assert.deepEqual(
      fake.requests.map(({ headers }) => headers.authorization),
      ['Bearer old', 'Bearer new'],
    );
    assert.equal(fake.requests[1]?.headers['user-agent'], 'x');
  });

  test('after an endless 401 too: its page is not read to the end', async () => {
    const endless: FakeHandler = (_request, response) => {
      response.writeHead(401, { 'content-type': 'text/html' });
      const more = (): void => {
        while (!response.destroyed && response.write('x'.repeat(64 * 1024)));
        if (!response.destroyed) response.once('drain', more);
      };
      more();
    };
    await using fake = await FakeApiServer.start(endless, ok);
    const client = clientOver(fake.connection(['old', 'new']));
    assert.deepEqual(await client.get(PODS, ref, { signal }), POD);
    assert.deepEqual(
      fake.requests.map(({ headers }) => headers.authorization),
      ['Bearer old', 'Bearer new'],
    );
  });

  test('a 401 with the newest credentials is final', async () => {
    await using fake = await FakeApiServer.start(onlyNew);
    await assert.rejects(fake.client().get(PODS, ref, { signal }), { status: 401, reason: 'Unauthorized' });
    assert.equal(fake.requests.length, 1);
  });
});

describe('credentials that never load', () => {
  const hanging = (fake: FakeApiServer): Connection => ({
    ...fake.connection(),
    credentials: () => new Promise(() => {}),
  });

  test('end the call by its deadline', async () => {
    await using fake = await FakeApiServer.start(ok);
    const clock = new FakeClock();
    const client = clientOver(hanging(fake), { clock, timeoutMs: 1_000, maxAttempts: 1 });
    const rejected = assert.rejects(client.get(PODS, ref, { signal }), { reason: 'Timeout', status: 0 });
    await clock.advanceAsync(1_000);
    await rejected;
    assert.equal(fake.requests.length, 0);
  });

  test('end a call and a watch by their signal', async () => {
    await using fake = await FakeApiServer.start(ok);
    const client = clientOver(hanging(fake));
    const stop = new AbortController();
    const call = assert.rejects(client.get(PODS, ref, { signal: stop.signal }), { message: 'enough' });
    const watch = assert.rejects(
      (async () => {
        for await (const _ of client.watch(PODS, {}, { signal: stop.signal }));
      })(),
      { message: 'enough' },
    );
    stop.abort(new Error('enough'));
    await Promise.all([call, watch]);
  });
});

describe('connections', () => {
  test('a reserved call does not wait behind those that take all connections', async () => {
    const isRenewal = (path: string) => path.includes('/leases/');
    await using fake = await FakeApiServer.start((request, response) =>
      isRenewal(request.path) ? ok(request, response) : undefined,
    );
    const client = fake.client({ connections: 2, maxAttempts: 1 });
    const stop = new AbortController();
    const slow = Array.from({ length: 10 }, () => client.get(PODS, ref, { signal: stop.signal }).catch(() => {}));
    await fake.received(2);
    await client.get(LEASES, ref, { signal, reserved: true });
    assert.deepEqual(
      fake.requests.map(({ path }) => isRenewal(path)),
      [false, false, true],
    );
    stop.abort();
    await Promise.all(slow);
  });
});

describe('the clock skew', () => {
  const answered = async (date: string, now: number): Promise<number | undefined> => {
    const clock = new FakeClock(now);
    await using fake = await FakeApiServer.start(json(200, POD, { date }));
    const client = fake.client({ clock });
    assert.equal(client.clockSkewMs, undefined);
    await client.get(PODS, ref, { signal });
    return client.clockSkewMs;
  };
  const now = Date.UTC(2026, 0, 1, 12);
  const at = (ms: number) => new Date(now + ms).toUTCString();

  test('is measured by the Date of the API server’s answers', async () => {
    assert.equal(await answered(at(0), now), 0);
    assert.equal(await answered(at(-3_600_000), now), 3_599_000, 'ahead by an hour, to within a second');
    assert.equal(await answered(at(3_600_000), now), -3_600_000, 'behind by an hour');
  });

  test('is measured by every answer, with how the local clock stands to the monotonic one by then', async () => {
    const clock = new FakeClock(now);
    await using fake = await FakeApiServer.start(json(200, POD, { date: at(0) }));
    const client = fake.client({ clock });
    await client.get(PODS, ref, { signal });
    assert.deepEqual(client.clockMeasurement, { skewMs: 0, offsetMs: now });
    clock.jump(500);
    assert.deepEqual(client.clockMeasurement, { skewMs: 0, offsetMs: now }, 'until there is an answer');
    await client.get(PODS, ref, { signal });
    assert.deepEqual(client.clockMeasurement, { skewMs: 0, offsetMs: now + 500 });
  });

  test('is not measured by a header that is not a date', async () => {
    assert.equal(await answered('yesterday', now), undefined);
  });

  test('is 0 whenever the exchange can be explained without one, and never more than the true one', () => {
    const inputs = {
      skew: fc.integer({ min: -10_000_000, max: 10_000_000 }),
      server: fc.integer({ min: 0, max: 4_000_000_000_000 }),
      before: fc.nat(5_000),
      after: fc.nat(5_000),
    };
    fc.assert(
      fc.property(fc.record(inputs), ({ after, before, server, skew }) => {
        const date = new Date(Math.floor(server / 1000) * 1000).toUTCString();
        const found = clockSkewMs(date, server + skew - before, server + skew + after) ?? Number.NaN;
        assert.ok(Math.abs(found) <= Math.abs(skew), `${found} of ${skew}`);
        assert.ok(Math.abs(found - skew) <= 1_000 + before + after, `${found} of ${skew}`);
      }),
    );
  });
});

describe('a watch', () => {
  const event = (type: string, name: string) =>
    `${JSON.stringify({ type, object: { ...POD, metadata: { ...POD.metadata, name } } })}\n`;

  async function names(fake: FakeApiServer, seen: string[], quietMs?: number, clock?: Clock): Promise<string[]> {
    const options = quietMs === undefined ? { signal } : { signal, quietMs };
    for await (const { type, object } of fake.client(clock && { clock }).watch(PODS, { namespace: 'web' }, options)) {
      seen.push(`${type} ${object.metadata.name}`);
    }
    return seen;
  }

  test('gives its events wherever the stream is cut into pieces, and ends when the server ends it', async () => {
    const bytes = Buffer.from(
      event('ADDED', 'a-\u{1F511}') + event('MODIFIED', 'b-é') + event('BOOKMARK', 'c') + event('DELETED', 'd'),
    );
    for (const size of [1, 7, 64, bytes.length]) {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.subarray(i * size, (i + 1) * size),
      );
      await using fake = await FakeApiServer.start(stream(pieces, 'end'));
      assert.deepEqual(await names(fake, []), ['ADDED a-\u{1F511}', 'MODIFIED b-é', 'BOOKMARK c', 'DELETED d']);
    }
  });

  test('an ERROR event is the error that it holds', async () => {
    const status = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' };
    await using fake = await FakeApiServer.start(
      stream([event('ADDED', 'a'), `${JSON.stringify({ type: 'ERROR', object: status })}\n`], 'silence'),
    );
    const seen: string[] = [];
    await assert.rejects(names(fake, seen), { status: 410, reason: 'Expired' });
    assert.deepEqual(seen, ['ADDED a']);
  });

  test('a refusal before it begins is an error', async () => {
    await using fake = await FakeApiServer.start(refusal(403, 'Forbidden'));
    await assert.rejects(names(fake, []), { status: 403, message: 'watch pods web: fake Forbidden' });
  });

  for (const how of ['cut', 'end'] as const) {
    test(`a stream that is ${how === 'cut' ? 'cut' : 'ended'} in the middle of an event is an error, after the events before it`, async () => {
      await using fake = await FakeApiServer.start(stream([event('ADDED', 'a'), '{"type":"ADD'], how));
      const seen: string[] = [];
      await assert.rejects(names(fake, seen), { reason: 'Network' });
      assert.deepEqual(seen, ['ADDED a']);
    });
  }

  test('a silent stream is dropped', async () => {
    await using fake = await FakeApiServer.start(stream([event('ADDED', 'a')], 'silence'));
    const clock = new FakeClock();
    const seen: string[] = [];
    const rejected = assert.rejects(names(fake, seen, 100, clock), { reason: 'Timeout' });
    await eventually('the event', async () => seen[0], { intervalMs: 5 });
    await clock.advanceAsync(100);
    await rejected;
  });

  for (const [what, piece] of [
    ['empty lines', '\n'],
    ['a line that never ends', ' '],
  ] as const) {
    test(`a stream that holds nothing but ${what} is silent, and dropped`, async () => {
      let write = (): void => {};
      await using fake = await FakeApiServer.start(async (request, response) => {
        await stream([event('ADDED', 'a')], 'silence')(request, response);
        write = () => void response.write(piece);
      });
      const clock = new FakeClock();
      const seen: string[] = [];
      let error: unknown;
      const ended = names(fake, seen, 100, clock).catch((caught: unknown) => {
        error = caught;
      });
      await eventually('the event', async () => seen[0], { intervalMs: 5 });
      for (let written = 0; written < 20 && error === undefined; written += 1) {
        write();
        for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
        await clock.advanceAsync(30);
      }
      assert.ok(isApiError(error, 'Timeout'), String(error));
      await ended;
    });
  }

  for (const line of [
    'nonsense',
    '7',
    'null',
    '{}',
    '{"type":"ADDED"}',
    '{"type":"ADDED","object":null}',
    '{"type":"NEW","object":{"metadata":{}}}',
  ]) {
    test(`the line ${line} is an error`, async () => {
      await using fake = await FakeApiServer.start(stream([`${line}\n`], 'silence'));
      await assert.rejects(names(fake, []), { reason: 'InvalidResponse' });
    });
  }

  test('a reader that stops reading ends the connection', async () => {
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    await using fake = await FakeApiServer.start((request, response) => {
      response.on('close', resolve);
      return stream([event('ADDED', 'a')], 'silence')(request, response);
    });
    for await (const _ of fake.client().watch(PODS, {}, { signal })) break;
    await closed;
  });

  test('an abort ends it with its reason', async () => {
    await using fake = await FakeApiServer.start(stream([event('ADDED', 'a')], 'silence'));
    const stop = new AbortController();
    const reading = (async () => {
      for await (const _ of fake.client().watch(PODS, {}, { signal: stop.signal })) stop.abort(new Error('enough'));
    })();
    await assert.rejects(reading, { message: 'enough' });
  });
});

test('a connection that was idle for half a minute is used no more, whatever the server offers', async (t) => {
  await using server = await startPatientServer();
  const credentials = { headers: {}, tls: {} };
  const client = clientOver({
    server: server.url,
    defaultNamespace: 'default',
    credentials: async () => credentials,
  });
  t.mock.timers.enable({ apis: ['setTimeout'] });
  await client.getPath('/version', { signal });
  await settle();
  await client.getPath('/version', { signal });
  assert.equal(server.connections, 1);
  await settle();
  t.mock.timers.tick(30_000);
  await client.getPath('/version', { signal });
  assert.equal(server.connections, 2);
  await client.close();
});

test('the page of a proxy that knows no such path is not taken for a missing CustomResourceDefinition', async () => {
  const page: FakeHandler = (_request, response) => {
    response.writeHead(404, { 'content-type': 'text/html' }).end('<html>nginx</html>');
  };
  await using fake = await FakeApiServer.start(page);
  await assert.rejects(fake.client().get(SECRETS, ref, { signal }), {
    message: /: expected a Kubernetes Status with HTTP/,
  });
});
