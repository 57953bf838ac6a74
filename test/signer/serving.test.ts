/** The signer's server with many clients at once, with clients that stop in the middle, and on kept connections. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { Agent, type RequestOptions, request } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { type TestContext, test } from 'node:test';
import { makeDevCertificate } from '../../src/provision/dev-authority.ts';
import { FOLLOW_PATH, formatSignCall, MAX_BODY_BYTES, SIGN_PATH } from '../../src/signer/protocol.ts';
import { SignerServer, type SignerServerOptions } from '../../src/signer/server.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';
import { eventually } from '../../testing/support/processes.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';
import { ask, NOW, serving } from './running-signer.ts';

const DAY_MS = 86_400_000;
const SIGN = formatSignCall([ask()]);
const FOLLOW = JSON.stringify({ known: [{ certificate: 'vault/web-tls', namespace: 'edge' }], waitSeconds: 25 });

/** With fakes behind it: a client's name is in its header, and nothing is signed. */
async function start(t: TestContext, change: Partial<Omit<SignerServerOptions, 'clock'>> = {}) {
  const statuses: number[] = [];
  const log = recordingLogger();
  const clock = new FakeClock(NOW * 1000);
  const server = new SignerServer({
    address: { host: '127.0.0.1', port: 0 },
    tls: { certificatePem: serving.certificate, keyPem: serving.key, clientCaPem: undefined },
    authenticator: {
      authenticate: async ({ authorization: name }) =>
        name === undefined
          ? undefined
          : { name, cluster: name, tlsName: undefined, serviceAccount: undefined, issuer: undefined },
    },
    service: { sign: async () => [], certificate: () => undefined },
    feed: { news: async () => [] },
    withdrawals: { confirm: async () => [] },
    ratePerSecond: 1_000_000,
    clock,
    log,
    observe: (status) => statuses.push(status),
    ...change,
  });
  await server.listen();
  t.after(async () => {
    const closed = server.close();
    // Calls that are still in progress are cut after the longest time that a call may take.
    await clock.advanceAsync(30_000);
    await closed;
  });
  return { clock, log, server, statuses, port: server.port };
}

interface Call extends Omit<RequestOptions, 'headers'> {
  readonly from?: string;
  /** The Content-Length of the body. */
  readonly length?: number;
  readonly body?: string;
}

/** A POST whose body is not sent yet. */
function open(port: number, { from, length, ...options }: Call = {}): ClientRequest {
  const headers = {
    ...(from === undefined ? {} : { authorization: from }),
    ...(length === undefined ? {} : { 'content-length': length }),
  };
  const server = { host: '127.0.0.1', port, servername: 'signer.vault.svc', ca: serving.authority };
  return request({ ...server, path: SIGN_PATH, method: 'POST', agent: false, ...options, headers });
}

async function answerTo(sent: ClientRequest): Promise<IncomingMessage> {
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  response.resume();
  await once(response, 'end');
  return response;
}

async function statusOf(port: number, call: Call = {}): Promise<number | undefined> {
  const sent = open(port, call);
  const answer = answerTo(sent);
  sent.end(call.body ?? SIGN);
  return (await answer).statusCode;
}

/** Resolves when this many calls are in progress. */
function underWay(count: number) {
  const { promise, resolve } = Promise.withResolvers<void>();
  let calls = 0;
  const until = (number: number) =>
    eventually(`${number} calls to be under way`, async () => calls >= number || undefined, { intervalMs: 5 });
  const begin = async (...args: readonly unknown[]): Promise<never> => {
    calls += 1;
    if (calls === count) resolve();
    const signal = args.at(-1) as AbortSignal;
    await once(signal, 'abort');
    throw signal.reason;
  };
  return { promise, begin, until };
}

test('strangers on as many connections as are kept keep no client out', async (t) => {
  const { port } = await start(t);
  const sockets = Array.from({ length: 600 }, () => connectTcp(port, '127.0.0.1').on('error', () => {}));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  assert.equal(await statusOf(port, { from: 'eu' }), 200);
  for (const socket of sockets) socket.destroy();
});

test('a client that does not wait for its answer is counted as such, and is not an error', async (t) => {
  const { begin, promise } = underWay(1);
  const { log, port, statuses } = await start(t, { service: { sign: begin, certificate: () => undefined } });
  const waiting = open(port, { from: 'eu' }).on('error', () => {});
  waiting.end(SIGN);
  await promise;
  waiting.destroy();
  const sending = open(port, { from: 'eu', length: 100 }).on('error', () => {});
  sending.write('{', () => setImmediate(() => sending.destroy()));
  while (statuses.length < 2) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(statuses, [499, 499]);
  assert.deepEqual(
    log.lines.filter(({ level }) => level === 'error'),
    [],
  );
});

test('a client whose bodies do not end is refused further ones with an answer, and keeps no other out', async (t) => {
  const { port } = await start(t);
  const endless = Array.from({ length: 9 }, () => open(port, { from: 'stolen', length: MAX_BODY_BYTES }));
  t.after(() => {
    for (const sent of endless) sent.destroy();
  });
  const refused = Promise.race(endless.map(answerTo));
  for (const sent of endless) sent.on('error', () => {}).write('x'.repeat(MAX_BODY_BYTES - 1));
  assert.equal((await refused).statusCode, 429);
  assert.equal(await statusOf(port, { from: 'eu' }), 200);
});

test('one client has a bounded number of calls in progress, and others are answered meanwhile', async (t) => {
  const { begin, until } = underWay(64);
  const service: SignerServerOptions['service'] = {
    sign: (client, _, signal) => (client.name === 'stolen' ? begin(signal) : Promise.resolve([])),
    certificate: () => undefined,
  };
  const { port } = await start(t, { service });
  const calls: ClientRequest[] = [];
  // Eight at a time: a handshake has ten seconds, and this process works on both ends of each.
  while (calls.length < 64) {
    const eight = Array.from({ length: 8 }, () => open(port, { from: 'stolen' }).on('error', () => {}));
    for (const sent of eight) sent.end(SIGN);
    calls.push(...eight);
    await until(calls.length);
  }
  assert.equal(await statusOf(port, { from: 'stolen' }), 429);
  assert.equal(await statusOf(port, { from: 'eu' }), 200);
  for (const sent of calls) sent.destroy();
});

/** Its answer has begun, and is not read. */
async function unread(port: number, from: string): Promise<IncomingMessage> {
  const sent = open(port, { from, path: FOLLOW_PATH });
  sent.end(FOLLOW);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return response.pause();
}

/** Of 7 MiB: one fits, a second does not. Both sides buffer less than that. */
const LONG_NEWS: SignerServerOptions['feed'] = {
  news: async ({ name: version }) => {
    const chainPem = version === 'stolen' ? 'x'.repeat(7 * 1024 * 1024) : '';
    return [{ certificate: 'vault/web-tls', namespace: 'edge', version, granted: { chainPem, usages: [] } }];
  },
};

test('a client that does not read its answers loses their connections, and has few of them until then', async (t) => {
  const { clock, port } = await start(t, { feed: LONG_NEWS });
  const response = await unread(port, 'stolen');
  const follow = { path: FOLLOW_PATH, body: FOLLOW };
  assert.equal(await statusOf(port, { from: 'stolen', ...follow }), 429);
  assert.equal(await statusOf(port, { from: 'eu', ...follow }), 200);
  const lost = once(response, 'error');
  await clock.advanceAsync(30_000);
  response.resume();
  assert.equal(((await lost)[0] as NodeJS.ErrnoException).code, 'ECONNRESET');
  assert.equal(await statusOf(port, { from: 'stolen', ...follow }), 200);
});

test('a call is in progress until its client has read the answer', async (t) => {
  const { begin, until } = underWay(63);
  const service: SignerServerOptions['service'] = {
    sign: (_client, _requests, signal) => begin(signal),
    certificate: () => undefined,
  };
  const { port } = await start(t, { feed: LONG_NEWS, service });
  const response = await unread(port, 'stolen');
  const calls: ClientRequest[] = [];
  while (calls.length < 63) {
    const seven = Array.from({ length: 7 }, () => open(port, { from: 'stolen' }).on('error', () => {}));
    for (const sent of seven) sent.end(SIGN);
    calls.push(...seven);
    await until(calls.length);
  }
  const other = { from: 'stolen', path: '/v1/other' };
  assert.equal(await statusOf(port, other), 429);
  response.resume();
  await once(response, 'end');
  await eventually('a place to be free', async () => (await statusOf(port, other)) === 404 || undefined);
  for (const sent of calls) sent.destroy();
});

test('a server that closes ends connections with their last answer', async (t) => {
  const { begin, promise } = underWay(1);
  // As in the feed: calls that wait for news are answered at once when the server closes.
  const { port, server } = await start(t, { feed: { news: (...args) => begin(...args).catch(() => []) } });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const sent = open(port, { from: 'eu', path: FOLLOW_PATH, agent });
  const answered = answerTo(sent);
  sent.end(FOLLOW);
  await promise;
  const closed = server.close();
  const { headers, statusCode } = await answered;
  assert.deepEqual([statusCode, headers.connection], [200, 'close']);
  // At once, not after the longest time that a call may take: this clock does not advance.
  await closed;
});

test('a call that takes too long is answered', async (t) => {
  const { begin, promise } = underWay(1);
  const { clock, port } = await start(t, { service: { sign: begin, certificate: () => undefined } });
  const status = statusOf(port, { from: 'eu' });
  await promise;
  await clock.advanceAsync(30_000);
  assert.equal(await status, 503);
});

test('a client certificate that expires on a kept connection no longer counts', async (t) => {
  const operator = await makeDevCertificate({ dnsNames: ['operator.eu'], now: NOW, lifetimeSeconds: 3_600 });
  const { clock, port } = await start(t, {
    tls: { certificatePem: serving.certificate, keyPem: serving.key, clientCaPem: operator.authority },
    authenticator: {
      authenticate: async ({ certificate }) =>
        certificate && {
          name: 'eu',
          cluster: 'eu',
          tlsName: 'operator.eu',
          serviceAccount: undefined,
          issuer: undefined,
        },
    },
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1, cert: operator.certificate, key: operator.key });
  t.after(() => agent.destroy());
  assert.equal(await statusOf(port, { agent }), 200);
  clock.jump(DAY_MS);
  assert.equal(await statusOf(port, { agent }), 401);
});

test('a stranger with a large body reads why it is turned away, and may try again on the same connection', async (t) => {
  const { port } = await start(t);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const body = 'x'.repeat(MAX_BODY_BYTES);
  assert.equal(await statusOf(port, { agent, body }), 401);
  const [socket] = Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? []);
  assert.notEqual(socket, undefined);
  assert.equal(await statusOf(port, { agent, from: 'eu' }), 200);
});
