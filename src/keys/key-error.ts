/** Why a key that is kept elsewhere did not sign. The message never holds a PIN, a token, or what a server answered in full. */

export type KeyErrorCode =
  /** Unreachable, overloaded, sealed, or a session that was lost: tried again. */
  | 'KeyUnavailable'
  /** Nothing has that name. */
  | 'KeyNotFound'
  /** Permission, PIN or token refused. */
  | 'KeyDenied'
  /** Disabled, locked, of another kind, or not made for signing. */
  | 'KeyUnusable'
  /** It is not the certificate's key. */
  | 'KeyMismatch'
  /** What this process needs to reach the key is not set or not installed. */
  | 'KeyNotConfigured';

export class KeyError extends Error {
  override readonly name = 'KeyError';
  readonly code: KeyErrorCode;
  /** How long the key's keeper asks to wait. */
  readonly retryAfterMs: number | undefined;

  constructor(code: KeyErrorCode, message: string, options: { readonly retryAfterMs?: number | undefined } = {}) {
    super(message);
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** Whether the same call may succeed later without anybody's doing. A signature has no effect but itself, so trying again is safe. */
  get retryable(): boolean {
    return this.code === 'KeyUnavailable';
  }
}
