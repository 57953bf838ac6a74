import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent } from 'node:https';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { readLimitRanges } from '../../../src/admission/injection/limit-range.ts';
import { PodReviewer } from '../../../src/admission/pod-reviewer.ts';
import { LimitRanges } from '../../../src/admission/serving/limit-ranges.ts';
import {
  type AdmissionObservation,
  AdmissionServer,
  type Reviewer,
  type ReviewResult,
} from '../../../src/admission/serving/server.ts';
import { type CertificateFiles, makeCertificate } from '../../../src/admission/serving/serving-certificate.ts';
import { type Clock, systemClock } from '../../../src/kubernetes/clock.ts';

import { FakeClock } from '../../../testing/support/fake-clock.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';
import { rawHead, send } from '../https.ts';
import { podWith, review, sameBytes } from '../pods.ts';
import { askInARow } from './eager-client.ts';

const REVIEW = JSON.stringify({ pod: 'web' });

/** A fake of injection: this server knows requests, not pods. */
const reviewer: Reviewer = { review: async (body) => answer(body), reviewUnread: answerUnread };

function answerUnread(beginning: string): ReviewResult {
  if (!beginning.startsWith('{"kind"')) return { outcome: 'malformed', message: 'no review' };
  return { outcome: 'unchanged', body: '{"unread":true}', warnings: ['too large'] };
}

function answer(body: string): ReviewResult {
  if (body !== REVIEW) return { outcome: 'malformed', message: `expected a review; got ${body.length} characters` };
  return { outcome: 'injected', body: '{"answered":true}', warnings: ['one'] };
}

async function certificate(): Promise<CertificateFiles> {
  return await makeCertificate({ names: ['localhost', '127.0.0.1'], now: Date.now(), lifetimeMs: 3_600_000 });
}

async function start(files: CertificateFiles, clock: Clock = systemClock, answering: Reviewer = reviewer) {
  const observed: AdmissionObservation[] = [];
  const server = new AdmissionServer({
    address: { host: '127.0.0.1', port: 0 },
    reviewer: answering,
    clock,
    log: recordingLogger(),
    observe: (observation) => observed.push(observation),
  });
  await server.listen();
  server.use({ certificatePem: files['tls.crt'], keyPem: files['tls.key'] });
  return { server, observed, port: server.port };
}

describe('the admission server', () => {
  let files: CertificateFiles;
  let running: Awaited<ReturnType<typeof start>>;
  before(async () => {
    files = await certificate();
    running = await start(files);
  });
  after(() => running.server.drain(0));
  const ask = (options: Parameters<typeof send>[1]) => send({ port: running.port, ca: files['ca.crt'] }, options);

  test('answers a review', async () => {
    const { headers, status, text } = await ask({ body: REVIEW });
    assert.equal(status, 200);
    assert.equal(headers['content-type'], 'application/json');
    assert.deepEqual(JSON.parse(text), { answered: true });
    const [observation] = running.observed.slice(-1);
    assert.deepEqual([observation?.outcome, observation?.warnings], ['injected', 1]);
    assert.ok((observation?.seconds ?? -1) >= 0);
  });

  test('takes a content type with a charset', async () => {
    const headers = { 'content-type': 'Application/JSON; charset=utf-8' };
    assert.equal((await ask({ body: REVIEW, headers })).status, 200);
  });

  for (const [what, options, status, text] of [
    ['another path', { path: '/' }, 404, /the webhook's path is \/inject/],
    ['another method', { method: 'GET' }, 405, /expected POST, found GET/],
    ['another type', { headers: { 'content-type': 'text/plain' } }, 415, /application\/json/],
    ['no type', { headers: { 'content-type': '' } }, 415, /application\/json/],
    ['an empty body', {}, 400, /got 0 characters/],
    ['a body that is not a review', { body: 'hello' }, 400, /got 5 characters/],
    [
      'a body that says it is too large',
      { body: 'x', headers: { 'content-length': String(25 * 1024 * 1024) } },
      413,
      /at most 25165824 bytes/,
    ],
  ] as const) {
    test(`refuses ${what} with ${status} and what was expected`, async () => {
      const reply = await ask(options);
      assert.equal(reply.status, status);
      assert.match(reply.text, text);
      assert.equal(running.observed.at(-1)?.outcome, 'refused');
    });
  }

  test('stops reading a body that grows too large, and keeps serving others', async () => {
    const headers = { 'transfer-encoding': 'chunked' };
    const outcome = await ask({ body: Buffer.alloc(25 * 1024 * 1024, ' '), headers }).then(
      ({ status }) => status,
      // The server closed while the client was still sending.
      (error: NodeJS.ErrnoException) => error.code,
    );
    assert.ok([413, 'EPIPE', 'ECONNRESET'].includes(outcome ?? ''), String(outcome));
    assert.equal((await ask({ body: REVIEW })).status, 200);
  });

  test('survives clients that speak no TLS, or hang up in the middle', async () => {
    const plain = connect(running.port, '127.0.0.1');
    plain.on('error', () => {});
    plain.write('POST /inject HTTP/1.1\r\n\r\n');
    await once(plain, 'close');
    const hasty = connect(running.port, '127.0.0.1', () => hasty.destroy());
    hasty.on('error', () => {});
    await once(hasty, 'close');
    assert.equal((await ask({ body: REVIEW })).status, 200);
  });

  test('keeps a connection for the next review', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const target = { port: running.port, ca: files['ca.crt'], agent };
    await send(target, { body: REVIEW });
    const [socket] = Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? []);
    await send(target, { body: REVIEW });
    assert.deepEqual(
      Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? []),
      [socket],
    );
    agent.destroy();
  });
});

for (const [query, seconds] of [
  ['?timeout=1s', 0.5],
  ['?timeout=5s', 2.5],
  ['?dryRun=true&timeout=2s', 1],
  ['?timeout=30s', 3],
  ['?timeout=1h', 3],
  ['?timeout=0s', 3],
  ['', 3],
] as const) {
  test(`LimitRanges that never come cost a review with "${query}" ${seconds} s, and not its agent`, async (t) => {
    const clock = new FakeClock();
    const asked = Promise.withResolvers<void>();
    // As the API client does: it ends with its signal.
    const list = (_type: object, _selection: object, { signal }: { signal: AbortSignal }) => {
      asked.resolve();
      return new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    };
    const limitRanges = new LimitRanges({ list }, clock, recordingLogger(), readLimitRanges);
    const agent = { image: 'localhost/dcred', pullPolicy: 'IfNotPresent' };
    const files = await certificate();
    const { observed, port, server } = await start(files, clock, new PodReviewer(sameBytes, { agent }, limitRanges));
    t.after(async () => {
      const drained = server.drain(0);
      await clock.advanceAsync(1_000);
      await drained;
    });
    const pod = podWith({ annotations: { 'dcred.dev/reload': 'signal:HUP:main' } });
    const body = JSON.stringify(review(pod));
    const answered = send({ port, ca: files['ca.crt'] }, { body, path: `/inject${query}` });
    await asked.promise;
    for (let half = 0; half < 6; half += 1) await clock.advanceAsync(500);
    const { text } = await answered;
    const patch = Buffer.from(JSON.parse(text).response.patch, 'base64').toString();
    assert.match(patch, /dcred-agent/);
    assert.equal(observed[0]?.seconds, seconds);
  });
}

test('a client that asks again as soon as it has read its answer is answered, however often', async (t) => {
  const files = await certificate();
  const late: Reviewer = {
    ...reviewer,
    review: async (body) => {
      // What is written here leaves at once, and is reported as sent in the next turn of the event loop.
      await new Promise((resolve) => setImmediate(resolve));
      return answer(body);
    },
  };
  const { port, server } = await start(files, systemClock, late);
  t.after(() => server.drain(0));
  const answered = await askInARow({ port, ca: files['ca.crt'], body: REVIEW, requests: 1_000 });
  assert.equal(answered, 1_000);
});

test('a connection that is opened early and used late is still there', async (t) => {
  const files = await certificate();
  const { port, server } = await start(files);
  t.after(() => server.drain(0));
  const early = connectTls({ host: '127.0.0.1', port, ca: files['ca.crt'], servername: 'localhost' });
  await once(early, 'secureConnect');
  // Two connections without a handshake are cut off one after the other: several seconds pass, however slow the machine is.
  for (let count = 0; count < 2; count += 1) {
    const silent = connect(port, '127.0.0.1').on('error', () => {});
    await once(silent.resume(), 'close');
  }
  early.write(rawHead(REVIEW.length) + REVIEW);
  const [data] = await once(early, 'data');
  assert.match(String(data), /^HTTP\/1\.1 200 /);
  early.destroy();
});

test('bodies that never end, on as many connections as are kept, keep no client out', async (t) => {
  const files = await certificate();
  const clock = new FakeClock();
  const { port, server } = await start(files, clock);
  t.after(async () => {
    const drained = server.drain(0);
    await clock.advanceAsync(1_000);
    await drained;
  });
  // Ten at a time: a handshake has five seconds, and this process works on both ends of each.
  for (let count = 0; count < 260; count += 10) {
    const ten = Array.from({ length: 10 }, async () => {
      const socket = connectTls({ host: '127.0.0.1', port, ca: files['ca.crt'], servername: 'localhost' });
      socket.on('error', () => {});
      socket.on('secureConnect', () => socket.write(rawHead(100)));
      await once(socket, 'secureConnect');
    });
    await Promise.all(ten);
  }
  assert.equal((await send({ port, ca: files['ca.crt'] }, { body: REVIEW })).status, 200);
});

test('a new certificate is served on new connections, and open ones continue', async () => {
  const [first, second] = [await certificate(), await certificate()];
  const { server, port } = await start(first);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const old = { port, ca: first['ca.crt'], agent };
  assert.equal((await send(old, { body: REVIEW })).status, 200);
  server.use({ certificatePem: second['tls.crt'], keyPem: second['tls.key'] });
  assert.equal((await send(old, { body: REVIEW })).status, 200);
  assert.equal((await send({ port, ca: second['ca.crt'] }, { body: REVIEW })).status, 200);
  await assert.rejects(send({ port, ca: first['ca.crt'] }, { body: REVIEW }), /certificate/);
  agent.destroy();
  await server.drain(0);
});

test('draining: requests are answered with Connection: close, and then connections are refused', async () => {
  const files = await certificate();
  const clock = new FakeClock();
  const { server, port } = await start(files, clock);
  const target = { port, ca: files['ca.crt'] };
  const agent = new Agent({ keepAlive: true });
  await send({ ...target, agent }, { body: REVIEW });
  const drained = server.drain(300);
  const during = await send({ ...target, agent }, { body: REVIEW });
  assert.equal(during.status, 200);
  assert.equal(during.headers['connection'], 'close');
  await clock.advanceAsync(300);
  await drained;
  await assert.rejects(send(target, { body: REVIEW }), { code: 'ECONNREFUSED' });
  agent.destroy();
});

test('listening on an address in use is an error', async () => {
  const { server, port } = await start(await certificate());
  const other = new AdmissionServer({
    address: { host: '127.0.0.1', port },
    reviewer,
    clock: systemClock,
    log: recordingLogger(),
  });
  await assert.rejects(other.listen(), { code: 'EADDRINUSE' });
  await server.drain(0);
});
