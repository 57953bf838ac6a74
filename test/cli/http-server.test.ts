import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import {
  AddressError,
  type HttpServer,
  type PathHandler,
  parseAddress,
  probeHandler,
  serveHttp,
} from '../../src/cli/http-server.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';

const LOOPBACK = { host: '127.0.0.1', port: 0 };
const hello: PathHandler = async () => ({ status: 200, type: 'text/plain', body: 'hello\n' });

async function serving<T>(
  routes: Readonly<Record<string, PathHandler>>,
  work: (server: HttpServer) => Promise<T>,
): Promise<T> {
  const server = await serveHttp(LOOPBACK, routes);
  try {
    return await work(server);
  } finally {
    await server.close();
  }
}

function ask({ port }: HttpServer, path: string, init?: RequestInit): Promise<Response> {
  return fetch(`http://127.0.0.1:${port}${path}`, init);
}

/** What the server answers to exactly these bytes: a client would normalise some of the paths. */
async function answerTo({ port }: HttpServer, target: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.setEncoding('utf8');
  await once(socket, 'connect');
  socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text.split('\r\n')[0] ?? '';
}

describe('an address', () => {
  for (const [text, host, port] of [
    [':8080', undefined, 8080],
    ['127.0.0.1:8080', '127.0.0.1', 8080],
    ['localhost:0', 'localhost', 0],
    ['[::1]:8080', '::1', 8080],
    ['[::]:65535', '::', 65_535],
  ] as const) {
    test(`${text} is understood`, () => assert.deepEqual(parseAddress(text), { host, port }));
  }

  test('0 is none', () => assert.equal(parseAddress('0'), undefined));

  for (const text of [
    '',
    '8080',
    ':',
    ':x',
    ':65536',
    ':123456',
    '::1:8080',
    '[::1]',
    'http://x:80',
    '127.0.0.1',
    ' :80',
  ]) {
    test(`"${text}" is refused with what is expected`, () => {
      assert.throws(
        () => parseAddress(text),
        (error) => {
          assert.ok(error instanceof AddressError);
          assert.equal(error.code, 'AddressInvalid');
          assert.match(error.message, /":8080"/);
          assert.ok(error.message.includes(`"${text}"`));
          return true;
        },
      );
    });
  }
});

describe('the HTTP server', () => {
  test('answers GET and HEAD of its paths, whatever the query', async () => {
    await serving({ '/metrics': hello }, async (server) => {
      const get = await ask(server, '/metrics?x=1');
      assert.equal(get.status, 200);
      assert.equal(get.headers.get('content-type'), 'text/plain');
      assert.equal(await get.text(), 'hello\n');
      const head = await ask(server, '/metrics', { method: 'HEAD' });
      assert.equal(head.status, 200);
      assert.equal(await head.text(), '');
    });
  });

  test('answers 404 for any other path', async () => {
    await serving({ '/metrics': hello }, async (server) => {
      for (const path of ['/', '/metric', '/metrics/', '/Metrics', '/constructor', '/__proto__', '/%6detrics']) {
        assert.equal((await ask(server, path)).status, 404, path);
      }
    });
  });

  test('answers 405 for any other method, and says which it allows', async () => {
    await serving({ '/metrics': hello }, async (server) => {
      for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
        const answer = await ask(server, '/metrics', { method });
        assert.equal(answer.status, 405, method);
        assert.equal(answer.headers.get('allow'), 'GET, HEAD');
      }
    });
  });

  test('survives every request line that a client may send', async () => {
    await serving({ '/metrics': hello }, async (server) => {
      for (const target of ['//', '///', '//[', 'http://[', 'http://', '*', '/\\', '/?', '?', '/%', 'x']) {
        assert.match(await answerTo(server, target), /^HTTP\/1\.1 (404|400) /, target);
      }
      assert.equal((await ask(server, '/metrics')).status, 200);
    });
  });

  test('answers 500 where an answer cannot be made, without saying why', async () => {
    const failing: PathHandler = async () => {
      throw new Error('a detail');
    };
    await serving({ '/metrics': failing, '/other': hello }, async (server) => {
      const answer = await ask(server, '/metrics');
      assert.equal(answer.status, 500);
      assert.equal(await answer.text(), 'failed\n');
      assert.equal((await ask(server, '/other')).status, 200);
    });
  });

  test('reports an address that is in use', async () => {
    await serving({}, async ({ port }) => {
      await assert.rejects(serveHttp({ host: '127.0.0.1', port }, {}), {
        code: 'AddressInvalid',
        message: /^127\.0\.0\.1:\d+ is in use: another process listens there/,
      });
    });
  });

  test('keeps few of the connections of strangers, and answers a probe meanwhile', async () => {
    await serving({ '/healthz': probeHandler(() => undefined) }, async (server) => {
      const sockets = Array.from({ length: 200 }, () => connect(server.port, '127.0.0.1').on('error', () => {}));
      await Promise.all(sockets.map((socket) => once(socket, 'connect')));
      const closed = sockets.slice(0, 136).map((socket) => once(socket.resume(), 'close'));
      assert.equal((await ask(server, '/healthz')).status, 200);
      await Promise.all(closed);
      for (const socket of sockets) socket.destroy();
    });
  });

  test('answers one request of a connection at a time', async () => {
    const asked = Promise.withResolvers<void>();
    let calls = 0;
    const slow: PathHandler = async () => {
      calls += 1;
      await asked.promise;
      return await hello();
    };
    await serving({ '/metrics': slow }, async (server) => {
      const socket = connect(server.port, '127.0.0.1').on('error', () => {});
      const closed = once(socket.resume(), 'close');
      socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(100));
      await closed;
      assert.equal(calls, 1);
      asked.resolve();
    });
  });

  test('closes the connection of a client that does not read its answer', async () => {
    const clock = new FakeClock();
    // More than both sides buffer.
    const body = 'x'.repeat(32 * 1024 * 1024);
    const answered = Promise.withResolvers<void>();
    const large: PathHandler = async () => {
      answered.resolve();
      return { status: 200, type: 'text/plain', body };
    };
    const server = await serveHttp(LOOPBACK, { '/metrics': large, '/other': hello }, undefined, clock);
    try {
      const socket = connect(server.port, '127.0.0.1').on('error', () => {});
      socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
      await answered.promise;
      clock.advance(120_000);
      let bytes = 0;
      socket.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      await once(socket, 'close');
      assert.ok(bytes < body.length, `${bytes} bytes were sent to a client that did not read`);
      assert.equal(await (await ask(server, '/other')).text(), 'hello\n');
    } finally {
      await server.close();
    }
  });

  test('closes at once, with connections open', async () => {
    const server = await serveHttp(LOOPBACK, { '/metrics': hello });
    const socket = connect(server.port, '127.0.0.1');
    await once(socket, 'connect');
    const ended = once(socket, 'close');
    await server.close();
    socket.resume();
    await ended;
    await assert.rejects(ask(server, '/metrics'));
  });
});

describe('a probe', () => {
  test('is healthy as long as there is no problem', async () => {
    let problem: string | undefined = 'the caches are not filled yet';
    await serving({ '/readyz': probeHandler(() => problem) }, async (server) => {
      const bad = await ask(server, '/readyz');
      assert.equal(bad.status, 503);
      assert.equal(await bad.text(), 'the caches are not filled yet\n');
      problem = undefined;
      const good = await ask(server, '/readyz');
      assert.equal(good.status, 200);
      assert.equal(await good.text(), 'ok\n');
    });
  });

  test('says what is wrong and stops nothing else, and is healthy all the same', async () => {
    const exception = () => 'vault/api-tls: there is no such Secret';
    let problem: string | undefined;
    await serving({ '/readyz': probeHandler(() => problem, exception) }, async (server) => {
      const good = await ask(server, '/readyz');
      assert.equal(good.status, 200);
      assert.equal(await good.text(), 'ok, except for vault/api-tls: there is no such Secret\n');
      problem = 'no grants yet';
      const bad = await ask(server, '/readyz');
      assert.equal(bad.status, 503);
      assert.equal(await bad.text(), 'no grants yet\n');
    });
  });
});
