/**
 * Reads the bodies of requests, within limits. Every chunk is copied: kept as they come, a body sent byte by byte would cost hundreds
 * of times its size. Large bodies share a few buffers that are never given back, because Node frees buffers late: a wave of bodies
 * would cost its sum. A body waits for a buffer, in turn, and one that comes too slowly while others wait is given up: many that
 * come at once are all read, and those that never end keep nobody out for long.
 */
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../kubernetes/clock.ts';
import type { Share } from './byte-budget.ts';

/** `unread`: too large; the rest was received and dropped, and only the beginning is known. */
export type Body =
  | { readonly kind: 'whole'; readonly bytes: Buffer }
  | { readonly kind: 'unread'; readonly beginning: string };

export interface BodyLimits {
  /** Larger bodies take one of the shared buffers. */
  readonly maxSmallBytes: number;
  /** Larger bodies are not kept. */
  readonly maxBytes: number;
  /** Larger bodies are not even received. */
  readonly maxReceivedBytes: number;
  /** How many large bodies are read at a time. */
  readonly maxLargeBodies: number;
}

export class BodyTooLargeError extends Error {
  readonly code = 'BodyTooLarge';
  override readonly name = 'BodyTooLargeError';
}

/** The rest of the body did not come before others needed its buffer. */
export class BodyTooSlowError extends Error {
  readonly code = 'BodyTooSlow';
  override readonly name = 'BodyTooSlowError';
}

/**
 * How often the ticks left to those that hold a buffer are counted down while others wait. Counted and not timed: a process that gets
 * no CPU for a second has not given its clients a second.
 */
const TICK_MS = 10;
/** For a body of which nothing arrives; every piece earns it more. A body that arrives at 6 MB/s or faster is never given up. */
const INITIAL_TICKS = 10;
const BYTES_PER_TICK = 64 * 1024;
const FIRST_BYTES = 4 * 1024;
const BEGINNING_BYTES = 1024;

interface Lease {
  readonly buffer: Buffer;
  ticksLeft: number;
  lost: boolean;
}

export class BodyReader {
  readonly #limits: BodyLimits;
  readonly #clock: Clock;
  readonly #free: Buffer[] = [];
  /** In the order in which they were taken. */
  readonly #leases = new Set<Lease>();
  readonly #waiting: ((lease: Lease) => void)[] = [];
  #counting = false;

  constructor(limits: BodyLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /**
   * @param use is called with the body, whose bytes are valid until it returns
   * @throws {BodyTooLargeError}
   * @throws {BodyTooSlowError}
   */
  async read<T>(chunks: AsyncIterable<Buffer>, share: Share, use: (body: Body) => T): Promise<T> {
    const { maxBytes, maxReceivedBytes, maxSmallBytes } = this.#limits;
    let small: Buffer = Buffer.alloc(0);
    let lease: Lease | undefined;
    let [size, beginning] = [0, undefined as string | undefined];
    try {
      for await (const chunk of chunks) {
        const needed = size + chunk.length;
        if (needed > maxReceivedBytes) throw new BodyTooLargeError(`expected at most ${maxReceivedBytes} bytes`);
        if (lease?.lost) throw new BodyTooSlowError('the request body did not arrive in time');
        if (beginning === undefined && needed > maxBytes) {
          const held = (lease?.buffer ?? small).subarray(0, Math.min(size, BEGINNING_BYTES));
          beginning = Buffer.concat([held, chunk]).toString('latin1', 0, BEGINNING_BYTES);
          this.#release(lease);
          lease = undefined;
          small = Buffer.alloc(0);
          share.hold(0);
        } else if (beginning === undefined && needed > maxSmallBytes) {
          if (lease === undefined) {
            lease = await this.#take();
            small.copy(lease.buffer, 0, 0, size);
            small = Buffer.alloc(0);
            share.hold(0);
          }
          lease.ticksLeft += chunk.length / BYTES_PER_TICK;
          chunk.copy(lease.buffer, size);
        } else if (beginning === undefined) {
          small = grown(small, size, Math.min(maxSmallBytes, Math.max(needed, small.length * 2, FIRST_BYTES)), needed);
          share.hold(small.length);
          chunk.copy(small, size);
        }
        size = needed;
        // One piece of each large body a turn of the event loop: otherwise those on all connections are read before anybody else's.
        if (size > maxSmallBytes) await setImmediate();
      }
      if (lease?.lost) throw new BodyTooSlowError('the request body did not arrive in time');
      if (beginning !== undefined) return use({ kind: 'unread', beginning });
      return use({ kind: 'whole', bytes: (lease?.buffer ?? small).subarray(0, size) });
    } finally {
      this.#release(lease);
    }
  }

  #take(): Promise<Lease> {
    if (this.#leases.size < this.#limits.maxLargeBodies) return Promise.resolve(this.#lease());
    const { promise, resolve } = Promise.withResolvers<Lease>();
    this.#waiting.push(resolve);
    if (!this.#counting) this.#nextTick();
    return promise;
  }

  #lease(): Lease {
    const buffer = this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#limits.maxBytes);
    const lease = { buffer, ticksLeft: INITIAL_TICKS, lost: false };
    this.#leases.add(lease);
    return lease;
  }

  #release(lease: Lease | undefined): void {
    if (lease === undefined || !this.#leases.delete(lease)) return;
    lease.lost = true;
    this.#free.push(lease.buffer);
    const next = this.#waiting.shift();
    if (next !== undefined) next(this.#lease());
  }

  #tick(): void {
    for (const lease of [...this.#leases]) {
      lease.ticksLeft -= 1;
      if (lease.ticksLeft < 0 && this.#waiting.length > 0) this.#release(lease);
    }
    this.#nextTick();
  }

  #nextTick(): void {
    this.#counting = this.#waiting.length > 0;
    if (this.#counting) this.#clock.setTimeout(() => this.#tick(), TICK_MS);
  }
}

function grown(buffer: Buffer, size: number, capacity: number, needed: number): Buffer {
  if (needed <= buffer.length) return buffer;
  const larger = Buffer.allocUnsafeSlow(capacity);
  buffer.copy(larger, 0, 0, size);
  return larger;
}
