import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ApiError } from '../../../src/kubernetes/api-error.ts';
import { WorkQueue } from '../../../src/kubernetes/queue/work-queue.ts';
import { type Outcome, runWorkers } from '../../../src/kubernetes/queue/workers.ts';
import { FakeClock, settle } from '../../../testing/support/fake-clock.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';

function started(reconcile: (key: string, signal: AbortSignal) => Promise<Outcome>, workers = 2) {
  const clock = new FakeClock();
  const queue = new WorkQueue({ clock, random: () => 0 });
  const stop = new AbortController();
  const log = recordingLogger();
  const outcomes: string[] = [];
  const observe = ({ outcome }: { readonly outcome: string }) => outcomes.push(outcome);
  const ended = runWorkers({ queue, workers, reconcile, signal: stop.signal, log, clock, observe });
  return { clock, queue, stop, log, outcomes, ended };
}

describe('runWorkers', () => {
  test('turns each outcome into what happens next', async () => {
    const calls: string[] = [];
    const { clock, queue, log, outcomes, ended } = started(async (key) => {
      calls.push(key);
      if (key === 'later') return { kind: 'at', timeMs: clock.now() + 60_000 };
      if (key === 'stuck') return { kind: 'stalled' };
      if (key === 'broken') return { kind: 'retry', error: new Error('no'), maxDelayMs: 500 };
      return { kind: 'done' };
    });
    for (const key of ['fine', 'later', 'broken', 'stuck']) queue.add(key);
    await settle();
    assert.deepEqual(calls, ['fine', 'later', 'broken', 'stuck']);
    assert.deepEqual(outcomes.toSorted(), ['at', 'done', 'retry', 'stalled']);
    assert.equal(queue.delayed, 2);
    await clock.advanceAsync(500);
    assert.deepEqual(calls.slice(4), ['broken']);
    assert.equal(queue.failures('broken'), 2);
    assert.equal(log.lines[0]?.message, 'reconcile failed, retrying');
    assert.equal(log.lines[0]?.fields['key'], 'broken');
    queue.shutDown();
    await ended;
  });

  test('what stalls is not retried until its key is enqueued again, whatever it waited for before', async () => {
    let outcome: Outcome = { kind: 'retry', error: new Error('no') };
    const { clock, queue, log, outcomes, ended } = started(async () => outcome);
    queue.add('a');
    await settle();
    outcome = { kind: 'stalled' };
    queue.add('a');
    await clock.advanceAsync(86_400_000);
    assert.deepEqual(outcomes, ['retry', 'stalled']);
    assert.equal(queue.failures('a'), 0);
    assert.equal(log.lines.length, 1, 'the reconcile reports a stall itself');
    queue.add('a');
    await settle();
    assert.deepEqual(outcomes, ['retry', 'stalled', 'stalled']);
    queue.shutDown();
    await ended;
  });

  test('a failure that was reported is retried without a further log line', async () => {
    const { queue, log, ended } = started(async () => ({ kind: 'retry', error: new Error('no'), reported: true }));
    queue.add('a');
    await settle();
    assert.equal(queue.failures('a'), 1);
    assert.deepEqual(log.lines, []);
    queue.shutDown();
    await ended;
  });

  test('a Retry-After is honoured, even deep in the causes and beyond the longest delay; an absurd one is capped', async () => {
    const answer = (retryAfterSeconds: number) =>
      new ApiError('x', { status: 429, reason: 'TooManyRequests', retryAfterSeconds });
    const errors = [
      answer(120),
      new Error('a', { cause: new Error('b', { cause: answer(120) }) }),
      answer(1e308),
      answer(-5),
      answer(Number.NaN),
    ];
    const waits: (number | undefined)[] = [];
    for (const error of errors) {
      const { queue, log, ended } = started(async () => ({ kind: 'retry', error, maxDelayMs: 3_000 }));
      queue.add('a');
      await settle();
      waits.push(Number(log.lines[0]?.fields['retryInMs']));
      queue.shutDown();
      await ended;
    }
    assert.deepEqual(waits, [120_000, 120_000, 300_000, 1_000, 1_000]);
  });

  test('an error that is its own cause is an error', async () => {
    const error = new Error('round');
    error.cause = error;
    const { queue, ended } = started(async () => ({ kind: 'retry', error }));
    queue.add('a');
    await settle();
    assert.equal(queue.failures('a'), 1);
    queue.shutDown();
    await ended;
  });

  test('a reconcile that throws is retried and does not disturb other keys', async () => {
    let failing = true;
    const { clock, queue, ended } = started(async (key) => {
      if (key === 'bad' && failing) throw new Error('thrown');
      return { kind: 'done' };
    }, 1);
    queue.add('bad');
    queue.add('good');
    await settle();
    assert.equal(queue.length, 0);
    assert.equal(queue.failures('bad'), 1);
    failing = false;
    await clock.advanceAsync(1_000);
    assert.equal(queue.failures('bad'), 0);
    queue.shutDown();
    await ended;
  });

  test('never works on one key twice at once, however many workers there are', async () => {
    const working = new Set<string>();
    let most = 0;
    const { queue, ended } = started(async (key) => {
      assert.ok(!working.has(key));
      working.add(key);
      most = Math.max(most, working.size);
      queue.add(key === 'a' ? 'b' : 'a');
      await settle();
      working.delete(key);
      return { kind: 'done' };
    }, 8);
    queue.add('a');
    queue.add('b');
    for (let i = 0; i < 50; i++) await settle();
    assert.equal(most, 2);
    queue.shutDown();
    await ended;
  });

  test('after shutDown the workers finish what is queued', async () => {
    const calls: string[] = [];
    const { queue, ended } = started(async (key) => {
      await settle();
      calls.push(key);
      return { kind: 'done' };
    });
    for (const key of ['a', 'b', 'c', 'd', 'e']) queue.add(key);
    queue.shutDown();
    await ended;
    assert.deepEqual(calls.toSorted(), ['a', 'b', 'c', 'd', 'e']);
  });

  test('when the signal aborts, the current key is finished, no other is taken, and nothing counts as failed', async () => {
    const { queue, stop, log, ended } = started(async (_key, signal) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      throw signal.reason;
    }, 1);
    queue.add('a');
    queue.add('b');
    await settle();
    stop.abort();
    await ended;
    assert.equal(queue.length, 1);
    assert.equal(queue.failures('a'), 0);
    assert.deepEqual(log.lines, []);
  });

  test('when the server is back, retries at once what it did not answer or failed to serve, and nothing else', async () => {
    const error = (status: number, retryAfterSeconds?: number) =>
      new ApiError('no', { status, reason: 'InternalError', retryAfterSeconds });
    const errors: Readonly<Record<string, Error>> = {
      silent: error(0),
      proxy: new Error('not issued', { cause: error(502) }),
      starting: error(503),
      asked: error(503, 30),
      etcd: error(500),
      forbidden: error(403),
    };
    const calls: string[] = [];
    const { queue, ended, stop } = started(async (key) => {
      calls.push(key);
      return { kind: 'retry', error: errors[key] };
    });
    for (const key of Object.keys(errors)) queue.add(key);
    await settle();
    calls.length = 0;
    queue.retryUnavailable();
    await settle();
    assert.deepEqual(calls.toSorted(), ['etcd', 'proxy', 'silent', 'starting']);
    stop.abort();
    queue.shutDown();
    await ended;
  });
});
