/** Which PINs may be tried: tokens lock after a few wrong ones. */
import { untilAborted } from '../../kubernetes/deadline.ts';
import { KeyError } from '../key-error.ts';

export class Logins {
  /** Hashes of PINs that a token refused. They are not tried again. */
  readonly #refused = new Set<string>();
  /** Under way, by the same hashes: whether the token took the PIN. */
  readonly #first = new Map<string, Promise<boolean>>();

  /**
   * One at a time for a PIN, until the token has taken it: several keys that are opened at once would try a wrong one as often. Throws
   * KeyError, or the signal's reason.
   * @param pin a hash of the PIN and of what it is for
   */
  async attempt<T>(pin: string, logIn: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      if (this.#refused.has(pin)) {
        throw new KeyError(
          'KeyDenied',
          'the token refused this PIN before; it is not tried again, because tokens lock: correct it at pin-source',
        );
      }
      const first = this.#first.get(pin);
      if (first === undefined) break;
      if (await untilAborted(first, signal)) return await this.#try(pin, logIn);
    }
    const mine = this.#try(pin, logIn);
    const taken = mine.then(
      () => true,
      () => false,
    );
    this.#first.set(pin, taken);
    try {
      return await mine;
    } finally {
      this.#first.delete(pin);
    }
  }

  async #try<T>(pin: string, logIn: () => Promise<T>): Promise<T> {
    try {
      return await logIn();
    } catch (error) {
      if (error instanceof KeyError && error.code === 'KeyDenied') this.#refused.add(pin);
      throw error;
    }
  }
}
