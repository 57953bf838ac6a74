/**
 * Many credentials in one call: what comes while calls are under way goes together into the next one, soonest expiry first. A single
 * request on an idle connection goes at once, so that nothing waits to be gathered.
 */
import type { Clock } from '../kubernetes/clock.ts';
import { MAX_REQUESTS, type SignRequest, type SignResult } from '../signer/protocol.ts';
import { SignerUnavailableError } from './errors.ts';
import { Gate } from './gate.ts';
import type { SignerClient } from './signer-client.ts';

export interface SigningBatcherOptions {
  readonly client: Pick<SignerClient, 'server' | 'sign'>;
  readonly clock: Clock;
  readonly random: () => number;
  /** Ends the calls that are under way. */
  readonly signal: AbortSignal;
  /** After every call: undefined where it was answered. */
  readonly onAnswer?: (failure: SignerUnavailableError | undefined) => void;
}

interface Waiting {
  readonly request: SignRequest;
  readonly settle: (outcome: SignResult | Error) => void;
}

/** One is signed while the next is on its way and the last is being written down; more would only make smaller batches. */
const MAX_CALLS = 4;

export class SigningBatcher {
  readonly #options: SigningBatcherOptions;
  readonly #gate: Gate;
  #waiting: Waiting[] = [];
  #calls = 0;
  #scheduled = false;

  constructor(options: SigningBatcherOptions) {
    this.#options = options;
    this.#gate = new Gate(options);
  }

  /** Rejects with SignerUnavailableError, or with the signal's reason. */
  sign(request: SignRequest, signal: AbortSignal): Promise<SignResult> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      if (this.#gate.shut !== undefined) throw this.#gate.shut;
      const leave = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== entry);
        reject(signal.reason);
      };
      const entry: Waiting = {
        request,
        settle: (outcome) => {
          signal.removeEventListener('abort', leave);
          if (outcome instanceof Error) reject(outcome);
          else resolve(outcome);
        },
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(entry);
      this.#schedule();
    });
  }

  /** After what is ready to run has run: requests that are made together go together. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#send();
    });
  }

  #send(): void {
    const { shut } = this.#gate;
    if (shut !== undefined) {
      for (const { settle } of this.#waiting.splice(0)) settle(shut);
      return;
    }
    if (this.#waiting.length === 0 || this.#calls >= (this.#gate.probing ? 1 : MAX_CALLS)) return;
    this.#waiting.sort((a, b) => a.request.expiresAt - b.request.expiresAt);
    const batch = this.#waiting.splice(0, MAX_REQUESTS);
    this.#calls += 1;
    void this.#call(batch).finally(() => {
      this.#calls -= 1;
      this.#send();
    });
    this.#send();
  }

  /** Never rejects. */
  async #call(batch: readonly Waiting[]): Promise<void> {
    const { client, onAnswer, signal } = this.#options;
    try {
      const results = await client.sign(
        batch.map(({ request }) => request),
        signal,
      );
      this.#gate.succeeded();
      onAnswer?.(undefined);
      for (const [position, { settle }] of batch.entries()) settle(results[position] ?? new TypeError('no result'));
    } catch (error) {
      const failure = signal.aborted ? (signal.reason as Error) : new SignerUnavailableError(client.server, error);
      if (failure instanceof SignerUnavailableError) {
        this.#gate.failed(failure);
        onAnswer?.(failure);
      }
      for (const { settle } of batch) settle(failure);
    }
  }
}
