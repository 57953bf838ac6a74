/** Answers the server's reviews by injection, with the errors of its input as values. */
import type { InjectionOptions } from './injection/inject.ts';
import type { LimitRangeItem } from './injection/limit-range.ts';
import { answerReview, answerUnread, type Review, readReview } from './injection/review.ts';
import { ReviewError } from './injection/review-error.ts';
import type { RandomBytes } from './injection/secret-name.ts';
import type { LimitRanges } from './serving/limit-ranges.ts';
import type { ReviewCall, Reviewer, ReviewResult } from './serving/server.ts';

/**
 * Bodies of reviews that wait for LimitRanges, together. As objects they take some twenty times as much, and a stranger can send as
 * many as connections are open; pods as people write them are a hundred times smaller.
 */
const MAX_WAITING_BYTES = 2 * 1024 * 1024;

export class PodReviewer implements Reviewer {
  readonly #random: RandomBytes;
  readonly #injection: InjectionOptions;
  readonly #limitRanges: Pick<LimitRanges<LimitRangeItem>, 'get'>;
  #waitingBytes = 0;

  constructor(random: RandomBytes, injection: InjectionOptions, limitRanges: Pick<LimitRanges<LimitRangeItem>, 'get'>) {
    this.#random = random;
    this.#injection = injection;
    this.#limitRanges = limitRanges;
  }

  async review(body: string, { signal, timeoutMs }: ReviewCall): Promise<ReviewResult> {
    try {
      const review = readReview(body);
      const items = await this.#limits(review, timeoutMs);
      // Nobody waits for the answer any more.
      if (signal.aborted) return { outcome: 'malformed', message: 'the client closed the connection' };
      return answerReview(review, this.#random, this.#injection, items);
    } catch (error) {
      return malformed(error);
    }
  }

  reviewUnread(beginning: string): ReviewResult {
    try {
      return answerUnread(beginning);
    } catch (error) {
      return malformed(error);
    }
  }

  async #limits(
    { bytes, namespace, needsLimitRanges }: Review,
    timeoutMs: number | undefined,
  ): Promise<readonly LimitRangeItem[]> {
    if (!needsLimitRanges || namespace === undefined) return [];
    if (this.#waitingBytes + bytes > MAX_WAITING_BYTES) return [];
    this.#waitingBytes += bytes;
    try {
      return await this.#limitRanges.get(namespace, timeoutMs);
    } finally {
      this.#waitingBytes -= bytes;
    }
  }
}

function malformed(error: unknown): ReviewResult {
  if (error instanceof ReviewError) return { outcome: 'malformed', message: error.message };
  throw error;
}
