/**
 * Many credentials in one call, soonest expiry first. A call costs both sides together as much as a dozen signatures, so they are kept
 * apart, in a wave further than between single pods: a request that comes when none has begun for a moment goes at once, and those that
 * come within that moment go together at its end, or as soon as they are many. Whether the last call is answered by then does not matter:
 * a signer may be far away, or its key slow.
 */
import type { Clock, TimerHandle } from '../kubernetes/clock.ts';
import { MAX_REQUESTS, type SignRequest, type SignResult } from '../signer/protocol.ts';
import type { Caller, Tracing } from '../tracing/tracing.ts';
import { SignerUnavailableError } from './errors.ts';
import { CallGate } from './gate.ts';
import type { SignerClient } from './signer-client.ts';

export interface SigningBatcherOptions {
  readonly client: Pick<SignerClient, 'server' | 'sign'>;
  readonly clock: Clock;
  readonly random: () => number;
  /** Ends the calls that are under way. */
  readonly signal: AbortSignal;
  readonly tracing?: Pick<Tracing, 'caller' | 'forAll'> | undefined;
  /** After every call: undefined where it was answered. */
  readonly onAnswer?: (failure: SignerUnavailableError | undefined) => void;
}

interface Waiting {
  readonly request: SignRequest;
  readonly caller: Caller | undefined;
  readonly settle: (outcome: SignResult | Error) => void;
}

/** At a signer that is far away, or whose key is slow. */
const MAX_CALLS = 4;
/** So many make a call of their own. */
const FULL = 32;
/** From the beginning of a call to the next one, for each credential in it, and at most. */
const GATHER_MS = 25;
const MAX_GATHER_MS = 100;

export class SigningBatcher {
  readonly #options: SigningBatcherOptions;
  readonly #gate: CallGate;
  #waiting: Waiting[] = [];
  #calls = 0;
  #scheduled = false;
  /** A call began a moment ago: what comes waits for the next one. */
  #gathering: TimerHandle | undefined;

  constructor(options: SigningBatcherOptions) {
    this.#options = options;
    this.#gate = new CallGate(options);
    const { signal } = options;
    const end = (): void => {
      this.#gathering?.cancel();
      for (const { settle } of this.#waiting.splice(0)) settle(signal.reason as Error);
    };
    signal.addEventListener('abort', end, { once: true });
  }

  /** Rejects with SignerUnavailableError, or with the signal's reason. */
  sign(request: SignRequest, signal: AbortSignal): Promise<SignResult> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      if (this.#gate.shut !== undefined) throw this.#gate.shut;
      // Most come with the signal that ends everything, which has one listener already.
      const isOwn = signal !== this.#options.signal;
      const leave = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== entry);
        reject(signal.reason);
      };
      const entry: Waiting = {
        request,
        caller: this.#options.tracing?.caller(),
        settle: (outcome) => {
          if (isOwn) signal.removeEventListener('abort', leave);
          if (outcome instanceof Error) reject(outcome);
          else resolve(outcome);
        },
      };
      if (isOwn) signal.addEventListener('abort', leave, { once: true });
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
    if (this.#gathering !== undefined && this.#waiting.length < FULL) return;
    this.#waiting.sort((a, b) => a.request.expiresAt - b.request.expiresAt);
    const batch = this.#waiting.splice(0, MAX_REQUESTS);
    this.#calls += 1;
    this.#gather(Math.min(GATHER_MS * batch.length, MAX_GATHER_MS));
    void this.#call(batch).finally(() => {
      this.#calls -= 1;
      this.#send();
    });
    this.#send();
  }

  #gather(ms: number): void {
    this.#gathering?.cancel();
    this.#gathering = this.#options.clock.setTimeout(() => {
      this.#gathering = undefined;
      this.#send();
    }, ms);
  }

  /** Never rejects. */
  async #call(batch: readonly Waiting[]): Promise<void> {
    const { client, onAnswer, signal, tracing } = this.#options;
    try {
      const requests = batch.map(({ request }) => request);
      const sign = () => client.sign(requests, signal);
      const callers = batch.flatMap(({ caller }) => (caller === undefined ? [] : [caller]));
      const attributes = { 'dcred.credentials': requests.length, 'server.address': client.server };
      const results = await (tracing === undefined ? sign() : tracing.forAll(callers, 'call signer', attributes, sign));
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
