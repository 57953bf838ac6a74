/**
 * A key on a PKCS#11 token, through a helper process. Whatever goes wrong with a session, the token or the library is answered in one
 * way: that helper is discarded, and the next call starts another, which logs in again.
 *
 *   none --(sign)--> opening --> open --(lost, no answer)--> none
 */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { isSea } from 'node:sea';
import { type SignatureScheme, schemeBySubjectPublicKeyInfo } from '../../credential/scheme.ts';
import type { Clock } from '../../kubernetes/clock.ts';
import { untilAborted } from '../../kubernetes/deadline.ts';
import { printable } from '../../text/printable.ts';
import { KeyError } from '../key-error.ts';
import type { Pkcs11KeyUri } from '../pkcs11-uri.ts';
import { readTextFile } from '../read-text-file.ts';
import type { OpenRequest, RemoteKey } from '../remote-key.ts';
import { HelperProcess } from './helper-process.ts';
import type { Logins } from './logins.ts';
import { derFromRaw } from './raw-signature.ts';

export interface Pkcs11Request extends OpenRequest {
  readonly uri: Pkcs11KeyUri;
  /** Shared by all keys of the process. */
  readonly logins: Logins;
}

/** Logging in to a network HSM takes seconds; what takes longer hangs. */
const OPEN = { ms: 30_000, late: 'the token did not open in 30 s' } as const;
const SIGN = { ms: 10_000, late: 'the token did not answer in 10 s' } as const;
const MAX_PIN_BYTES = 1_024;

export class Pkcs11Key implements RemoteKey {
  readonly #request: Pkcs11Request;
  readonly #clock: Clock;
  readonly #closed = new AbortController();
  #helper: Promise<HelperProcess> | undefined;
  /** SubjectPublicKeyInfo. */
  #publicKey: Uint8Array | undefined;
  #connection = 1;

  /** Opens it once, so that what is wrong is known at once. Throws KeyError. */
  static async open(request: Pkcs11Request): Promise<Pkcs11Key> {
    if (isSea()) {
      throw new KeyError(
        'KeyNotConfigured',
        'a pkcs11: key needs a native add-on, which the single executable cannot load: use the image whose tag ends in -pkcs11, ' +
          'or a checkout with "npm run pkcs11"',
      );
    }
    const key = new Pkcs11Key(request);
    try {
      await untilAborted(key.#connect(), request.signal);
      return key;
    } catch (error) {
      await key.close();
      throw error;
    }
  }

  private constructor(request: Pkcs11Request) {
    this.#request = request;
    this.#clock = request.clock;
  }

  get connection(): number {
    return this.#connection;
  }

  get publicKey(): KeyObject {
    return readPublicKey(this.#spki);
  }

  get scheme(): SignatureScheme {
    const scheme = schemeBySubjectPublicKeyInfo(this.#spki);
    if (scheme?.delegates === true) return scheme;
    throw new KeyError('KeyUnusable', 'the key on the token is not an ECDSA P-256, P-384 or P-521 key');
  }

  async sign(message: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const helper = await untilAborted(this.#connect(), signal);
    const { hash } = this.scheme;
    const digest = createHash(hash ?? 'sha256')
      .update(message)
      .digest();
    try {
      return derFromRaw(await helper.ask({ do: 'sign', digest: digest.toString('base64') }, SIGN, signal));
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof KeyError && error.retryable) helper.kill();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed.abort(new KeyError('KeyUnavailable', 'the key is closed'));
    const helper = await this.#helper?.catch(() => undefined);
    await helper?.close();
  }

  get #spki(): Uint8Array {
    if (this.#publicKey === undefined) throw new TypeError('the key is not open');
    return this.#publicKey;
  }

  /** One for all callers, and for no caller's signal: others wait for it too. */
  #connect(): Promise<HelperProcess> {
    this.#helper ??= this.#start();
    const mine = this.#helper;
    return mine.then(
      (helper) => {
        if (!helper.ended) return helper;
        if (this.#helper === mine) this.#helper = undefined;
        return this.#connect();
      },
      (error: unknown) => {
        if (this.#helper === mine) this.#helper = undefined;
        throw error;
      },
    );
  }

  async #start(): Promise<HelperProcess> {
    const { logins, uri } = this.#request;
    this.#closed.signal.throwIfAborted();
    const pin = await readPin(uri);
    if (pin === undefined) return await this.#open(pin);
    return await logins.attempt(fingerprintOf(uri, pin), () => this.#open(pin), this.#closed.signal);
  }

  async #open(pin: string | undefined): Promise<HelperProcess> {
    const { env, publicKey, uri } = this.#request;
    const helper = new HelperProcess(env, this.#clock, () => {
      this.#connection += 1;
    });
    try {
      const { id, match, modulePath } = uri;
      const wanted = publicKey === undefined ? undefined : spkiOf(publicKey);
      const question = {
        do: 'open',
        uri: { id: id === undefined ? undefined : base64(id), match, modulePath },
        pin,
        publicKey: wanted === undefined ? undefined : base64(wanted),
      } as const;
      const found = await helper.ask(question, OPEN, this.#closed.signal);
      // It stays what it was: that another helper found the same key, a signature proves.
      this.#publicKey ??= wanted ?? spkiOf(readPublicKey(found));
      return helper;
    } catch (error) {
      helper.kill();
      throw error;
    }
  }
}

/** Throws KeyError (KeyUnusable): a token gave the bytes. */
function readPublicKey(spki: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch {
    throw new KeyError('KeyUnusable', 'the public key on the token is not a point of its curve');
  }
}

function spkiOf(key: KeyObject): Uint8Array {
  return key.export({ format: 'der', type: 'spki' });
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

/** Read at every login: a PIN is changed without a restart. Throws KeyError, which names the file and not what is in it. */
async function readPin({ pinSource, pinValue }: Pkcs11KeyUri): Promise<string | undefined> {
  if (pinSource === undefined) return pinValue;
  const text = await readTextFile(pinSource, 'the PIN');
  const pin = text.replace(/\r?\n$/, '');
  if (pin !== '' && pin.length <= MAX_PIN_BYTES) return pin;
  throw new KeyError(
    'KeyNotConfigured',
    `expected a PIN in ${printable(pinSource)}, found ${pin === '' ? 'an empty file' : 'more than 1 KiB'}`,
  );
}

function fingerprintOf({ match, modulePath }: Pkcs11KeyUri, pin: string): string {
  return createHash('sha256')
    .update(JSON.stringify([modulePath, match.token, match.serial, match['slot-id'], pin]))
    .digest('hex');
}
