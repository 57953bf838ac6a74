/** Credentials that are loaded now and then, and by one caller at a time. */

import type { Clock } from './clock.ts';
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
      // The same again is kept as the same object, so that nobody opens new connections for it.
      this.#current = this.#current !== undefined && !refused && same(this.#current, loaded) ? this.#current : loaded;
    } catch (error) {
      // A file that is being replaced, a plugin that stumbles: what we have may well be good for minutes yet.
      if (this.#current === undefined || refused) throw error;
    }
    this.#loadedAt = this.#clock.monotonic();
    return this.#current;
  }
}

/** Buffers count by what is in them. */
function same(a: ConnectionCredentials, b: ConnectionCredentials): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
