import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { AdaptiveLimit } from '../../../src/kubernetes/queue/adaptive-limit.ts';

/** A model of an API server: serves `parallel` requests at a time, each in `serviceMs`, behind other clients'; refuses those beyond `seats`. */
interface Server {
  readonly parallel: number;
  readonly serviceMs: number;
  readonly seats: number;
  /** Other clients' requests that are in flight at any time. */
  readonly others: number;
}

interface Outcome {
  readonly limit: number;
  /** Requests served a second, over the last part of the time. */
  readonly perSecond: number;
  readonly refusedShare: number;
}

/** As many requests as the limit allows are in flight all the time; each round takes as long as the server needs for one of them. */
function run(limiter: AdaptiveLimit, server: Server, forMs: number, from = 0): Outcome & { readonly atMs: number } {
  let atMs = from;
  const counted = { served: 0, refused: 0, ms: 0 };
  while (atMs < from + forMs) {
    const inFlight = limiter.limit;
    const admitted = Math.min(inFlight, server.seats);
    const tookMs = server.serviceMs * Math.max(1, (admitted + server.others) / server.parallel);
    atMs += tookMs;
    for (let one = 0; one < inFlight; one += 1) {
      limiter.answered({ atMs, tookMs: one < admitted ? tookMs : 1, refused: one >= admitted, inFlight });
    }
    if (atMs < from + forMs / 2) continue;
    counted.served += admitted;
    counted.refused += inFlight - admitted;
    counted.ms += tookMs;
  }
  return {
    atMs,
    limit: limiter.limit,
    perSecond: (1000 * counted.served) / counted.ms,
    refusedShare: counted.refused / (counted.served + counted.refused),
  };
}

const serviceMs = fc.double({ min: 5, max: 50, noNaN: true });
const parallel = fc.integer({ min: 1, max: 40 });
const NO_SEATS = Number.POSITIVE_INFINITY;

describe('the number of requests in flight', () => {
  test('is enough for most of what an idle server can do, and few of them wait', () => {
    fc.assert(
      fc.property(parallel, serviceMs, fc.integer({ min: 8, max: 256 }), (width, ms, max) => {
        const server = { parallel: width, serviceMs: ms, seats: NO_SEATS, others: 0 };
        const { limit, perSecond } = run(new AdaptiveLimit({ max }), server, 50_000);
        const capacity = (1000 * Math.min(width, max)) / ms;
        assert.ok(perSecond >= 0.85 * capacity, `${perSecond} of ${capacity} a second at ${limit}`);
        // Twice as many as are served at a time, and those that the tolerance allows.
        assert.ok(limit <= 2.2 * Math.max(2, width) + (width * 5) / ms + 2, `${limit} for ${width} places`);
      }),
      { numRuns: 50 },
    );
  });

  test('gives way to other clients, and comes back when they are gone', () => {
    fc.assert(
      fc.property(parallel, serviceMs, (width, ms) => {
        const limiter = new AdaptiveLimit({ max: 64 });
        const idle = { parallel: width, serviceMs: ms, seats: NO_SEATS, others: 0 };
        const alone = run(limiter, idle, 12_000);
        // Within seconds, before the slowness counts as normal.
        const crowded = run(limiter, { ...idle, others: 8 * width + 2 * alone.limit }, 15_000, alone.atMs);
        assert.ok(crowded.limit <= Math.max(2, alone.limit * 0.5), `${crowded.limit} after ${alone.limit}`);
        const again = run(limiter, idle, 30_000, crowded.atMs);
        assert.ok(again.perSecond >= 0.85 * alone.perSecond, `${again.perSecond} after ${alone.perSecond}`);
      }),
      { numRuns: 50 },
    );
  });

  test('stays near what Priority and Fairness admits', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 30 }), serviceMs, (seats, ms) => {
        const limiter = new AdaptiveLimit({ max: 256 });
        const { limit, refusedShare } = run(limiter, { parallel: 1000, serviceMs: ms, seats, others: 0 }, 20_000);
        assert.ok(limit <= seats + 1, `${limit} at ${seats} seats`);
        assert.ok(refusedShare <= 0.25, `${refusedShare} refused`);
      }),
      { numRuns: 50 },
    );
  });

  test('is never zero, and never more than allowed, whatever is answered', () => {
    const answer = fc.record({
      tookMs: fc.double({ min: 0, max: 60_000, noNaN: true }),
      refused: fc.boolean(),
      inFlight: fc.nat(300),
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 256 }), fc.array(answer), (max, answers) => {
        const limiter = new AdaptiveLimit({ max });
        let atMs = 0;
        for (const one of answers) {
          atMs += one.tookMs;
          limiter.answered({ ...one, atMs });
          assert.ok(limiter.limit >= 1 && limiter.limit <= max, String(limiter.limit));
        }
      }),
    );
  });
});
