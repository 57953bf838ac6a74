/**
 * Asks the API server whose a token is, for servers that strangers can call too. What it costs is bounded, and a stranger keeps no
 * client out: answers are remembered, the same token is reviewed once at a time, few are reviewed at once, and those who wait take
 * turns by the address that they call from. Tokens that were good before have a turn of their own and are always reviewed; each address has few
 * other reviews a second.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../kubernetes/clock.ts';
import { untilAborted } from '../kubernetes/deadline.ts';
import { TokenBucket } from '../kubernetes/events/token-bucket.ts';

export interface TokenReviewsOptions<T> {
  /** Bounded in time. */
  readonly review: (token: string) => Promise<T>;
  readonly isAccepted: (answer: T) => boolean;
  /** How long an accepted token is believed. */
  readonly acceptedMs: number;
  readonly clock: Pick<Clock, 'monotonic' | 'now' | 'setTimeout'>;
}

/** Answered with 429. */
export class TooManyReviewsError extends Error {
  override readonly name = 'TooManyReviewsError';
  readonly code = 'TooManyReviews';

  constructor() {
    super('too many unknown tokens are waiting for review: try again');
  }
}

/** Of a token that may be accepted in a moment: its account was made a moment ago. */
const REFUSED_MS = 5_000;
const MAX_REMEMBERED = 256;
/** Those that were accepted once have their own turns for so long. */
const KNOWN_MS = 24 * 3_600_000;
const MAX_AT_ONCE = 4;
const MAX_WAITING = 256;
const MAX_WAITING_OF_ONE = 16;
/** Of one address. A client has a new token once in an hour. */
const UNKNOWN_TOKENS = { burst: 20, perSecond: 1 } as const;
const KNOWN = 'known';

interface Remembered<T> {
  readonly answer: T;
  readonly atMs: number;
}

export class TokenReviews<T> {
  readonly #options: TokenReviewsOptions<T>;
  /** Apart, so that strangers cannot push a client out; the oldest goes first. */
  readonly #accepted = new Map<string, Remembered<T>>();
  readonly #refused = new Map<string, Remembered<T>>();
  readonly #running = new Map<string, Promise<T>>();
  /** By address, in the order of their turns. */
  readonly #lines = new Map<string, (() => void)[]>();
  readonly #buckets = new Map<string, TokenBucket>();
  #reviews = 0;
  #waiting = 0;

  constructor(options: TokenReviewsOptions<T>) {
    this.#options = options;
  }

  /** Throws TooManyReviewsError, what `review` throws, or the signal's reason. */
  async ask(token: string, address: string, signal: AbortSignal): Promise<T> {
    const key = createHash('sha256').update(token).digest('base64');
    const { acceptedMs } = this.#options;
    const known = this.#recall(this.#accepted, key, acceptedMs) ?? this.#recall(this.#refused, key, REFUSED_MS);
    if (known !== undefined) return known.answer;
    let running = this.#running.get(key);
    if (running === undefined) {
      running = this.#start(key, token, address);
      this.#running.set(key, running);
      const ended = (): void => void this.#running.delete(key);
      running.then(ended, ended);
    }
    // For no caller's signal: others may wait for the same.
    return await untilAborted(running, signal);
  }

  #recall(remembered: ReadonlyMap<string, Remembered<T>>, key: string, forMs: number): Remembered<T> | undefined {
    const found = remembered.get(key);
    return found !== undefined && this.#options.clock.monotonic() - found.atMs < forMs ? found : undefined;
  }

  async #start(key: string, token: string, address: string): Promise<T> {
    const { clock, isAccepted, review } = this.#options;
    const wasAccepted = this.#recall(this.#accepted, key, KNOWN_MS) !== undefined;
    if (!wasAccepted && this.#bucketOf(address).take() > 0) throw new TooManyReviewsError();
    await this.#turn(wasAccepted ? KNOWN : address);
    try {
      const answer = await review(token);
      const [to, from] = isAccepted(answer) ? [this.#accepted, this.#refused] : [this.#refused, this.#accepted];
      from.delete(key);
      remember(to, key, { answer, atMs: clock.monotonic() });
      return answer;
    } finally {
      this.#reviews -= 1;
      this.#startNext();
    }
  }

  #bucketOf(address: string): TokenBucket {
    const bucket = this.#buckets.get(address) ?? new TokenBucket({ clock: this.#options.clock, ...UNKNOWN_TOKENS });
    remember(this.#buckets, address, bucket);
    return bucket;
  }

  #turn(address: string): Promise<void> {
    if (this.#reviews < MAX_AT_ONCE) {
      this.#reviews += 1;
      return Promise.resolve();
    }
    const line = this.#lines.get(address) ?? [];
    const isFull = this.#waiting >= MAX_WAITING || line.length >= MAX_WAITING_OF_ONE;
    // Those that are known are no more than are remembered.
    if (isFull && address !== KNOWN) return Promise.reject(new TooManyReviewsError());
    this.#lines.set(address, line);
    this.#waiting += 1;
    return new Promise((resolve) => line.push(resolve));
  }

  /** The address whose turn is next; it then goes to the end. */
  #startNext(): void {
    const [next] = this.#lines;
    if (next === undefined) return;
    const [address, line] = next;
    this.#lines.delete(address);
    const start = line.shift();
    if (line.length > 0) this.#lines.set(address, line);
    this.#waiting -= 1;
    this.#reviews += 1;
    start?.();
  }
}

/** As the newest of so many. */
function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  const [oldest] = map.keys();
  if (map.size >= MAX_REMEMBERED && oldest !== undefined) map.delete(oldest);
  map.set(key, value);
}
