/** The little of Vault's HTTP API that signing takes: bounded answers, and errors by what is to be done about them. */
import request from 'undici/lib/api/api-request.js';
import UndiciPool from 'undici/lib/dispatcher/pool.js';
import { checkAuthorities } from '../../credential/authorities.ts';
import { CertificateError } from '../../credential/errors.ts';
import type { Clock } from '../../kubernetes/clock.ts';
import { Deadline } from '../../kubernetes/deadline.ts';
import { printable } from '../../text/printable.ts';
import { trimEndWhile } from '../../text/trim.ts';
import { KeyError, type KeyErrorCode } from '../key-error.ts';
import { networkReason } from '../network-reason.ts';
import { readTextFile } from '../read-text-file.ts';
import type { VaultSettings } from './vault-settings.ts';

export interface VaultCall {
  readonly method: 'GET' | 'POST';
  /** Below /v1/. */
  readonly path: string;
  readonly body?: object;
  /** Undefined: the call needs none. */
  readonly token: string | undefined;
  /** What it is for, as in `sign`. */
  readonly what: string;
  readonly signal: AbortSignal;
}

/** A key with a hundred versions is 40 KiB. */
const MAX_ANSWER_BYTES = 1024 * 1024;
const CONNECTIONS = 16;
const ANSWER_MS = 10_000;
const CONNECT_MS = 5_000;
/** Whatever a proxy offers by its header Keep-Alive: load balancers silently drop a connection that was idle for a minute. */
const MAX_IDLE_MS = 30_000;
/** Of a call as a whole: an answer that comes byte by byte is late at no byte. */
const CALL_MS = 15_000;
const MAX_RETRY_AFTER_SECONDS = 60;

export class VaultClient {
  readonly #settings: VaultSettings;
  readonly #clock: Clock;
  readonly #pool: InstanceType<typeof UndiciPool>;
  readonly #base: string;

  /** Throws KeyError where the CA cannot be read. */
  static async create(settings: VaultSettings, clock: Clock): Promise<VaultClient> {
    const { caFile } = settings;
    if (caFile === undefined) return new VaultClient(settings, clock, undefined);
    const ca = await readTextFile(caFile, 'the CA at VAULT_CACERT');
    assertAuthorities(ca, caFile);
    return new VaultClient(settings, clock, ca);
  }

  private constructor(settings: VaultSettings, clock: Clock, ca: string | undefined) {
    this.#settings = settings;
    this.#clock = clock;
    this.#base = trimEndWhile(settings.address.pathname, (character) => character === '/');
    this.#pool = new UndiciPool(settings.address.origin, {
      connections: CONNECTIONS,
      pipelining: 1,
      allowH2: false,
      headersTimeout: ANSWER_MS,
      bodyTimeout: ANSWER_MS,
      keepAliveMaxTimeout: MAX_IDLE_MS,
      maxResponseSize: MAX_ANSWER_BYTES,
      connect: { timeout: CONNECT_MS, ...(ca === undefined ? {} : { ca }) },
    });
  }

  /** The parsed answer. Throws KeyError, or the signal's reason. */
  async call({ body, method, path, signal, token, what }: VaultCall): Promise<unknown> {
    const { namespace } = this.#settings;
    const headers = {
      accept: 'application/json',
      'x-vault-request': 'true',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(token === undefined ? {} : { 'x-vault-token': token }),
      ...(namespace === undefined ? {} : { 'x-vault-namespace': namespace }),
    };
    using deadline = new Deadline(signal, this.#clock, CALL_MS);
    try {
      const answer = await request.call(this.#pool, {
        method,
        path: `${this.#base}/v1/${path}`,
        headers,
        signal: deadline.signal,
        body: body === undefined ? null : JSON.stringify(body),
      });
      const text = await answer.body.text();
      if (answer.statusCode >= 200 && answer.statusCode < 300) return parse(text);
      throw vaultError(what, answer.statusCode, answer.headers['retry-after'], text);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof KeyError) throw error;
      const why = deadline.expired ? `no answer in ${CALL_MS / 1000} s` : networkReason(error);
      throw new KeyError('KeyUnavailable', `failed to ${what}: Vault cannot be reached (${why})`);
    }
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}

/** Node takes an empty text for no text, and would trust whom the world trusts; what it cannot read it skips. */
function assertAuthorities(ca: string, caFile: string): void {
  try {
    checkAuthorities(ca);
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error;
    const message = `VAULT_CACERT: expected certificates in PEM in ${printable(caFile)}: ${error.message}`;
    throw new KeyError('KeyNotConfigured', message);
  }
}

function parse(text: string): unknown {
  try {
    return text === '' ? {} : JSON.parse(text);
  } catch {
    throw new KeyError('KeyUnavailable', 'response is not JSON: is VAULT_ADDR the address of Vault?');
  }
}

const BY_STATUS: Readonly<Record<number, readonly [KeyErrorCode, string]>> = {
  403: [
    'KeyDenied',
    'permission denied: the token has expired, or its policy lacks read on keys/NAME and update on sign/NAME of the transit engine',
  ],
  404: ['KeyNotFound', 'there is no such key, transit engine or login method'],
  412: ['KeyUnavailable', 'this replica is behind'],
  429: ['KeyUnavailable', 'the rate limit is reached'],
  472: ['KeyUnavailable', 'this node is a standby'],
  473: ['KeyUnavailable', 'this node is a standby'],
};

/** By status. Of the text only what is known is used: Vault's errors may repeat what was sent. */
function vaultError(what: string, status: number, retryAfter: unknown, text: string): KeyError {
  const seconds = Number(retryAfter);
  const retryAfterMs = seconds > 0 ? Math.min(seconds, MAX_RETRY_AFTER_SECONDS) * 1000 : undefined;
  const fail = (code: KeyErrorCode, why: string) =>
    new KeyError(code, `failed to ${what}: ${why} (Vault, HTTP ${status})`, { retryAfterMs });
  const known = BY_STATUS[status];
  if (known !== undefined) return fail(...known);
  if (status >= 500)
    return fail(
      'KeyUnavailable',
      text.includes('sealed') ? 'Vault is sealed: unseal it' : 'Vault reports an internal error',
    );
  if (status >= 300 && status < 400)
    return fail('KeyUnavailable', 'Vault redirects: set VAULT_ADDR to the active node');
  return fail('KeyUnusable', 'Vault refused the call');
}
