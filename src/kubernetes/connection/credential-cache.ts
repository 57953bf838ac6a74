/** Credentials that are loaded now and then, and by one caller at a time. */

import type { Clock } from '../clock.ts';
import type { ConnectionCredentials } from './connection.ts';

/** Often enough for a token that its plugin or kubelet renews minutes before it ends. */
const MAX_AGE_MS = 10_000;

export class CredentialCache {
  readonly #load: (rejected: boolean) => Promise<ConnectionCredentials>;
  readonly #clock: Clock;
  #current: ConnectionCredentials | undefined;
  #loadedAt = 0;
  #loading: Promise<ConnectionCredentials> | undefined;

  /** @param load called with true when what it gave last was refused by the server */
  constructor(load: (rejected: boolean) => Promise<ConnectionCredentials>, clock: Clock) {
    this.#load = load;
    this.#clock = clock;
  }

  async get(rejected?: ConnectionCredentials): Promise<ConnectionCredentials> {
    const current = this.#current;
    const refused = current !== undefined && current === rejected;
    const fresh = this.#clock.monotonic() - this.#loadedAt < MAX_AGE_MS;
    if (current !== undefined && fresh && !refused) return current;
    this.#loading ??= this.#reload(refused).finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #reload(refused: boolean): Promise<ConnectionCredentials> {
    try {
      const loaded = await this.#load(refused);
      this.#current = keepSame(this.#current, loaded, refused);
    } catch (error) {
      // A file that is being replaced, a plugin that stumbles: what we have may well be good for minutes yet.
      if (this.#current === undefined || refused) throw error;
    }
    this.#loadedAt = this.#clock.monotonic();
    return this.#current;
  }
}

/**
 * The same TLS settings again stay the same object: whoever sees another one opens new connections. What was refused is never
 * the same again, so that whoever sent it sees that it may try once more.
 */
function keepSame(
  current: ConnectionCredentials | undefined,
  loaded: ConnectionCredentials,
  refused: boolean,
): ConnectionCredentials {
  if (current === undefined) return loaded;
  // Buffers count by what is in them.
  const tls = JSON.stringify(current.tls) === JSON.stringify(loaded.tls) ? current.tls : loaded.tls;
  const sameHeaders = JSON.stringify(current.headers) === JSON.stringify(loaded.headers);
  return tls === current.tls && sameHeaders && !refused ? current : { headers: loaded.headers, tls };
}
