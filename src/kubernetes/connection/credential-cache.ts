/**
 * Credentials that are loaded by one caller at a time. While there are some that the server has not refused, nobody waits for new
 * ones: they are refreshed in the background, so a plug-in that hangs or a file that cannot be read stops no call.
 */

import type { Clock } from '../clock.ts';
import { Deadline, untilAborted } from '../deadline.ts';
import type { ConnectionCredentials } from './connection.ts';
import { ConnectionError } from './connection-error.ts';

/** Often enough for a token that its plug-in or kubelet renews minutes before it expires. */
const DEFAULT_MAX_AGE_MS = 10_000;
/** A plug-in may take a few round trips to an identity provider. */
const LOAD_TIMEOUT_MS = 60_000;

export interface LoadOptions {
  /** What was loaded last was refused by the server. */
  readonly rejected: boolean;
  /** Aborts when the result is no longer waited for. */
  readonly signal: AbortSignal;
}

interface Loading {
  readonly rejected: boolean;
  readonly result: Promise<ConnectionCredentials>;
}

export class CredentialCache {
  readonly #load: (options: LoadOptions) => Promise<ConnectionCredentials>;
  readonly #clock: Clock;
  readonly #maxAgeMs: number;
  #current: ConnectionCredentials | undefined;
  #loadedAt = 0;
  #loading: Loading | undefined;

  /** @param maxAgeMs in use for so long, they are loaded again in the background at the next call */
  constructor(
    load: (options: LoadOptions) => Promise<ConnectionCredentials>,
    clock: Clock,
    maxAgeMs = DEFAULT_MAX_AGE_MS,
  ) {
    this.#load = load;
    this.#clock = clock;
    this.#maxAgeMs = maxAgeMs;
  }

  /** @throws ConnectionError, or whatever loading throws, when there is nothing else to use */
  async get(rejected?: ConnectionCredentials): Promise<ConnectionCredentials> {
    if (this.#current !== undefined && this.#current !== rejected) {
      const isStale = this.#clock.monotonic() - this.#loadedAt >= this.#maxAgeMs;
      // What it throws is kept from nobody: while there is nothing new, the current credentials are used.
      if (isStale && this.#loading === undefined) this.#start(false).catch(() => {});
      return this.#current;
    }
    const mustReplace = this.#current !== undefined;
    // A refresh that was begun before the refusal may bring what was refused.
    if (mustReplace && this.#loading?.rejected === false) {
      await this.#loading.result.catch(() => {});
      if (this.#current !== rejected && this.#current !== undefined) return this.#current;
    }
    return await (this.#loading?.result ?? this.#start(mustReplace));
  }

  #start(rejected: boolean): Promise<ConnectionCredentials> {
    const result = this.#reload(rejected).finally(() => {
      this.#loading = undefined;
      this.#loadedAt = this.#clock.monotonic();
    });
    this.#loading = { rejected, result };
    return result;
  }

  async #reload(rejected: boolean): Promise<ConnectionCredentials> {
    using deadline = new Deadline(new AbortController().signal, this.#clock, LOAD_TIMEOUT_MS);
    try {
      const loaded = await untilAborted(this.#load({ rejected, signal: deadline.signal }), deadline.signal);
      this.#current = keepSame(this.#current, loaded, rejected);
      return this.#current;
    } catch (error) {
      if (!deadline.expired) throw error;
      throw new ConnectionError(`expected credentials within ${LOAD_TIMEOUT_MS / 1000} s, found none`);
    }
  }
}

/**
 * Equal TLS settings stay the same object: whoever sees another one opens new connections. What was refused is never the same
 * again, so that whoever sent it sees that it may try once more.
 */
function keepSame(
  current: ConnectionCredentials | undefined,
  loaded: ConnectionCredentials,
  refused: boolean,
): ConnectionCredentials {
  if (current === undefined) return loaded;
  // Buffers are compared by their bytes.
  const tls = JSON.stringify(current.tls) === JSON.stringify(loaded.tls) ? current.tls : loaded.tls;
  const sameHeaders = JSON.stringify(current.headers) === JSON.stringify(loaded.headers);
  return tls === current.tls && sameHeaders && !refused ? current : { headers: loaded.headers, tls };
}
