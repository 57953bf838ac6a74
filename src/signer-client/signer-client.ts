/** The signer's calls over a pool of connections. Nothing is retried here: whoever waits in a queue decides when to try again. */
import { ApiError } from '../kubernetes/api-error.ts';
import { whole } from '../kubernetes/client/answers.ts';
import { type ApiRequest, exchange } from '../kubernetes/client/exchange.ts';
import { invalidResponseError } from '../kubernetes/client/status-error.ts';
import { Transport } from '../kubernetes/client/transport.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { Connection } from '../kubernetes/connection/connection.ts';
import { Deadline } from '../kubernetes/deadline.ts';
import {
  type CertificateNews,
  FOLLOW_PATH,
  type FollowCall,
  formatSignCall,
  type GrantedUse,
  readFollowAnswer,
  readSignAnswer,
  readWithdrawalsAnswer,
  SIGN_PATH,
  type SignRequest,
  type SignResult,
  WITHDRAWALS_PATH,
} from '../signer/protocol.ts';

export interface SignerClientOptions {
  readonly connection: Connection;
  readonly userAgent: string;
  readonly clock: Clock;
  /** Further ones of each call that signs. */
  readonly headers?: (() => Readonly<Record<string, string>>) | undefined;
  /** Called with every answer: its HTTP status, 0 for none. Waiting for news is not timed. */
  readonly observe?: (call: { readonly status: number; readonly seconds: number | undefined }) => void;
}

/** Calls that sign, and one that waits for news. */
const CONNECTIONS = 8;
/** The signer gives up after 30 s itself. */
const SIGN_TIMEOUT_MS = 35_000;
/** A slow key's, and not so long that a credential of the shortest life expires while its renewal waits. */
const LEAST_SIGN_TIMEOUT_MS = 5_000;
/** Of the shortest life in a call. */
const SIGN_TIMEOUT_SHARE = 0.1;
const ANSWER_MS = 10_000;

export class SignerClient {
  readonly server: string;
  readonly #options: SignerClientOptions;
  readonly #transport: Transport;
  #clockSkewMs = 0;

  constructor(options: SignerClientOptions) {
    this.#options = options;
    this.server = options.connection.server;
    this.#transport = new Transport(options.connection, CONNECTIONS);
  }

  /** The signer's wall clock, in milliseconds, as far as its last answer tells: never ahead of it, and behind by a second or two. */
  now(): number {
    return this.#options.clock.now() - this.#clockSkewMs;
  }

  /** One result for each request, in the same order. Throws ApiError where the call as a whole failed, or the signal's reason. */
  async sign(requests: readonly SignRequest[], signal: AbortSignal): Promise<readonly SignResult[]> {
    const what = `sign ${requests.length} credential${requests.length === 1 ? '' : 's'}`;
    const answer = await this.#post({
      what,
      path: SIGN_PATH,
      body: formatSignCall(requests),
      ms: this.#signTimeoutMs(requests),
      signal,
    });
    const results = readSignAnswer(answer, requests.length);
    if (results === undefined) throw invalidResponseError(what, 'an object without a result for each request');
    return results;
  }

  /** What differs from what is known. Throws as `sign` does. */
  async follow(call: FollowCall, signal: AbortSignal): Promise<readonly CertificateNews[]> {
    const what = 'follow certificates';
    const ms = call.waitSeconds * 1000 + ANSWER_MS;
    const answer = await this.#post({ what, path: FOLLOW_PATH, body: JSON.stringify(call), ms, signal });
    const news = readFollowAnswer(answer);
    if (news === undefined) throw invalidResponseError(what, 'an object without certificates');
    return news;
  }

  /** Whether each use is withdrawn, as the signer proves it now. Throws as `sign` does. */
  async withdrawn(uses: readonly GrantedUse[], signal: AbortSignal): Promise<readonly boolean[]> {
    const what = 'confirm withdrawals';
    const answer = await this.#post({
      what,
      path: WITHDRAWALS_PATH,
      body: JSON.stringify({ uses }),
      ms: SIGN_TIMEOUT_MS,
      signal,
    });
    const withdrawn = readWithdrawalsAnswer(answer, uses.length);
    if (withdrawn === undefined) throw invalidResponseError(what, 'an object without an answer for each use');
    return withdrawn;
  }

  /** Aborts what is still in flight. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  #signTimeoutMs(requests: readonly SignRequest[]): number {
    const soonestMs = Math.min(...requests.map(({ expiresAt }) => expiresAt)) * 1000;
    const share = (soonestMs - this.#options.clock.now()) * SIGN_TIMEOUT_SHARE;
    return Math.max(LEAST_SIGN_TIMEOUT_MS, Math.min(SIGN_TIMEOUT_MS, share));
  }

  async #post(call: Call): Promise<unknown> {
    const { clock, observe } = this.#options;
    const started = clock.monotonic();
    const seconds = () => (call.path === SIGN_PATH ? (clock.monotonic() - started) / 1000 : undefined);
    try {
      const answer = await this.#exchange(call);
      observe?.({ status: 200, seconds: seconds() });
      return answer;
    } catch (error) {
      // No answer may mean that packets are dropped, of this connection or of all: the next call finds out by a new one.
      if (error instanceof ApiError && error.reason === 'Timeout') this.#transport.renew();
      if (!call.signal.aborted) observe?.({ status: error instanceof ApiError ? error.status : 0, seconds: seconds() });
      throw error;
    }
  }

  async #exchange({ body, ms, path, signal, what }: Call): Promise<unknown> {
    const { clock, userAgent } = this.#options;
    const request: ApiRequest = {
      verb: 'create',
      method: 'POST',
      plural: 'signer',
      what,
      path,
      query: {},
      accept: 'application/json',
      contentType: 'application/json',
      body,
      ...(path === SIGN_PATH ? { headers: this.#options.headers?.() } : {}),
    };
    const context = { transport: this.#transport, userAgent, now: () => clock.now(), onSkew: () => {} };
    using deadline = new Deadline(signal, clock, ms);
    const { headers, text } = await exchange(context, request, 'calls', whole(), deadline, ms);
    // Not from when the request was sent: the answer may have waited for news, and its Date is when it was written.
    const date = Date.parse(String(headers['date']));
    if (!Number.isNaN(date)) this.#clockSkewMs = clock.now() - date;
    try {
      return JSON.parse(text) as unknown;
    } catch {
      throw invalidResponseError(what, `${text.length} characters that are not`);
    }
  }
}

interface Call {
  readonly what: string;
  readonly path: string;
  readonly body: string;
  readonly ms: number;
  readonly signal: AbortSignal;
}
