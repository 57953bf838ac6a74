import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TokenReviews, TooManyReviewsError } from '../../src/serving/token-reviews.ts';
import { FakeClock, settle } from '../../testing/support/fake-clock.ts';

const never = new AbortController().signal;

/** A fake of the API server, which answers when the test lets it. */
function start() {
  const clock = new FakeClock();
  const pending: { readonly token: string; readonly answer: () => void }[] = [];
  const reviewed: string[] = [];
  const reviews = new TokenReviews<boolean>({
    review: (token) => {
      reviewed.push(token);
      return new Promise((resolve) => pending.push({ token, answer: () => resolve(token.startsWith('good')) }));
    },
    isAccepted: (isGood) => isGood,
    acceptedMs: 30_000,
    clock,
  });
  const answerAll = async (): Promise<void> => {
    for (await settle(); pending.length > 0; await settle()) for (const one of pending.splice(0)) one.answer();
  };
  return { clock, pending, reviewed, reviews, answerAll };
}

describe('the review of a token', () => {
  test('is one for all concurrent callers, whichever of them gives up', async () => {
    const { answerAll, reviewed, reviews } = start();
    const gone = new AbortController();
    const first = reviews.ask('good', '10.0.0.1', gone.signal);
    const others = Array.from({ length: 50 }, () => reviews.ask('good', '10.0.0.1', never));
    gone.abort();
    await assert.rejects(first, { name: 'AbortError' });
    await answerAll();
    assert.deepEqual(new Set(await Promise.all(others)), new Set([true]));
    assert.deepEqual(reviewed, ['good']);
  });

  test('is remembered: for a while where it is accepted, for a moment where it is refused', async () => {
    const { answerAll, clock, reviewed, reviews } = start();
    const ask = async (token: string): Promise<boolean> => {
      const asked = reviews.ask(token, '10.0.0.1', never);
      await answerAll();
      return await asked;
    };
    for (let count = 0; count < 3; count += 1) assert.deepEqual([await ask('good'), await ask('bad')], [true, false]);
    assert.deepEqual(reviewed, ['good', 'bad']);
    await clock.advanceAsync(29_000);
    await ask('good');
    await ask('bad');
    assert.deepEqual(reviewed, ['good', 'bad', 'bad']);
    await clock.advanceAsync(1_001);
    await ask('good');
    assert.equal(reviewed.length, 4);
  });

  test('fails for the callers that wait for it, and is tried again by the next', async () => {
    const clock = new FakeClock();
    const outcomes = [() => Promise.reject(new Error('no answer')), () => Promise.resolve(true)];
    const review = () => outcomes.shift()?.() ?? Promise.resolve(false);
    const reviews = new TokenReviews({ review, isAccepted: (good: boolean) => good, acceptedMs: 1, clock });
    const both = [reviews.ask('good', '10.0.0.1', never), reviews.ask('good', '10.0.0.2', never)];
    for (const one of both) await assert.rejects(one, /no answer/);
    assert.equal(await reviews.ask('good', '10.0.0.1', never), true);
  });
});

describe('strangers that send one token after the other', () => {
  test("cost a bounded number of reviews, and other clients' tokens are reviewed in turn", async () => {
    const { answerAll, clock, pending, reviewed, reviews } = start();
    const storm = Array.from({ length: 1_000 }, (_, index) =>
      reviews.ask(`bad-${index}`, '10.0.0.66', never).catch((error: unknown) => error),
    );
    const honest = reviews.ask('good', '10.0.0.1', never);
    await settle();
    assert.equal(pending.length, 4);
    for (const one of pending.splice(0)) one.answer();
    await settle();
    assert.ok(pending.some(({ token }) => token === 'good'));
    await answerAll();
    assert.equal(await honest, true);
    const refusals = (await Promise.all(storm)).filter((answer) => answer instanceof TooManyReviewsError);
    assert.equal(reviewed.length + refusals.length, 1_001);
    assert.ok(reviewed.length <= 21, String(reviewed.length));
    await clock.advanceAsync(10_000);
    const later = Array.from({ length: 100 }, (_, index) =>
      reviews.ask(`later-${index}`, '10.0.0.66', never).catch(() => undefined),
    );
    await answerAll();
    await Promise.all(later);
    assert.ok(reviewed.length <= 31, String(reviewed.length));
  });

  test('keep out no client whose token was good before, though they call from its address', async () => {
    const { answerAll, clock, reviews } = start();
    const before = reviews.ask('good', '10.0.0.1', never);
    await answerAll();
    assert.equal(await before, true);
    await clock.advanceAsync(60_000);
    const storm = Array.from({ length: 600 }, (_, index) =>
      reviews.ask(`bad-${index}`, `10.0.${index % 30}.1`, never).catch(() => undefined),
    );
    const honest = reviews.ask('good', '10.0.0.1', never);
    await answerAll();
    assert.equal(await honest, true);
    await Promise.all(storm);
    // Nor do answers about their tokens evict the one about the client's.
    const again = reviews.ask('good', '10.0.0.1', never);
    assert.equal(await again, true);
  });

  test('leave a bounded number of addresses, answers and waiting reviews behind', async () => {
    const { answerAll, pending, reviews } = start();
    const storm = Array.from({ length: 5_000 }, (_, index) =>
      reviews.ask(`bad-${index}`, `10.${index >> 8}.${index & 255}.1`, never).catch((error: unknown) => error),
    );
    await settle();
    assert.equal(pending.length, 4);
    await answerAll();
    const refusals = (await Promise.all(storm)).filter((answer) => answer instanceof TooManyReviewsError);
    assert.equal(refusals.length, 5_000 - 4 - 256);
  });
});
