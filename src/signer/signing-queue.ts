/**
 * Turns at a key that may be slow (an HSM, a KMS): a bounded number at a time, each client in its turn, of each the soonest expiry first, each with a
 * deadline. What has waited past it is not started: its caller has given up.
 *
 * Clients take turns because a stolen one would else come first always: it chooses the expiries that it asks for.
 */

export interface SigningQueueOptions {
  readonly concurrency: number;
  /** More than so many waiting are refused. */
  readonly maxWaiting: number;
  /** Of one client. Default: all of them. */
  readonly maxWaitingOfOne?: number;
}

/** Too many wait already: answered with 429. */
export class OverloadedError extends Error {
  override readonly name = 'OverloadedError';
  readonly code = 'SignerOverloaded';
}

interface Waiting {
  readonly expiresAt: number;
  readonly start: () => void;
}

/** Of a client with requests that wait. */
interface Line {
  /** Latest expiry first, so that the next one is taken from the end. */
  readonly waiting: Waiting[];
  /** Turns so far, counted from those of whoever had the fewest when this one came: nobody saves any up. */
  turns: number;
}

export class SigningQueue {
  readonly #options: SigningQueueOptions;
  readonly #lines = new Map<string, Line>();
  /** Turns of clients that nothing waits of, while others wait: who leaves after each turn would come first each time. */
  readonly #past = new Map<string, number>();
  #waiting = 0;
  #running = 0;

  constructor(options: SigningQueueOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Whether so many more of the client would still be taken. */
  hasRoomFor(count: number, client = ''): boolean {
    const { maxWaiting, maxWaitingOfOne = maxWaiting } = this.#options;
    const own = this.#lines.get(client)?.waiting.length ?? 0;
    return this.#waiting + count <= maxWaiting && own + count <= maxWaitingOfOne;
  }

  /** Runs `work` in its turn. Rejects with OverloadedError, the signal's reason, or what `work` rejects with. */
  async run<T>(expiresAt: number, signal: AbortSignal, work: () => Promise<T>, client = ''): Promise<T> {
    if (!this.hasRoomFor(1, client)) throw new OverloadedError(`${this.#waiting} signatures are waiting already`);
    await this.#turn(expiresAt, signal, client);
    try {
      signal.throwIfAborted();
      return await work();
    } finally {
      this.#running -= 1;
      this.#startNext();
    }
  }

  #turn(expiresAt: number, signal: AbortSignal, client: string): Promise<void> {
    signal.throwIfAborted();
    if (this.#running < this.#options.concurrency) {
      this.#running += 1;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const line = this.#lineOf(client);
      const leave = () => {
        line.waiting.splice(line.waiting.indexOf(entry), 1);
        this.#left(client, line);
        reject(signal.reason as Error);
      };
      const entry: Waiting = {
        expiresAt,
        start: () => {
          signal.removeEventListener('abort', leave);
          this.#running += 1;
          resolve();
        },
      };
      signal.addEventListener('abort', leave, { once: true });
      line.waiting.splice(positionOf(expiresAt, line.waiting), 0, entry);
      this.#waiting += 1;
    });
  }

  #lineOf(client: string): Line {
    const known = this.#lines.get(client);
    if (known !== undefined) return known;
    const fewest = [...this.#lines.values()].reduce(
      (least, { turns }) => Math.min(least, turns),
      Number.MAX_SAFE_INTEGER,
    );
    const line: Line = {
      waiting: [],
      turns: this.#lines.size === 0 ? 0 : Math.max(fewest, this.#past.get(client) ?? 0),
    };
    this.#lines.set(client, line);
    return line;
  }

  #left(client: string, { turns, waiting }: Line): void {
    this.#waiting -= 1;
    if (waiting.length > 0) return;
    this.#lines.delete(client);
    if (this.#lines.size > 0) this.#past.set(client, turns);
    else this.#past.clear();
  }

  #startNext(): void {
    if (this.#running >= this.#options.concurrency) return;
    let next: readonly [string, Line] | undefined;
    for (const one of this.#lines) if (next === undefined || isBefore(one[1], next[1])) next = one;
    if (next === undefined) return;
    const [client, line] = next;
    const entry = line.waiting.pop();
    line.turns += 1;
    this.#left(client, line);
    entry?.start();
  }
}

/** Who had fewer turns, and of those with as many whose next one expires sooner. */
function isBefore(a: Line, b: Line): boolean {
  if (a.turns !== b.turns) return a.turns < b.turns;
  return (a.waiting.at(-1)?.expiresAt ?? 0) < (b.waiting.at(-1)?.expiresAt ?? 0);
}

/** In front of all that expire no later, so that equals are taken in the order in which they came. */
function positionOf(expiresAt: number, waiting: readonly Waiting[]): number {
  let [low, high] = [0, waiting.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((waiting[middle]?.expiresAt ?? 0) > expiresAt) low = middle + 1;
    else high = middle;
  }
  return low;
}
