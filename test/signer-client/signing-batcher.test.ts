/** Many credentials in one call, and what a signer that is down, slow or overloaded does to callers that wait. The signer is a fake. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ApiError, retryAfterMs } from '../../src/kubernetes/api-error.ts';
import type { SignRequest, SignResult } from '../../src/signer/protocol.ts';
import { MAX_REQUESTS } from '../../src/signer/protocol.ts';
import { SignerUnavailableError } from '../../src/signer-client/errors.ts';
import { SigningBatcher } from '../../src/signer-client/signing-batcher.ts';
import { FakeClock, settle } from '../../testing/support/fake-clock.ts';

const request = (expiresAt: number): SignRequest => ({
  certificate: 'vault/web-tls',
  usage: 'Server',
  dcCertVerifyAlgorithm: 0x0403,
  subjectPublicKeyInfo: Uint8Array.of(1),
  expiresAt,
  namespace: 'edge',
  resource: 'web',
  podUid: `uid-${expiresAt}`,
});

/** Answers when the test lets it. */
class FakeSigner {
  readonly server = 'https://signer.test';
  readonly calls: { readonly expiries: readonly number[]; answer: () => void; fail: (error: Error) => void }[] = [];

  sign(requests: readonly SignRequest[]): Promise<readonly SignResult[]> {
    return new Promise((resolve, reject) => {
      const expiries = requests.map(({ expiresAt }) => expiresAt);
      const results = expiries.map(
        (at): SignResult => ({ ok: true, certificateSha256: 'sha', credential: String(at) }),
      );
      this.calls.push({ expiries, answer: () => resolve(results), fail: reject });
    });
  }
}

class World {
  readonly clock = new FakeClock();
  readonly signer = new FakeSigner();
  readonly stop = new AbortController();
  readonly answers: (string | undefined)[] = [];
  readonly batcher = new SigningBatcher({
    client: this.signer,
    clock: this.clock,
    random: () => 0,
    signal: this.stop.signal,
    onAnswer: (failure) => this.answers.push(failure?.message),
  });

  /** Answers all calls from this one on, including those that begin meanwhile. */
  async answerAll(from = 0): Promise<void> {
    for (let answered = from; answered < this.signer.calls.length; answered += 1) {
      this.signer.calls[answered]?.answer();
      await settle();
      this.clock.advance(MOMENT_MS);
      await settle();
    }
  }

  sign(expiresAt: number, signal = new AbortController().signal): Promise<string> {
    const signed = this.batcher.sign(request(expiresAt), signal);
    return signed.then(
      (result) => (result.ok ? result.credential : result.reason),
      (error: Error) => error.name,
    );
  }
}

const down = () => new ApiError('sign: connect ECONNREFUSED', { status: 0, reason: 'Network' });

const sizes = ({ signer }: World) => signer.calls.map(({ expiries }) => expiries.length);
/** Longer than the batcher keeps any two calls apart. */
const MOMENT_MS = 100;

test('one request goes at once, and those within a moment after it go together', async () => {
  const world = new World();
  const one = world.sign(1);
  await settle();
  assert.deepEqual(
    world.signer.calls.map(({ expiries }) => expiries),
    [[1]],
  );
  const more = [5, 3].map((at) => world.sign(at));
  await settle();
  world.signer.calls[0]?.answer();
  more.push(world.sign(4));
  await settle();
  assert.equal(world.signer.calls.length, 1, 'an answer does not end the moment');
  world.clock.advance(25);
  await settle();
  assert.deepEqual(world.signer.calls[1]?.expiries, [3, 4, 5], 'soonest expiry first');
  world.signer.calls[1]?.answer();
  assert.deepEqual(await Promise.all([one, ...more]), ['1', '5', '3', '4'], 'each gets its own');
  world.clock.advance(MOMENT_MS);
  await settle();
  assert.equal(world.clock.timers, 0, 'nothing is left waiting');
  void world.sign(6);
  await settle();
  assert.deepEqual(world.signer.calls[2]?.expiries, [6], 'after a moment without any, one goes at once again');
});

test('in a wave calls are further apart, in proportion to what the last one carried, up to a tenth of a second', async () => {
  for (const [size, ms] of [
    [1, 25],
    [3, 75],
    [30, 100],
  ] as const) {
    const world = new World();
    for (let at = 0; at < size; at += 1) void world.sign(at);
    await settle();
    void world.sign(size);
    world.clock.advance(ms - 1);
    await settle();
    assert.deepEqual(sizes(world), [size]);
    world.clock.advance(1);
    await settle();
    assert.deepEqual(sizes(world), [size, 1]);
  }
});

test('a call that takes long does not hold up the next ones, and many that wait go at once', async () => {
  const world = new World();
  const signed = [world.sign(1)];
  await settle();
  signed.push(world.sign(2));
  await settle();
  world.clock.advance(25);
  await settle();
  assert.deepEqual(sizes(world), [1, 1]);
  for (let at = 3; at < 34; at += 1) signed.push(world.sign(at));
  await settle();
  assert.deepEqual(sizes(world), [1, 1]);
  signed.push(world.sign(34));
  await settle();
  assert.deepEqual(sizes(world), [1, 1, 32]);
  signed.push(world.sign(35));
  world.clock.advance(MOMENT_MS);
  await settle();
  signed.push(world.sign(36));
  world.clock.advance(MOMENT_MS);
  await settle();
  assert.deepEqual(sizes(world), [1, 1, 32, 1], 'four at most');
  for (let call = 0; call < 5; call += 1) {
    world.signer.calls[call]?.answer();
    await settle();
  }
  assert.equal((await Promise.all(signed)).length, 36);
});

test('whatever comes and goes, each request is answered once, with its own result, in calls of at most 500', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 8 }), async (bursts) => {
      const world = new World();
      let next = 0;
      const all: Promise<[string, number]>[] = [];
      for (const size of bursts) {
        for (let count = 0; count < size; count += 1) {
          const at = next++;
          all.push(world.sign(at).then((got) => [got, at]));
        }
        await settle();
        world.signer.calls.find(({ expiries }) => expiries.length > 0)?.answer();
      }
      await world.answerAll();
      for (const [got, at] of await Promise.all(all)) assert.equal(got, String(at));
      const sent = world.signer.calls.flatMap(({ expiries }) => expiries);
      assert.equal(sent.length, next);
      assert.ok(world.signer.calls.every(({ expiries }) => expiries.length <= MAX_REQUESTS));
    }),
    { numRuns: 20 },
  );
});

test('while a signer is down all requests fail at once, and one call at a time finds out whether it is back', async () => {
  const world = new World();
  const first = [world.sign(1), world.sign(2)];
  await settle();
  world.signer.calls[0]?.fail(down());
  assert.deepEqual(await Promise.all(first), ['SignerUnavailableError', 'SignerUnavailableError']);
  assert.equal(await world.sign(3), 'SignerUnavailableError');
  assert.equal(world.signer.calls.length, 1, 'no call before the delay has passed');
  assert.match(world.answers[0] ?? '', /^the signer at https:\/\/signer.test does not answer/);

  world.clock.advance(1_000);
  const probe = world.sign(4);
  await settle();
  const behind = world.sign(5);
  await settle();
  assert.equal(world.signer.calls.length, 2, 'one call, while it is not known to be back');
  await world.answerAll(1);
  assert.deepEqual(await Promise.all([probe, behind]), ['4', '5']);
  assert.equal(world.answers.at(-1), undefined);
});

test('a signer that is overloaded says when to come back, and is called no earlier', async () => {
  const world = new World();
  const failed = world.batcher.sign(request(1), new AbortController().signal);
  await settle();
  const tooMany = { status: 429, reason: 'TooManyRequests', retryAfterSeconds: 20 };
  world.signer.calls[0]?.fail(new ApiError('sign: too many', tooMany));
  const error = await failed.catch((reason: unknown) => reason);
  assert.ok(error instanceof SignerUnavailableError && /is overloaded/.test(error.message));
  assert.equal(retryAfterMs(error), 20_000, 'the queue of the operator sees it too');
  world.clock.advance(19_999);
  assert.equal(await world.sign(2), 'SignerUnavailableError');
  world.clock.advance(1);
  const again = world.sign(3);
  await settle();
  world.signer.calls[1]?.answer();
  assert.equal(await again, '3');
});

test('a caller that gives up waits no longer, and nothing is signed for it', async () => {
  const world = new World();
  const all = Array.from({ length: 4 }, (_, at) => world.sign(at));
  for (let call = 0; call < 4; call += 1) {
    await settle();
    all.push(world.sign(10 + call));
  }
  await settle();
  const caller = new AbortController();
  const given = world.batcher.sign(request(99), caller.signal);
  caller.abort(new Error('the pod is gone'));
  await assert.rejects(given, /the pod is gone/);
  await world.answerAll();
  await Promise.all(all);
  assert.ok(!world.signer.calls.some(({ expiries }) => expiries.includes(99)));
});

test('at shutdown no caller is left waiting, whichever signal it has', async () => {
  const world = new World();
  const results = [world.sign(1)];
  await settle();
  results.push(world.sign(2), world.sign(3, world.stop.signal));
  await settle();
  world.stop.abort(new Error('the lease is lost'));
  world.signer.calls[0]?.fail(new Error('aborted'));
  assert.deepEqual(await Promise.all(results), ['Error', 'Error', 'Error']);
  assert.equal(world.clock.timers, 0);
});
