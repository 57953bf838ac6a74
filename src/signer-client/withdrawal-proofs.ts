/**
 * Has the signer confirm withdrawals. Those who ask while a call is under way share the next one, so that each answer is from after
 * its question, and the thousand pods of a namespace cost a few calls.
 */
import { type GrantedUse, MAX_USES } from '../signer/protocol.ts';
import { SignerUnavailableError } from './errors.ts';
import type { SignerClient } from './signer-client.ts';

interface Question {
  readonly use: GrantedUse;
  readonly answer: PromiseWithResolvers<boolean>;
}

export interface WithdrawalProofsOptions {
  readonly client: Pick<SignerClient, 'server' | 'withdrawn'>;
  /** Ends everything. */
  readonly signal: AbortSignal;
}

export class WithdrawalProofs {
  readonly #options: WithdrawalProofsOptions;
  readonly #waiting = new Map<string, Question>();
  #isRunning = false;

  constructor(options: WithdrawalProofsOptions) {
    this.#options = options;
  }

  /** Rejects with SignerUnavailableError, or with the reason why everything ends. */
  ask(use: GrantedUse): Promise<boolean> {
    const key = JSON.stringify([use.certificate, use.usage, use.namespace, use.leafSha256]);
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) return waiting.answer.promise;
    const answer = Promise.withResolvers<boolean>();
    this.#waiting.set(key, { use, answer });
    if (!this.#isRunning) void this.#run();
    return answer.promise;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#waiting.size > 0) {
      const batch = [...this.#waiting].slice(0, MAX_USES);
      for (const [key] of batch) this.#waiting.delete(key);
      await this.#call(batch.map(([, question]) => question));
    }
    this.#isRunning = false;
  }

  async #call(batch: readonly Question[]): Promise<void> {
    const { client, signal } = this.#options;
    try {
      const uses = batch.map(({ use }) => use);
      const withdrawn = await client.withdrawn(uses, signal);
      for (const [position, { answer }] of batch.entries()) answer.resolve(withdrawn[position] === true);
    } catch (error) {
      const failure = signal.aborted ? signal.reason : new SignerUnavailableError(client.server, error);
      for (const { answer } of batch) answer.reject(failure);
    }
  }
}
