/** Token bucket: bursts of `burst`, refilled at `perSecond`. */

import type { Clock } from '../clock.ts';

export interface TokenBucketOptions {
  readonly clock: Clock;
  readonly burst: number;
  readonly perSecond: number;
}

export class TokenBucket {
  readonly #options: TokenBucketOptions;
  #tokens: number;
  #filledAt: number;

  constructor(options: TokenBucketOptions) {
    this.#options = options;
    this.#tokens = options.burst;
    this.#filledAt = options.clock.monotonic();
  }

  /** Takes `count` tokens: 0 when there are so many, else the milliseconds until there will be, and none is taken. */
  take(count = 1): number {
    const { clock, burst, perSecond } = this.#options;
    const now = clock.monotonic();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#filledAt) * perSecond) / 1000);
    this.#filledAt = now;
    if (this.#tokens < count) return ((count - this.#tokens) * 1000) / perSecond;
    this.#tokens -= count;
    return 0;
  }
}
