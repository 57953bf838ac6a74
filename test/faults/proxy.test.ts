/** The proxy itself, in front of a fake API server: each fault does what its name says, and without one nothing changes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { createProxyTls, type Fault, FaultProxy, type ProxyOptions, type ProxyTls } from './proxy.ts';

const EVENTS = [1, 2, 3, 4].map((version) => JSON.stringify({ type: 'MODIFIED', object: { metadata: { version } } }));
const WATCH = '/api/v1/namespaces/edge/pods?watch=true';
const SECRET = '/api/v1/namespaces/edge/secrets/web-a';

let tls: ProxyTls;
let upstream: Server;
const received: string[] = [];

function fakeApiServer({ method, url = '' }: IncomingMessage, response: ServerResponse): void {
  received.push(`${method} ${url}`);
  if (!url.includes('watch=true')) return void response.end(JSON.stringify({ path: url }));
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(`${EVENTS.join('\n')}\n`);
}

before(async () => {
  tls = await createProxyTls();
  upstream = createServer({ cert: tls.certificate, key: tls.key }, fakeApiServer);
  upstream.listen(0, '127.0.0.1');
  await once(upstream, 'listening');
});
after(async () => {
  upstream.closeAllConnections();
  upstream.close();
  await once(upstream, 'close');
});

function start(options: Partial<ProxyOptions> = {}): Promise<FaultProxy> {
  const url = `https://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
  return FaultProxy.start({ plane: { url, certificateAuthority: tls.authority.certificate }, tls, ...options });
}

const always = (fault: Fault) => start({ rules: [{ when: () => true, fault }] });

interface Got {
  readonly status: number | undefined;
  readonly text: string;
  readonly isWhole: boolean;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** What a client receives, whole or not; `enough` ends the wait for an answer that never ends. */
function ask(proxy: FaultProxy, path: string, method = 'GET', enough?: (text: string) => boolean): Promise<Got> {
  return new Promise((resolve) => {
    let status: number | undefined;
    let text = '';
    let headers = {};
    const finish = (isWhole: boolean) => resolve({ status, text, isWhole, headers });
    const sent = request(`${proxy.url}${path}`, { ca: tls.authority.certificate, agent: false, method }, (response) => {
      status = response.statusCode;
      headers = response.headers;
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
        if (enough?.(text) === true) sent.destroy();
      });
      response.once('end', () => finish(true));
      response.once('error', () => finish(false));
    });
    sent.once('error', () => finish(false));
    sent.end();
  });
}

const versions = (text: string): readonly number[] =>
  text
    .split('\n')
    .filter((line) => line.includes('MODIFIED'))
    .map((line) => JSON.parse(line).object.metadata.version);

test('without a rule everything passes as it is', async () => {
  await using proxy = await start();
  assert.deepEqual(JSON.parse((await ask(proxy, SECRET)).text), { path: SECRET });
  assert.equal((await ask(proxy, WATCH)).text, `${EVENTS.join('\n')}\n`);
  assert.deepEqual(
    proxy.journal.map(({ key, status }) => `${key} ${status}`),
    ['get secrets web-a #1 200', 'watch pods #1 200'],
  );
});

describe('requests', () => {
  test('reset: the API server never sees it', async () => {
    await using proxy = await always({ kind: 'reset' });
    const before = received.length;
    assert.equal((await ask(proxy, SECRET, 'DELETE')).status, undefined);
    assert.equal(received.length, before);
  });

  test('lose-answer: the API server has carried it out', async () => {
    await using proxy = await always({ kind: 'lose-answer' });
    assert.equal((await ask(proxy, SECRET, 'DELETE')).status, undefined);
    assert.equal(received.at(-1), `DELETE ${SECRET}`);
  });

  test('answer: a refusal with Retry-After, once', async () => {
    await using proxy = await always({ kind: 'answer', status: 429, reason: 'TooManyRequests', retryAfterSeconds: 7 });
    const refused = await ask(proxy, SECRET);
    assert.deepEqual([refused.status, refused.headers['retry-after']], [429, '7']);
    assert.equal((await ask(proxy, SECRET)).status, 200);
  });

  test('cut-answer: half of it', async () => {
    await using proxy = await always({ kind: 'cut-answer' });
    const got = await ask(proxy, SECRET);
    assert.deepEqual([got.status, got.isWhole], [200, false]);
  });

  test('kill: from then on nothing passes', async () => {
    await using proxy = await start({ before: () => proxy.kill() });
    const before = received.length;
    assert.equal((await ask(proxy, SECRET)).status, undefined);
    assert.equal(received.length, before);
  });

  test('the Date of answers follows the clock that the operator has', async () => {
    await using proxy = await start({ dateOffsetMs: () => 3_600_000 });
    const { headers } = await ask(proxy, SECRET);
    assert.ok(Date.parse(String(headers['date'])) > Date.now() + 1_800_000);
  });
});

describe('watches', () => {
  test('duplicate: every event twice', async () => {
    await using proxy = await always({ kind: 'watch', duplicate: true });
    assert.deepEqual(versions((await ask(proxy, WATCH)).text), [1, 1, 2, 2, 3, 3, 4, 4]);
  });

  test('postpone: one event after the next', async () => {
    await using proxy = await always({ kind: 'watch', postpone: 2 });
    assert.deepEqual(versions((await ask(proxy, WATCH)).text), [1, 3, 2, 4]);
  });

  test('cutInside: the connection ends in the middle of a line', async () => {
    await using proxy = await always({ kind: 'watch', cutInside: 3 });
    const { isWhole, text } = await ask(proxy, WATCH);
    assert.ok(!isWhole && !text.endsWith('\n'), text);
    assert.equal(text.split('\n').length, 3);
  });

  test('expireAt: 410 in place of the event and all that follow', async () => {
    await using proxy = await always({ kind: 'watch', expireAt: 2 });
    const { text } = await ask(proxy, WATCH);
    assert.deepEqual(versions(text), [1]);
    assert.match(text, /"code":410/);
  });

  test('freezeAfter: nothing more, and the connection stays, whatever the API server does', async () => {
    await using proxy = await always({ kind: 'watch', freezeAfter: 1 });
    const asked = ask(proxy, WATCH);
    await once(upstream, 'request');
    const outcome = await Promise.race([asked, new Promise((resolve) => setTimeout(resolve, 200, 'open'))]);
    assert.equal(outcome, 'open');
    proxy.kill();
    assert.deepEqual(versions((await asked).text), [1]);
  });

  test('hold and release: late, and in order; hold and expire: never', async () => {
    await using proxy = await start({ onWatch: (watch) => watch.hold() });
    const late = ask(proxy, WATCH, 'GET', (text) => versions(text).length === EVENTS.length);
    while (proxy.watches[0]?.count !== EVENTS.length) await new Promise((resolve) => setImmediate(resolve));
    proxy.watches[0]?.release();
    assert.deepEqual(versions((await late).text), [1, 2, 3, 4]);
  });
});
