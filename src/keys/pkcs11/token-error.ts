/** What a PKCS#11 return value means for whoever wants a signature. Pure. */
import { KeyError, type KeyErrorCode } from '../key-error.ts';

/**
 * `KeyDenied`: this PIN is wrong, and is not tried again. Every value that is not here (a lost session, a token that was removed, a module
 * that failed) is answered by starting again: new process, new session, new login.
 */
const FINAL: Readonly<Record<string, readonly [KeyErrorCode, string]>> = {
  CKR_PIN_INCORRECT: ['KeyDenied', 'the token refused the PIN'],
  CKR_PIN_LEN_RANGE: ['KeyDenied', 'the PIN is shorter or longer than the token accepts'],
  CKR_PIN_INVALID: ['KeyDenied', 'the PIN has characters that the token does not accept'],
  CKR_PIN_LOCKED: ['KeyUnusable', 'the PIN is locked: reset it with the security officer PIN'],
  CKR_PIN_EXPIRED: ['KeyUnusable', 'the PIN has expired: set a new one'],
  CKR_USER_PIN_NOT_INITIALIZED: ['KeyUnusable', 'the token has no user PIN yet: set one'],
  CKR_KEY_FUNCTION_NOT_PERMITTED: ['KeyUnusable', 'the key may not sign (CKA_SIGN is false)'],
  CKR_KEY_TYPE_INCONSISTENT: ['KeyUnusable', 'the key is not an ECDSA key'],
  CKR_MECHANISM_INVALID: ['KeyUnusable', 'the token does not sign with ECDSA (CKM_ECDSA)'],
};

/** `what` was done, as in `log in to the token`. */
export function tokenError(what: string, error: unknown): KeyError {
  if (error instanceof KeyError) return error;
  const name = /\bCKR_[A-Z0-9_]{1,60}\b/.exec(error instanceof Error ? error.message : String(error))?.[0];
  const final = name === undefined ? undefined : FINAL[name];
  if (final !== undefined) return new KeyError(final[0], `failed to ${what}: ${final[1]} (${name})`);
  return new KeyError('KeyUnavailable', `failed to ${what}: ${name ?? 'the PKCS#11 library failed'}`);
}
