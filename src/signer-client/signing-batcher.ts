/**
 * Many credentials in one call: what comes while one is under way goes together into the next one, soonest expiry first. A request
 * that finds none under way goes at once. A call costs each side as much as a dozen signatures, so the next one begins before the last is
 * answered only where that is worth it: many wait, or the answer takes long.
 */
import type { Clock, TimerHandle } from '../kubernetes/clock.ts';
import { MAX_REQUESTS, type SignRequest, type SignResult } from '../signer/protocol.ts';
import type { Caller, Tracing } from '../tracing/tracing.ts';
import { SignerUnavailableError } from './errors.ts';
import { Gate } from './gate.ts';
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
const FULL = 16;
/** A signer in the same cluster answers sooner, unless it is busy. */
const GATHER_MS = 50;

export class SigningBatcher {
  readonly #options: SigningBatcherOptions;
  readonly #gate: Gate;
  #waiting: Waiting[] = [];
  #calls = 0;
  #scheduled = false;
  /** A call began a moment ago: what comes waits for its answer. */
  #gathering: TimerHandle | undefined;

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
        caller: this.#options.tracing?.caller(),
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
    if (this.#gathering !== undefined && this.#waiting.length < FULL) return;
    this.#waiting.sort((a, b) => a.request.expiresAt - b.request.expiresAt);
    const batch = this.#waiting.splice(0, MAX_REQUESTS);
    this.#calls += 1;
    this.#gather();
    void this.#call(batch).finally(() => {
      this.#calls -= 1;
      this.#gathered();
      this.#send();
    });
    this.#send();
  }

  #gather(): void {
    this.#gathered();
    this.#gathering = this.#options.clock.setTimeout(() => {
      this.#gathering = undefined;
      this.#send();
    }, GATHER_MS);
  }

  #gathered(): void {
    this.#gathering?.cancel();
    this.#gathering = undefined;
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
