/**
 * A remote key as a Signer that can be trusted: every connection proves by a probe that it leads to the right key before it signs
 * anything, every signature is verified, and what may succeed later is tried again within a deadline.
 */
import type { KeyObject } from 'node:crypto';
import type { Certificate } from '../credential/certificate.ts';
import { CertificateError } from '../credential/errors.ts';
import type { SignatureScheme } from '../credential/scheme.ts';
import { verifyWithNode } from '../credential/signature.ts';
import { assertSignerMatches, type Signer } from '../credential/signer.ts';
import { backoffMs } from '../kubernetes/backoff.ts';
import { type Clock, delay } from '../kubernetes/clock.ts';
import { Deadline, untilAborted } from '../kubernetes/deadline.ts';
import { KeyError, type KeyErrorCode } from './key-error.ts';
import type { RemoteKey } from './remote-key.ts';

export type KeyResult = 'signed' | 'Cancelled' | KeyErrorCode;

export interface GuardedKeyOptions {
  readonly key: RemoteKey;
  /** For messages: without a PIN. */
  readonly name: string;
  /** Whose key it must be; undefined: whatever key it is, for a certificate that is still to be made. */
  readonly certificate: Pick<Certificate, 'keyAlgorithm' | 'publicKey' | 'subject'> | undefined;
  readonly clock: Clock;
  /** 0 to 1, for jitter. */
  readonly random: () => number;
  /** Every attempt. */
  readonly observe: (result: KeyResult, seconds: number) => void;
}

/** Shorter than what a caller of the signer waits. */
const TOTAL_MS = 20_000;
const RETRY = { baseMs: 100, maxMs: 3_000 } as const;

export class GuardedKey implements Signer {
  readonly #options: GuardedKeyOptions;
  readonly scheme: SignatureScheme;
  readonly publicKey: KeyObject;
  #proved: number | undefined;
  #proving: Promise<void> | undefined;
  /** Calls under way. */
  readonly #running = new Set<Promise<unknown>>();
  #closed = false;

  constructor(options: GuardedKeyOptions) {
    this.#options = options;
    this.scheme = options.key.scheme;
    this.publicKey = options.certificate?.publicKey ?? options.key.publicKey;
  }

  /** Throws KeyError, or the signal's reason. */
  async sign(message: Uint8Array, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Uint8Array> {
    return await this.#retrying(signal, async (stop) => {
      await this.#prove(stop);
      return await this.#attempt(message, stop);
    });
  }

  /** Proves the key without signing anything else. Throws as `sign` does. */
  async prove(signal: AbortSignal): Promise<void> {
    await this.#retrying(signal, (stop) => this.#prove(stop));
  }

  /** After the calls that are under way: another certificate took the place of this one, and theirs may still be signed. */
  async close(): Promise<void> {
    this.#closed = true;
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
    await this.#options.key.close();
  }

  async #retrying<T>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#closed) throw new KeyError('KeyUnavailable', `${this.#options.name} is closed`);
    const running = this.#attempts(signal, work);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  async #attempts<T>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, name, random } = this.#options;
    using deadline = new Deadline(signal ?? new AbortController().signal, clock, TOTAL_MS);
    let last: KeyError | undefined;
    for (let failures = 1; ; failures += 1) {
      try {
        deadline.signal.throwIfAborted();
        return await work(deadline.signal);
      } catch (error) {
        signal?.throwIfAborted();
        if (deadline.expired)
          throw last ?? new KeyError('KeyUnavailable', `${name} did not answer in ${TOTAL_MS / 1000} s`);
        if (!(error instanceof KeyError)) throw error;
        last = new KeyError(error.code, `${name}: ${error.message}`);
        if (!error.retryable) throw last;
        await delay(clock, error.retryAfterMs ?? backoffMs(failures, { ...RETRY, random }), deadline.signal);
      }
    }
  }

  /** One probe for each connection, by the first caller; the others wait for it. */
  async #prove(signal: AbortSignal): Promise<void> {
    while (this.#proved !== this.#options.key.connection) {
      if (this.#proving === undefined) {
        this.#proving = this.#probe(signal).finally(() => {
          this.#proving = undefined;
        });
        await this.#proving;
        continue;
      }
      // Whether that one failed or was cancelled says nothing of this one.
      const proving = this.#proving.catch(() => undefined);
      await untilAborted(proving, signal);
    }
  }

  async #probe(signal: AbortSignal): Promise<void> {
    const { certificate, key } = this.#options;
    const { connection } = key;
    const expected = certificate ?? { keyAlgorithm: key.scheme.keyAlgorithm, publicKey: key.publicKey, subject: '' };
    const prober: Signer = { scheme: key.scheme, sign: (message) => this.#attempt(message, signal, { verify: false }) };
    try {
      await assertSignerMatches(prober, expected, { signal });
    } catch (error) {
      if (error instanceof CertificateError) throw this.#mismatch();
      throw error;
    }
    this.#proved = connection;
  }

  async #attempt(message: Uint8Array, signal: AbortSignal, { verify } = { verify: true }): Promise<Uint8Array> {
    const { clock, key, observe } = this.#options;
    const began = clock.monotonic();
    const seconds = () => (clock.monotonic() - began) / 1000;
    try {
      const signature = await key.sign(message, signal);
      if (verify && !verifyWithNode({ scheme: this.scheme, publicKey: this.publicKey, message, signature })) {
        throw this.#mismatch();
      }
      observe('signed', seconds());
      return signature;
    } catch (error) {
      observe(error instanceof KeyError ? error.code : 'Cancelled', seconds());
      throw error;
    }
  }

  #mismatch(): KeyError {
    const { certificate } = this.#options;
    const whose = certificate === undefined ? 'its own public key' : `the certificate "${certificate.subject}"`;
    return new KeyError(
      'KeyMismatch',
      `a signature by this key does not verify against ${whose}: name the key that the certificate was made for, or replace the certificate`,
    );
  }
}
